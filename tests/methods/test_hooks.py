"""Outputs of modules by path."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lazy import Lazy, lazily

torch = lazily("torch")
hooks = Lazy("agentkd.methods.hooks")


def network() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 5)), nn.Linear(5, 2))


def test_outputs_are_the_models_own_and_the_model_is_unchanged() -> None:
    model, x = network(), torch.ones(2, 3)
    bare = model(x)
    with hooks.Outputs(model, ["1.0", "1"]) as outputs:
        assert torch.equal(model(x), bare)
        assert torch.equal(model[2](outputs["1"]), bare) and set(outputs) == {"1.0", "1"}
        outputs["1"].sum().backward()
    assert model[0].weight.grad is not None
    kept = outputs["1"]
    model(2 * x)
    assert outputs["1"] is kept and not model[1]._forward_hooks and not model._forward_pre_hooks


def test_a_wrong_path_names_the_nearest_ones() -> None:
    from agentkd.errors import UserError

    with pytest.raises(UserError, match=r"no module '1\.2'; did you mean 1\.[01]"):
        hooks.Outputs(network(), ["1.2"])
    with pytest.raises(UserError, match=r"choose one of: 0, 1, 1\.0, 1\.1, 2$"):
        hooks.find_module(network(), "encoder.layers.7")
    assert isinstance(hooks.find_module(network(), "1.0"), torch.nn.ReLU)


def test_a_module_that_does_not_run_is_said() -> None:
    from agentkd.errors import UserError

    model = network()
    model.unused = torch.nn.Linear(1, 1)
    model.forward = lambda x: model[0](x)
    with hooks.Outputs(model, ["2"]) as outputs:
        model(torch.ones(1, 3))
        with pytest.raises(UserError, match="'2' did not run"):
            outputs["2"]
