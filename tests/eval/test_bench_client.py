"""`agentkd bench client`: every client answers all, the figures are the server's, and missing ones are reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentkd.errors import UserError, WorldError
from agentkd.eval.bench.mock import LogEntry, Mock, MockWorld
from agentkd.eval.bench.speed.client import (
    OURS,
    PEERS,
    Client,
    ClientRun,
    Load,
    bench_client,
    make_prompts,
    measure_client,
    read_log,
    read_result,
    summarise_client,
)


def run_of(seconds: float) -> ClientRun:
    return ClientRun(seconds=seconds, start=1.0, rest=0.5, cpu=0.2, again=0, version="1")


@pytest.mark.whole
def test_the_command_interleaves_the_clients_and_says_which_peer_is_missing(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "agentkd", "bench", "client", "--requests", "24", "--in-flight", "4", "--pairs", "1"]
    options = ["--latency", "zero", "--peers", "openai,curator", "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run([*argv, *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {item["name"]: item for item in report["rows"]}
    assert list(rows) == ["aiohttp", "agentkd", "agentkd, no cache", "openai", "curator"]
    assert "--install-peers" in rows["curator"]["missing"] and ".venv-peer-curator" in rows["curator"]["missing"]
    assert rows["aiohttp"]["ratio"] == 1 and rows["agentkd"]["sent_again"] == 0
    assert rows["agentkd"]["start_seconds"] > 0 and rows["openai"]["cpu_ms"] > 0
    assert json.loads((tmp_path / "out" / "client-zero.json").read_text()) == report
    assert (tmp_path / "out" / "client-zero.png").read_bytes().startswith(b"\x89PNG")


def test_ours_keeps_every_answer_on_disk_unless_it_is_told_not_to(tmp_path: Path) -> None:
    run = measure_client(OURS[0], 12, 4, MockWorld(0))
    assert run.again == 0 and run.seconds > 0 and run.start > 0
    assert [client.cache for client in OURS] == [True, False]


def test_ratios_are_taken_within_a_pair() -> None:
    runs = {"aiohttp": [run_of(1.0), run_of(4.0), run_of(2.0)], "agentkd": [run_of(2.0), run_of(4.0), run_of(3.0)]}
    found = summarise_client(OURS[0], runs, 100)
    assert found["ratios"] == [2.0, 1.0, 1.5] and found["ratio"] == 1.5
    assert (found["ratio_low"], found["ratio_high"]) == (1.0, 2.0)
    assert found["requests_per_second"] == pytest.approx(100 / 3) and found["cpu_ms"] == pytest.approx(2.0)


def test_seconds_go_from_the_first_arrival_to_the_last_answer_by_the_servers_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = [
        LogEntry("a", "a", 0, came=5.0, left=5.1, outcome="ok"),
        LogEntry("b", "b", 0, came=5.2, left=7.0, outcome="500"),
        LogEntry("b", "b", 0, came=5.5, left=6.5, outcome="ok"),
    ]
    monkeypatch.setattr(Mock, "log", lambda self, texts: log)
    monkeypatch.setattr(Mock, "get", lambda self, path: {"start": 100.0})
    run = read_log(Mock("", ""), [], start=103.0, wall=4.0, cpu=0.1, version="1")
    assert (run.seconds, run.start, run.rest, run.again) == pytest.approx((1.5, 2.0, 0.5, 1))


def test_prompts_are_distinct_and_change_with_the_seed() -> None:
    assert len({*make_prompts(50, 0), *make_prompts(50, 1)}) == 100


def test_wrong_input_and_a_client_that_fails_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown peer 'curlator': the peers are aiohttp, openai"):
        bench_client(Load(1, 1, "zero", 0), pairs=1, peers="curlator", install=False, out=None)
    with pytest.raises(UserError, match="unknown latency 'slow'"):
        bench_client(Load(1, 1, "slow", 0), pairs=1, peers="aiohttp", install=False, out=None)
    error = "Traceback\nModuleNotFoundError: No module named 'openai'"
    with pytest.raises(WorldError, match=r"openai ended with 1: ModuleNotFoundError.*leave it out"):
        read_result(PEERS["openai"], 1, "", error)
    monkeypatch.chdir(tmp_path)
    assert Client("x", "ask_x", ("x",)).missing and not PEERS["aiohttp"].missing
