"""Nothing is lost or doubled when a run is killed: processes, a loopback model, kill -9 and ctrl-C.

Commands are forked from a warm process. Reference runs, and runs that ctrl-C ends, are started by Python.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkd.runs.signals import SAME_SECONDS
from agentkd.teacher.cache import Cache
from agentkd.trace import Trace
from tests.support.mock_server import HANG, MODEL, Server, mock_server
from tests.support.paths import ROOT
from tests.support.warm import KBQA, Forked, warm

QUESTIONS = 40
IMPATIENT = (
    "from agentkd.teacher import transport; transport.FIRST_PAUSE = 0.01; from agentkd.cli.main import main; main()"
)


def command(server: Server, out: Path, *extra: str) -> list[str]:
    options = ["--teacher", server.spec, "--retriever", "bm25", "--concurrency", "4", "--out", str(out)]
    return [sys.executable, "-m", "agentkd", "generate", "--task", "geo", "--limit", str(QUESTIONS), *options, *extra]


def start(argv: list[str]) -> Forked:
    return warm(*KBQA).popen(argv)


def start_python(argv: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def finish(argv: list[str], begin: Callable[[list[str]], Forked | subprocess.Popen[str]] = start) -> tuple[int, str]:
    with begin(argv) as process:
        _, error = process.communicate(timeout=120)
    assert process.returncode is not None
    return process.returncode, error


def read(out: Path) -> list[Trace]:
    return [Trace.model_validate_json(line) for line in (out / "traces-0.jsonl").read_text().splitlines()]


def check_whole(out: Path, count: int) -> None:
    traces = read(out)
    keys = Counter((trace.id, trace.sample) for trace in traces)
    assert len(keys) == count and set(keys.values()) == {1}
    assert all(trace.hash == trace.content_hash() for trace in traces)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["shards"]["traces-0.jsonl"]["lines"] == count


@pytest.mark.whole
def test_five_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    rng = random.Random(0)
    out = tmp_path / "run"
    with mock_server(latency=0.02) as server:
        for _ in range(5):
            target = server.answered.total() + rng.randint(1, 14)
            process = start(command(server, out))
            assert server.wait_for(target), "the run stalled"
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert not (out / "manifest.json").exists()
        code, error = finish(command(server, out))
        assert code == 0, error
        check_whole(out, QUESTIONS)
        # only what was in flight at a kill (4 each) may have been answered twice
        assert sum(count - 1 for count in server.answered.values()) <= 5 * 4
        sent = len(server.requests)
        code, error = finish(command(server, out))
        assert code == 0 and len(server.requests) == sent, "a complete run asks nothing"


def test_a_killed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    with mock_server(latency=0.02) as server:
        process = start(command(server, tmp_path / "killed"))
        assert server.wait_for(20)
        process.kill()
        process.communicate()
        assert finish(command(server, tmp_path / "killed"))[0] == 0
        assert finish(command(server, tmp_path / "calm"), start_python)[0] == 0
    hashes = [{trace.id: trace.hash for trace in read(tmp_path / name)} for name in ("killed", "calm")]
    assert hashes[0] == hashes[1]


def test_ctrl_c_is_one_line_and_130_and_a_second_writer_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_server(latency=0.05) as server:
        process = start_python(command(server, out))
        assert server.wait_for(3)
        server.latency = 10.0  # it does not end before the second writer has come
        code, error = finish(command(server, out))
        assert code == 2 and "is being written by process" in error
        server.latency = 0.05
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "the same command goes on from there" in error and "Traceback" not in error
        assert finish(command(server, out))[0] == 0
    check_whole(out, QUESTIONS)


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_lets_what_is_in_flight_end_and_sends_nothing_more(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_server(faults=[HANG] * 4) as server:
        process = start(command(server, out))
        wait_until(lambda: len(server.requests) == 4)
        process.send_signal(number)
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        assert any("may end, for at most 30 s; ctrl-C again stops at once" in line for line in said)
        server.released.set()
        _, error = process.communicate(timeout=60)
        assert process.returncode == 128 + number and "the same command goes on from there" in error
        assert len(server.requests) == 4 == server.answered.total()
        assert len(Cache(out / "cache")) == 4, "they are paid for, so they are kept"
        assert not (out / "failures-0.jsonl").exists(), "nothing has failed"
        assert finish(command(server, out))[0] == 0
        assert set(server.answered.values()) == {1}, "nothing was asked twice"
    check_whole(out, QUESTIONS)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_server(faults=[HANG] * 4) as server:
        process = start(command(server, out))
        wait_until(lambda: len(server.requests) == 4)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("stopping" in line for line in iter(process.stderr.readline, ""))
        time.sleep(2 * SAME_SECONDS)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 130 and "Traceback" not in error
        assert not server.answered


def test_a_limit_stops_the_run_and_the_same_command_with_more_goes_on(tmp_path: Path) -> None:
    """Money is the run's: what the first command has spent counts for the second. The mock writes 3 tokens per call; a
    plan may take 128, so that the reserve for one is well below the limit however long its prompt is."""
    out = tmp_path / "run"
    prices = tmp_path / "prices.yaml"
    prices.write_text(f"models: {{{MODEL}: {{prompt: 0, completion: 1000}}}}")
    with mock_server(latency=0.01) as server:
        limited = command(server, out, f"prices={prices}", "--max-usd", "0.3")
        for _ in range(2):
            code, error = finish(limited)
            assert code == 3 and "--max-usd is 0.3: raise it to go on" in error
            assert 0 < Cache(out / "cache").usd <= 0.3
        assert server.answered.total() * 0.003 == pytest.approx(Cache(out / "cache").usd)
        code, error = finish(command(server, out, f"prices={prices}", "--max-usd", "99"))
        assert code == 0, error
        total = server.answered.total() * 0.003
        assert f"· ${total:.4f} in all" in error and set(server.answered.values()) == {1}
        assert json.loads((out / "metrics.json").read_text())["usd"] == pytest.approx(total)
    check_whole(out, QUESTIONS)


def test_extent_grows_and_identity_does_not_change(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_server() as server:
        assert finish(command(server, out))[0] == 0
        before = (out / "traces-0.jsonl").read_bytes()
        assert finish(command(server, out, f"limit={QUESTIONS + 10}"))[0] == 0
        assert (out / "traces-0.jsonl").read_bytes().startswith(before)
        check_whole(out, QUESTIONS + 10)
        for change in ("seed=1", "agent=cot"):
            code, error = finish(command(server, out, change))
            assert code == 2 and change.split("=")[0] in error and "another --out" in error
    check_whole(out, QUESTIONS + 10)


@pytest.mark.parametrize(
    ("faults", "codes", "again"),
    [([413], (0, 0), False), ([413] * 9, (3, 0), True), ([400] * 3, (3, 0), True), ([500] * 5, (3, 0), True)],
)
def test_final_is_what_the_request_has_caused(
    tmp_path: Path, faults: list[int], codes: tuple[int, int], again: bool
) -> None:
    """It is not paid for twice. A server that refuses everybody has other reasons."""
    out = tmp_path / "run"
    argv = ["--teacher", "", "--retriever", "bm25", "--out", str(out), "limit=2", "concurrency=1"]
    with mock_server(faults=faults) as server:
        argv[1] = server.spec
        run = [sys.executable, "-c", IMPATIENT, "generate", *argv]
        code, error = finish(run)
        assert code == codes[0]
        assert ("samples failed for good: 1 × http" in error) is not again
        before = len(server.requests)
        server.faults.clear()
        assert finish(run)[0] == codes[1]
        assert (len(server.requests) > before) is again
    failure = json.loads((out / "failures-0.jsonl").read_text().splitlines()[0])
    assert failure["retry"] is again
