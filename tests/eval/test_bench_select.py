"""`agentkd bench select`: both loops read the same tokens, and the report says how they compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.eval.bench.speed import select
from tests.support.lazy import require
from tests.support.warm import TRAIN, warm

require("trl")


def test_the_command_compares_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are forked from one that has imported torch."""
    monkeypatch.setattr(select.subprocess, "run", lambda argv, **_: warm(*TRAIN).run(argv))
    values: dict[str, Any] = {"teacher": "tiny", "reference": "tiny", "documents": 12, "rounds": 1, "megabytes": 1}
    report = select.bench_select(**values, seed=0, out=tmp_path)
    assert report["loss_error"] < 1e-4 and report["speed_to_plain"] > 0
    plain, ours = (report["runs"][name][0] for name in select.NAMES)
    assert plain["tokens"] == ours["tokens"] == report["tokens"] > 100
    assert report["memory"]["megabytes"] >= 1 and report["memory"]["peak_mib"] > 100
    assert json.loads((tmp_path / "select.json").read_text()) == report
