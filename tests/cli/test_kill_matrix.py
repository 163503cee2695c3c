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
from dataclasses import dataclass
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
    """A command and how its finished directory is checked. `calm` is the undisturbed run's."""

    home: Path
    modules: tuple[str, ...]
    argv: Callable[[Path], list[str]]
    check: Callable[[Path, Path], None]  # of a finished directory, and that of the undisturbed run
    solvers: bool = False
    seconds: float = 0.0  # that an undisturbed run takes

    @property
    def calm(self) -> Path:
        return self.home / "calm"

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

    def begin(self) -> Matrix:
        """Make the undisturbed run, and time it."""
        warm(*self.modules)  # its start is not the command's
        start = time.monotonic()
        code, error = self.run(self.calm)
        assert code == 0, error
        self.seconds = time.monotonic() - start
        self.check(self.calm, self.calm)
        return self

    def end_at_moments(self, number: signal.Signals) -> int:
        """End the command MOMENTS times, let it finish, and check it; return the number of finished runs."""
        rng = random.Random(f"{SEED} {self.modules} {number}")
        finished, ends = 0, Counter[str]()
        for _ in range(MOMENTS):
            out = self.home / f"{number.name}-{finished}"
            moment = rng.uniform(0.0, self.seconds)
            code, error = self.run(out, number, moment)
            if out.exists():  # before that, a signal may still be Python's own business
                # At the very end, when all is written, a signal does what it does to any process.
                over = number == signal.SIGKILL or (out / "manifest.json").exists()
                assert code in (0, 128 + number, -number if over else 0), (code, moment, error)
                assert "Traceback" not in error, error
            ends["finished first" if code == 0 else "ended"] += 1
            check_lines(out)
            if (out / "manifest.json").exists():
                self.check(out, self.calm)
                finished += 1
        out = self.home / f"{number.name}-{finished}"
        code, error = self.run(out)
        assert code == 0, error
        self.check(out, self.calm)
        print(f"{' '.join(self.argv(out)[3:5])} {number.name}: a run takes {self.seconds:.1f} s; {dict(ends)}")
        return finished + 1


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


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with mock_server(latency=0.02) as started:
        yield started


@pytest.fixture(scope="module")
def generate(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    def argv(out: Path) -> list[str]:
        options = ["--teacher", server.spec, "--retriever", "bm25", "--concurrency", str(IN_FLIGHT), "--out", str(out)]
        return [sys.executable, "-m", "agentkd", "generate", "--task", "geo", "--limit", str(QUESTIONS), *options]

    def check(out: Path, calm: Path) -> None:
        assert hashes(out) == hashes(calm) and len(hashes(out)) == QUESTIONS

    return Matrix(tmp_path_factory.mktemp("generate"), KBQA, argv, check).begin()


@pytest.fixture(scope="module")
def distill(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    pytest.importorskip("trl", reason="needs the extra train")
    home = tmp_path_factory.mktemp("distill")
    student = little_student(home / "student")
    traces = write_run(home / "traces", [make_trace(f"country {number}") for number in range(8)])

    def argv(out: Path) -> list[str]:
        words = command_words(sft_config(student, traces, out, epochs=4))
        return [sys.executable, "-c", f"{OFTEN}from agentkd.cli.main import main; main()", "distill", *words]

    def check(out: Path, calm: Path) -> None:
        before, after = weights(calm), weights(out)
        assert before.keys() == after.keys()
        assert max((before[name] - after[name]).abs().max().item() for name in before) < 1e-6
        assert json.loads((out / "metrics.json").read_text())["steps"] == 16 and not (out / "checkpoints").exists()

    return Matrix(home, TRAIN, argv, check).begin()


@pytest.fixture(scope="module")
def select(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    pytest.importorskip("trl", reason="needs the extra train")
    home = tmp_path_factory.mktemp("select")
    models = [str(little_student(home / name, seed=seed, spread=0.3)) for seed, name in enumerate(("large", "small"))]
    texts = [f"text number {number} of some length, {number * number}" for number in range(60)]
    (home / "texts.txt").write_text("\n".join(texts))
    blocks = "from agentkd.corpus import scores; scores.BLOCK = 4; "

    def argv(out: Path) -> list[str]:
        words = ["--corpus", str(home / "texts.txt"), "--teacher", models[0], "--reference", models[1]]
        start = f"{blocks}from agentkd.cli.main import main; main()"
        return [sys.executable, "-c", start, "select", *words, "--out", str(out)]

    def check(out: Path, calm: Path) -> None:
        assert (out / "selected.jsonl").read_bytes() == (calm / "selected.jsonl").read_bytes()
        assert len((out / "selected.jsonl").read_text().splitlines()) == 30

    return Matrix(home, TRAIN, argv, check).begin()


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    pytest.importorskip("lightgbm", reason="needs the extra kaggle")
    home = tmp_path_factory.mktemp("kaggle")
    folder = make(home, rows=80)

    def argv(out: Path) -> list[str]:
        sandbox = "auto" if MOMENTS > 1 else "none"
        values = [
            "teacher=none",
            "candidates=3",
            "max_hours=0.3",
            "threads=1",
            "experience=off",
            f"sandbox={sandbox}",
            f"out={out}",
        ]
        return [sys.executable, "-m", "agentkd", "kaggle", "run", str(folder), *values]

    def check(out: Path, calm: Path) -> None:
        assert (out / "submission.csv").read_bytes() == (calm / "submission.csv").read_bytes()
        assert scores(out) == scores(calm) and len(hashes(out)) == 1

    return Matrix(home, KAGGLE, argv, check, solvers=MOMENTS == 1).begin()


each_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@each_signal
def test_generate(number: signal.Signals, generate: Matrix, server: Server) -> None:
    before = server.answered.total()
    finished = generate.end_at_moments(number)
    paid_again = server.answered.total() - before - finished * len(server.answered)
    assert 0 <= paid_again <= (IN_FLIGHT * MOMENTS if number == signal.SIGKILL else 0), "it is not asked again"


@each_signal
def test_distill(number: signal.Signals, distill: Matrix) -> None:
    distill.end_at_moments(number)


@each_signal
def test_select(number: signal.Signals, select: Matrix) -> None:
    select.end_at_moments(number)


@each_signal
def test_kaggle_run(number: signal.Signals, kaggle: Matrix) -> None:
    kaggle.end_at_moments(number)


def scores(out: Path) -> dict[str, Any]:
    candidates = json.loads((out / "metrics.json").read_text())["candidates"]
    return {name: item["score"] for name, item in candidates.items()}
