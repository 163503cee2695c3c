"""The list of experiments fits their modules; one of them, tiny, shows what rows hold."""

from __future__ import annotations

import math

import pytest

from agentkd.reproduce import EXPERIMENTS
from agentkd.reproduce.run import read_module
from tests.support.lazy import lazily, require

require("torch", "sklearn")
knfu = lazily("agentkd.reproduce.vision.knfu")
mcmi = lazily("agentkd.reproduce.vision.mcmi")
torch = lazily("torch")
stacked = lazily("agentkd.reproduce.nets.stacked")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_comparisons_name_arms_that_exist(name: str) -> None:
    arms, _ = read_module(f"agentkd.reproduce.{EXPERIMENTS[name].module}")
    named = {arm for comparison in EXPERIMENTS[name].comparisons for arm in (comparison.arm, comparison.control)}
    assert named <= set(arms)


def test_rows_of_knfu() -> None:
    rows = {arm: knfu.one(arm, 100, True) for arm in ("local", "knfu")}
    metrics = {comparison.metric for comparison in EXPERIMENTS["knfu"].comparisons}
    for row in rows.values():
        assert metrics <= set(row) and all(math.isfinite(value) for value in row.values())
    assert rows["local"] != rows["knfu"]
    assert rows["knfu"] == knfu.one("knfu", 100, True), "the seed decides everything"


def test_stacked_networks_are_apart() -> None:
    """A copy's logits depend on its own rows and weights alone; averaged copies agree."""
    torch.manual_seed(0)
    models, x = stacked.StackedMlp(3, 4, 5, 2), torch.randn(6, 3, 4)
    other = x.clone()
    other[:, 1] += 1.0
    moved = (models(other) - models(x)).abs().amax((0, 2)) > 0
    assert moved.tolist() == [False, True, False]
    models.average()
    same = models(x[:, :1].expand(-1, 3, -1))
    assert torch.allclose(same[:, 0], same[:, 2])
