"""A run directory and its records, for tests in which a trace's content does not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.config import GenerateConfig
from agentkd.runs.store import RunDirectory
from agentkd.trace import Trace, Verdict


def short_trace(name: str, sample: int = 0) -> Trace:
    verdict = Verdict(ok=True, rung="complete")
    fields: dict[str, Any] = {"steps": (), "answers": ("Ä\n",), "verdict": verdict, "teacher": "t", "task": "geo"}
    return Trace.close(id=name, sample=sample, question=f"{name}?", verified=True, **fields)


def open_run(path: Path, **changes: Any) -> RunDirectory:
    identity = {"hash_data": changes.pop("hash_data", "d")}
    return RunDirectory(path, changes.pop("stage", "generate"), GenerateConfig(task="geo", **changes), identity)
