"""Later test rows: a line for each group that goes on, times a season."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agentkd.agents.agent_k.contract import read_setup
from agentkd.agents.agent_k.solvers.cross_fit import TimeBudget
from agentkd.agents.agent_k.solvers.portfolio import build_portfolio
from agentkd.agents.agent_k.solvers.registry import solve_spec
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.build import build_maps
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")


def test_trend_times_season_goes_on_after_the_training_rows(tmp_path: Path) -> None:
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
    data = tmp_path / "data"
    data.mkdir()
    train.to_csv(data / "train.csv", index=False)
    test.drop(columns="sold").to_csv(data / "test.csv", index=False)
    test.assign(sold=0)[["key", "sold"]].to_csv(data / "sample_submission.csv", index=False)
    for metric in ("SMAPE", "RMSE"):  # learned as logarithms, and as they are
        workspace = tmp_path / metric
        build_maps(guess_setup(data, metric, "", {}).setup, data, workspace, 0)
        setup = read_setup(workspace)
        assert setup.later == "day" and "trend" in [item.name for item in build_portfolio(setup, 240, 60, 1)]
        spec = {"kind": "trend", "params": {}, "seed": 0, "threads": 1}
        oof, found = solve_spec(load_data(workspace), spec, workspace, TimeBudget(None))
        assert np.abs(found[:, 0] / test["sold"].to_numpy() - 1).max() < 0.1
        assert np.abs(oof[:, 0] / train["sold"].to_numpy() - 1).mean() < 0.1
    other = setup.model_copy(update={"later": ""})
    assert "trend" not in [item.name for item in build_portfolio(other, 240, 60, 1)]
