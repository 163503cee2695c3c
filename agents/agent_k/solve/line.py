"""The solver line: a portfolio within a clock, then the blend. No model, no sandbox: for benches and one's own data."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from agentkd.agents.agent_k.blend import Blend, best_blend
from agentkd.agents.agent_k.solve.data import load
from agentkd.agents.agent_k.solve.portfolio import START, Candidate, portfolio
from agentkd.errors import WorldError

LEAST = 0.5  # of a candidate with a budget is not for it to shorten: reading, features


def solver_line(
    workspace: Path, seconds: float, threads: int, seed: int, note: Callable[[str], None] = lambda text: None
) -> Blend:
    """Run what fits into `seconds` (wall clock, the blend included) and blend it. Raises WorldError if nothing ran.

    A machine that is slower than the portfolio assumes is seen on the first candidate, and the others are expected to
    take as much longer."""
    start = time.monotonic()
    data = load(workspace)
    reserve = min(0.15 * seconds, 3 + 0.5 * data.n_train / 1000)
    slow = 1.0
    names: list[str] = []
    for candidate in portfolio(data.setup, data.n_train, seconds, threads):
        left = seconds - reserve - (time.monotonic() - start)
        expected = candidate.seconds * slow
        if names and (left < 1.5 * START * slow or expected * (LEAST if candidate.budget else 1) > left):
            continue
        before = time.monotonic()
        if run_candidate(workspace, candidate, left, threads, seed):
            names.append(candidate.name)
            slow = max(slow, min(4.0, (time.monotonic() - before) / candidate.seconds)) if len(names) == 1 else slow
        note(f"{candidate.name}: {time.monotonic() - before:.1f} s of {expected:.1f} expected")
    if not names:
        raise WorldError(f"no candidate finished in {seconds:.0f} s: give more time", retry=False)
    folds = pd.read_csv(workspace / "maps" / "folds.csv", dtype={"id": str})
    return best_blend(data.setup, data.targets, folds, {name: _files(workspace, name) for name in names}, seed)


def run_candidate(workspace: Path, candidate: Candidate, left: float, threads: int, seed: int) -> bool:
    """Whether it wrote both files before the time was up."""
    folder = workspace / "candidates" / candidate.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("oof.csv", "test.csv"):
        (folder / name).unlink(missing_ok=True)
    budget = min(left, candidate.budget or left)
    spec = {"workspace": str(workspace.resolve()), "kind": candidate.kind, "params": candidate.params, "seed": seed,
            "threads": threads, "seconds": 0.9 * budget, "features": None}  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec))
    with (folder / "log.txt").open("w") as log:
        command = [sys.executable, "-m", "agentkd.agents.agent_k.solve", "spec.json"]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            process.wait(timeout=max(left, 1.0))
        except subprocess.TimeoutExpired:
            return False
        finally:
            _kill(process)
    return (folder / "oof.csv").exists() and (folder / "test.csv").exists()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The candidate and the workers it forked."""
    import contextlib
    import os
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _files(workspace: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = workspace / "candidates" / name
    oof, test = (pd.read_csv(folder / f"{split}.csv", dtype={"id": str}) for split in ("oof", "test"))
    return oof, test
