"""Commands that end at random moments, by kill -9, SIGTERM, SIGHUP and ctrl-C: nothing is lost or doubled or left.

For each command and signal: end it at a moment, run it again, end that, and so on; then let it finish, and compare it
with an undisturbed run. `AGENTKD_KILL_MOMENTS` (1) is the number of moments for each; `make nightly` takes 20, and runs
Agent K's solvers in the real sandbox.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentkd.trace import Trace
from tests.support.commands import command_words
from tests.support.little_competition import make
from tests.support.mock_server import Server, mock_server
from tests.support.processes import descendants, gone, processes_in
from tests.support.students import little_student, sft_config, weights
from tests.support.traces import make_trace, write_run
from tests.support.warm import KAGGLE, KBQA, TRAIN, warm

pytestmark = pytest.mark.whole

MOMENTS = int(os.environ.get("AGENTKD_KILL_MOMENTS", "1"))
SEED = int(os.environ.get("AGENTKD_FUZZ_SEED", "0"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
QUESTIONS, IN_FLIGHT = 24, 4
OFTEN = "from agentkd.distill import checkpoints; checkpoints.CHECKPOINT_SECONDS = 0.05; "


@dataclass
class Matrix:
    """A command, how its finished directory is checked, and what has happened to it so far."""

    home: Path
    modules: tuple[str, ...]
    argv: Callable[[Path], list[str]]
    check: Callable[[Path, Path], None]  # of a finished directory, and that of the undisturbed run
    solvers: bool = False
    seconds: float = 0.0  # that an undisturbed run takes
    ends: Counter[str] = field(default_factory=Counter)

    def run(self, out: Path, number: int = 0, moment: float = 600.0) -> tuple[int, str]:
        """Run the command; at the moment, send the signal. All that it started is gone, and so are its folders."""
        temporary = self.home / "tmp"
        temporary.mkdir(exist_ok=True)
        env = os.environ | {"TMPDIR": str(temporary), "AGENTKD_HOME": str(self.home / "cache")}
        with warm(*self.modules).popen(self.argv(out), env=env, cwd=self.home, solvers=self.solvers) as process:
            start = time.monotonic()
            while process.poll() is None and time.monotonic() - start < moment:
                time.sleep(0.005)
            pids = [process.pid, *descendants(process.pid)]
            if number:
                process.send_signal(number)
            _, error = process.communicate(timeout=300)
        assert process.returncode is not None
        assert gone(pids, seconds=60), "a process was left behind"
        assert not (left := processes_in(self.home)), left
        assert not list(temporary.iterdir()), "a folder was left behind"
        return process.returncode, error

    def calm(self) -> Path:
        warm(*self.modules)  # its start is not the command's
        out, start = self.home / "calm", time.monotonic()
        code, error = self.run(out)
        assert code == 0, error
        self.seconds = time.monotonic() - start
        self.check(out, out)
        return out

    def go(self, number: signal.Signals) -> None:
        rng = random.Random(f"{SEED} {self.modules} {number}")
        calm, out = self.calm(), self.home / "run-0"
        for place in range(MOMENTS):
            moment = rng.uniform(0.0, self.seconds)
            code, error = self.run(out, number, moment)
            assert "Traceback" not in error or not out.exists(), error
            if out.exists():
                assert code in (0, -signal.SIGKILL if number == signal.SIGKILL else 128 + number), (code, moment, error)
            self.ends["finished first" if code == 0 else "ended"] += 1
            check_lines(out)
            if (out / "manifest.json").exists():
                self.check(out, calm)
                out = self.home / f"run-{place + 1}"
        code, error = self.run(out)
        assert code == 0, error
        self.check(out, calm)
        print(f"{self.argv(out)[3:5]} {number.name}: {MOMENTS} moments in {self.seconds:.1f} s, {dict(self.ends)}")


def check_lines(out: Path) -> None:
    """Every line is whole, and no sample is there twice, however the writer ended."""
    shard = out / "traces-0.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True) if shard.exists() else []
    found = [json.loads(line) for line in lines if line.endswith(b"\n")]
    assert len(found) >= len(lines) - 1 and len({(row["id"], row["sample"]) for row in found}) == len(found)


def hashes(out: Path) -> dict[tuple[str, int], str]:
    lines = (out / "traces-0.jsonl").read_text().splitlines()
    traces = [Trace.model_validate_json(line) for line in lines]
    assert all(trace.hash == trace.content_hash() for trace in traces) and len({t.id for t in traces}) == len(traces)
    return {(trace.id, trace.sample): trace.hash for trace in traces}


@pytest.fixture
def server() -> Iterator[Server]:
    with mock_server(latency=0.02) as started:
        yield started


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_generate(number: signal.Signals, server: Server, tmp_path: Path) -> None:
    def argv(out: Path) -> list[str]:
        options = ["--teacher", server.spec, "--retriever", "bm25", "--concurrency", str(IN_FLIGHT), "--out", str(out)]
        return [sys.executable, "-m", "agentkd", "generate", "--task", "geo", "--limit", str(QUESTIONS), *options]

    def check(out: Path, calm: Path) -> None:
        assert hashes(out) == hashes(calm) and len(hashes(out)) == QUESTIONS

    matrix = Matrix(tmp_path, KBQA, argv, check)
    matrix.go(number)
    runs = len([path for path in tmp_path.iterdir() if (path / "manifest.json").exists()])
    paid_again = sum(server.answered.values()) - runs * len(server.answered)
    assert paid_again <= (IN_FLIGHT * MOMENTS if number == signal.SIGKILL else 0), (
        "what was in flight is not asked again"
    )


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_distill(number: signal.Signals, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra train")
    student = little_student(tmp_path / "student")
    traces = write_run(tmp_path / "traces", [make_trace(f"country {number}") for number in range(8)])

    def argv(out: Path) -> list[str]:
        words = command_words(sft_config(student, traces, out, epochs=10))
        return [sys.executable, "-c", f"{OFTEN}from agentkd.cli.main import main; main()", "distill", *words]

    def check(out: Path, calm: Path) -> None:
        before, after = weights(calm), weights(out)
        assert before.keys() == after.keys()
        assert max((before[name] - after[name]).abs().max().item() for name in before) < 1e-6
        assert json.loads((out / "metrics.json").read_text())["steps"] == 40 and not (out / "checkpoints").exists()

    Matrix(tmp_path, TRAIN, argv, check).go(number)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_kaggle_run(number: signal.Signals, tmp_path: Path) -> None:
    pytest.importorskip("lightgbm", reason="needs the extra kaggle")
    folder = make(tmp_path, rows=80)

    def argv(out: Path) -> list[str]:
        sandbox = "auto" if MOMENTS > 1 else "none"
        values = ["teacher=none", "candidates=3", "max_hours=0.3", "threads=1", f"sandbox={sandbox}", f"out={out}"]
        return [sys.executable, "-m", "agentkd", "kaggle", "run", str(folder), *values]

    def check(out: Path, calm: Path) -> None:
        assert (out / "submission.csv").read_bytes() == (calm / "submission.csv").read_bytes()
        assert scores(out) == scores(calm) and len(hashes(out)) == 1

    Matrix(tmp_path, KAGGLE, argv, check, solvers=MOMENTS == 1).go(number)


def scores(out: Path) -> dict[str, Any]:
    candidates = json.loads((out / "metrics.json").read_text())["candidates"]
    return {name: item["score"] for name, item in candidates.items()}
