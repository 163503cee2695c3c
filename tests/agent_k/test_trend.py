"""Later test rows: a line for each group that goes on, times a season."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import read_setup
from agentkd.agents.agent_k.scoring.blend import best_blend
from agentkd.agents.agent_k.scoring.judged import judged_rows
from agentkd.agents.agent_k.solvers.cross_fit import TimeBudget, weigh_folds
from agentkd.agents.agent_k.solvers.portfolio import build_portfolio
from agentkd.agents.agent_k.solvers.registry import solve_spec
from agentkd.agents.agent_k.stages.candidates import score_folds
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workspace.arrays import load_data, rows_by_fold
from agentkd.agents.agent_k.workspace.build import build_maps
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")


def write(data: Path) -> tuple[Any, Any]:
    """Two branches whose sales go on in a straight line, times a week; returns training and test rows."""
    days = np.repeat(np.arange(160), 2)
    branch = np.tile(["east", "west"], 160)
    week = np.array([0.8, 1.0, 1.1, 1.0, 1.2, 0.9, 1.0])
    line = np.where(branch == "east", 100 + 2.0 * days, 900 - 1.5 * days)
    made = pd.DataFrame(
        {
            "key": [f"k{place}" for place in range(320)],
            "day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")).strftime("%Y-%m-%d"),
            "branch": branch,
            "sold": line * week[days % 7],
        }
    )
    train, test = made[:240], made[240:]
    data.mkdir()
    train.to_csv(data / "train.csv", index=False)
    test.drop(columns="sold").to_csv(data / "test.csv", index=False)
    test.assign(sold=0)[["key", "sold"]].to_csv(data / "sample_submission.csv", index=False)
    return train, test


def test_trend_times_season_goes_on_after_the_training_rows(tmp_path: Path) -> None:
    data = tmp_path / "data"
    train, test = write(data)
    for metric in ("SMAPE", "RMSE"):  # learned as logarithms, and as they are
        workspace = tmp_path / metric
        build_maps(guess_setup(data, metric, "", {}).setup, data, workspace, 0)
        setup = read_setup(workspace)
        assert setup.later == "day" and "trend" in [item.name for item in build_portfolio(setup, 240, 60, 1)]
        for kind in ("trend", "trend-trees"):
            spec = {"kind": kind, "params": {}, "seed": 0, "threads": 1}
            oof, found = solve_spec(load_data(workspace), spec, workspace, TimeBudget(None))
            assert np.abs(found[:, 0] / test["sold"].to_numpy() - 1).max() < 0.1
            assert np.abs(oof[:, 0] / train["sold"].to_numpy() - 1).mean() < 0.1
    other = setup.model_copy(update={"later": ""})
    assert "trend" not in [item.name for item in build_portfolio(other, 240, 60, 1)]


def test_later_test_rows_are_judged_by_the_last_block(tmp_path: Path) -> None:
    """Of two candidates the one that is right in the last block is chosen, however wrong it is before."""
    write(tmp_path / "data")
    build_maps(guess_setup(tmp_path / "data", "RMSE", "", {}).setup, tmp_path / "data", tmp_path, 0)
    data = load_data(tmp_path)
    truth, last = data.targets, data.fold == data.fold.max()
    assert last.sum() == 48 and weigh_folds(data)[-1] == 0 and weigh_folds(data).sum() == pytest.approx(1)
    y = truth["sold"].astype(float)
    late, early = y.where(last, 0.0), y.mask(last, 0.0)
    frames = {name: truth[["id"]].assign(sold=values) for name, values in (("late", late), ("early", early))}
    test = pd.DataFrame({"id": data.test_ids, "sold": 1.0})
    folds = truth[["id"]].assign(fold=data.fold)
    blend = best_blend(data.setup, truth, folds, {name: (frame, test) for name, frame in frames.items()})
    assert blend.score == pytest.approx(0, abs=1e-6) and blend.weights.get("late", 0) == pytest.approx(1)
    rows = rows_by_fold(data)
    whole, by_fold = score_folds(data.setup, truth, frames["early"], judged_rows(data.setup, data.fold), rows)
    assert whole == pytest.approx(by_fold[-1], rel=1e-5) and by_fold[0] == 0
    other = data.setup.model_copy(update={"later": ""})
    assert len(judged_rows(other, data.fold)) == len(truth)
