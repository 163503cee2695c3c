"""Quantiles of one number: a target each, the pinball loss of its level, and no crossing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import read_setup
from agentkd.agents.agent_k.reshape.plain import adjust_facts, reshape
from agentkd.agents.agent_k.scoring.metrics import pinball
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.agents.agent_k.scoring.truth import predict_constant
from agentkd.agents.agent_k.solvers.cross_fit import TimeBudget, join_predictions, make_problems
from agentkd.agents.agent_k.solvers.portfolio import build_portfolio
from agentkd.agents.agent_k.solvers.registry import solve_spec
from agentkd.agents.agent_k.understand.demands import read_levels
from agentkd.agents.agent_k.understand.setup_from_files import SetupGuess, guess_setup
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.errors import UserError
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("lightgbm")

N, TEST = 300, 40


def write(data: Path, names: tuple[str, ...] = ("q0.1", "q0.5", "q0.9"), **more: Any) -> Path:
    """Demand whose spread grows with `b`."""
    data.mkdir()
    random = np.random.default_rng(0)
    a, b = random.normal(size=N + TEST), random.uniform(size=N + TEST)
    frame = pd.DataFrame({"id": [f"r{place}" for place in range(N + TEST)], "a": a, "b": b})
    train = frame[:N].assign(demand=5 + a[:N] + random.normal(size=N) * (0.1 + 2 * b[:N]), **more)
    train.to_csv(data / "train.csv", index=False)
    frame[N:].to_csv(data / "test.csv", index=False)
    frame[N:][["id"]].assign(**dict.fromkeys(names, 0.0)).to_csv(data / "sample_submission.csv", index=False)
    return data


def read(
    data: Path, workspace: Path, text: str = "The pinball loss, averaged over the three quantiles.", **fixed: str
) -> SetupGuess:
    workspace.mkdir(exist_ok=True)
    shaped = reshape(data, text, fixed, workspace)
    found = guess_setup(workspace / "plain", text, "", adjust_facts(fixed, workspace))
    return SetupGuess(found.setup, [*shaped.notes, *found.doubts])


@pytest.mark.parametrize("kind", ["lightgbm", "hist-gbm", "linear"])
def test_each_level_is_learned(kind: str, tmp_path: Path) -> None:
    found = read(write(tmp_path / "data"), tmp_path / "run")
    assert (found.setup.metric, found.setup.quantiles) == ("pinball", (0.1, 0.5, 0.9))
    assert found.doubts == ["q0.1, q0.5, q0.9 are the quantiles 0.1, 0.5, 0.9 of 'demand'"]
    build_maps(found.setup, tmp_path / "run" / "plain", tmp_path / "run", 0)
    data = load_data(tmp_path / "run")
    assert kind in {item.kind for item in build_portfolio(read_setup(tmp_path / "run"), N, 600, 1)}
    spec = {"kind": kind, "params": {"rounds": 60} if kind == "lightgbm" else {}, "seed": 0, "threads": 1}
    oof, test = solve_spec(data, spec, tmp_path, TimeBudget(None))
    assert (np.diff(oof, axis=1) >= 0).all() and (np.diff(test, axis=1) >= 0).all()
    below = (data.y <= oof).mean(axis=0)
    assert np.abs(below - [0.1, 0.5, 0.9]).max() < 0.1
    scorer = Scorer(data.setup, data.targets)
    constant = np.tile(predict_constant(data.setup, data.y), (N, 1))
    assert scorer(oof) < scorer(constant)


def test_models_of_means_are_not_tried(tmp_path: Path) -> None:
    setup = read(write(tmp_path / "data"), tmp_path / "run").setup
    kinds = {item.kind for item in build_portfolio(setup, N, 600, 1)}
    assert kinds == {"lightgbm", "lightgbm-tuned", "hist-gbm", "linear"}
    crossed = join_predictions(
        setup,
        [
            (problem, np.array([[3.0 - 1 * place]]))
            for place, problem in enumerate(make_problems(setup, np.ones((2, 3))))
        ],
    )
    assert crossed.tolist() == [[1.0, 2.0, 3.0]]


def test_the_pinball_loss_by_hand() -> None:
    truth, value = np.array([1.0, 2.0]), np.array([0.0, 4.0])
    assert pinball(truth, value, 0.9) == pytest.approx((0.9 * 1 + 0.1 * 2) / 2)


def test_which_number_is_asked_where_it_is_not_clear(tmp_path: Path) -> None:
    data = write(tmp_path / "data", price=1.5)
    with pytest.raises(UserError, match=r"of which number is not clear \(only in the training table: demand, price\)"):
        read(data, tmp_path / "run")
    assert read(data, tmp_path / "run", target="demand").setup.targets == ("q0.1", "q0.5", "q0.9")
    with pytest.raises(UserError, match="target=demnd is no column of the training table; did you mean demand"):
        read(data, tmp_path / "run", target="demnd")


@pytest.mark.parametrize(
    ("names", "levels"),
    [
        (("q0.1", "q0.5"), (0.1, 0.5)),
        (("p10", "P90"), (0.1, 0.9)),
        (("quantile_0.025", "quantile_0.975"), (0.025, 0.975)),
        (("5%", "50%", "95%"), (0.05, 0.5, 0.95)),
        (("q1", "q2", "price"), ()),
        (("q0.5", "q50"), ()),
    ],
)
def test_levels_in_names(names: tuple[str, ...], levels: tuple[float, ...]) -> None:
    assert read_levels(names) == pytest.approx(levels)
