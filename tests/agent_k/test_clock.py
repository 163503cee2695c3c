"""The clock holds: set-up is on it, no candidate gets more than is left, a first file comes before maps are made."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k import clock as clocks
from agentkd.agents.agent_k.clock import Clock
from agentkd.agents.agent_k.run import run
from agentkd.agents.agent_k.scoring import blenders
from agentkd.agents.agent_k.stages import first_file
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.files import save_table
from agentkd.sandbox.collect import Outcome
from tests.support.competition_runs import config, valid_submission
from tests.support.lazy import lazily, require
from tests.support.little_competition import make

pd = lazily("pandas")
require("lightgbm")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes on when it is told to."""
    time = SimpleNamespace(value=1000.0)
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=lambda: time.value))
    return time


def test_what_was_used_before_counts(tmp_path: Path, now: SimpleNamespace) -> None:
    clock = Clock(tmp_path, 36.0, used=5.0)
    assert (clock.elapsed, clock.reserve, clock.left) == (5.0, 8.0, 23.0)
    now.value += 10
    clock.save()
    assert Clock(tmp_path, 36.0, used=1.0).elapsed == 16.0
    clock.begin_anew()
    assert clock.elapsed == 0.0


@pytest.mark.parametrize("seconds", [36.0, 60.0, 600.0])
@pytest.mark.parametrize("setting_up", [1.0, 20.0, 33.0])
def test_no_run_of_candidates_that_never_end_goes_over(
    seconds: float, setting_up: float, tmp_path: Path, now: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each candidate runs into its limit, on a machine whose set-up takes long."""
    asked: list[float] = []

    async def never_ends(self: Workbench, *arguments: Any, seconds: float, **more: Any) -> Outcome:
        asked.append(min(max(seconds, 1.0), self.longest))
        now.value += asked[-1]
        return Outcome(ok=False, code=None, seconds=asked[-1], output="stopped", stopped="time")

    real = Workbench.publish

    def publish(self: Workbench, file: Path) -> None:
        now.value = max(now.value, 1000.0 + setting_up)
        real(self, file)

    monkeypatch.setattr(Workbench, "run_module", never_ends)
    monkeypatch.setattr(Workbench, "publish", publish)
    folder, out = make(tmp_path), tmp_path / "run"
    done = run(config(folder, out, max_hours=seconds / 3600, candidates=None, experience=False))
    used = json.loads((out / "clock.json").read_text())["elapsed"]
    assert done["best"] == "constant" and used <= 1.05 * seconds
    assert bool(asked) == (setting_up < seconds - 8)
    assert len(pd.read_csv(out / "submission.csv")) == 120


def test_a_large_table_has_a_file_before_its_maps(
    tmp_path: Path, forked_solvers: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(first_file, "LARGE", 100)
    folder, out = make(tmp_path), tmp_path / "run"
    run(config(folder, out, candidates=1))
    said = capsys.readouterr().err
    assert 0 < said.index("constant: a first valid file after") < said.index("inputs: 3 tab")
    valid_submission(out, folder)


@pytest.mark.parametrize(
    "cells",
    [
        ["a", "b c", "", "ü"],
        ["1", "2.5", "-3", "nan"],
        ["a,b", "x", "y", "z"],
        ['"', "x", "y", "z"],
        ["a\nb", "x", "y", "z"],
        ["\r", "x", "y", "z"],
        ["a", None, "c", "d"],
    ],
)
def test_tables_of_text_are_written_as_pandas_does(cells: list[str | None], tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["1", "2", "3", "4"], "x": pd.array(cells, dtype="str")})
    frame["id"] = frame["id"].astype("str")
    save_table(frame, tmp_path / "one.csv")
    assert (tmp_path / "one.csv").read_bytes() == frame.to_csv(index=False).encode()
    save_table(frame[["x"]], tmp_path / "two.csv")
    assert (tmp_path / "two.csv").read_bytes() == frame[["x"]].to_csv(index=False).encode()


def test_a_blend_of_many_classes_is_fitted_on_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    setup, truth = SimpleNamespace(task="multiclass"), np.arange(6000) % 120
    monkeypatch.setattr(blenders, "sample_rows", lambda rows, most, seed, y=None: seen.append(most) or rows[:most])
    rows = np.arange(6000)
    assert len(blenders._sample(setup, truth, rows, 0, blenders.CELLS // 120)) == 1666
    assert len(blenders._sample(setup, truth, rows, 0, blenders.CELLS // 2)) == blenders.ROWS
    with pytest.raises(blenders.UserError, match="120 classes are too many for a stack"):
        blenders._sample_stack(setup, truth, np.zeros((5, 6000, 120)), rows, 0)
    assert len(blenders._sample_stack(setup, truth, np.zeros((8, 6000, 7)), rows, 0)) == blenders.ROWS
