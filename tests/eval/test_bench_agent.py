"""`agentkd bench agent` and `bench server`: each part's time is its own, and both clients send the same requests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.errors import UserError
from agentkd.eval.bench.mock import MODEL, MockWorld, mock_server
from agentkd.eval.bench.speed import agent, server
from agentkd.tasks.task import Task


def test_a_parts_time_excludes_that_of_the_parts_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(agent.time, "process_time", lambda: now)
    monkeypatch.setattr(agent.time, "perf_counter", lambda: 10 * now)
    clock = agent.PartClock()

    def work(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def client() -> None:
        work(5)

    async def node() -> None:
        work(2)
        await clock.timed("client", client)()
        work(2)

    async def graph() -> None:
        work(1)
        await clock.timed("plan", node)()
        work(1)

    asyncio.run(graph())
    clock.enter(agent.GRAPH)
    assert clock.cpu == {agent.GRAPH: 2, "plan": 4, "client": 5}
    assert clock.wall == {agent.GRAPH: 20, "plan": 40, "client": 50}
    assert clock.calls == {"client": 1, "plan": 1} and clock.part == agent.GRAPH


def test_the_parts_of_a_round_add_up(tmp_path: Path) -> None:
    options = ["--questions", "3", "--repeats", "1", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, ["bench", "agent", *options])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    parts = {item["name"]: item for item in report["parts"]}
    assert parts["node plan"]["calls"] == report["rounds"] >= 3 and parts["node survey"]["calls"] == 3
    assert parts["client"]["calls"] > 3 and parts["LangGraph"]["cpu_ms"] > 0
    whole = parts["LangGraph"]["cpu_ms"] + parts["all nodes"]["cpu_ms"] + parts["client"]["cpu_ms"]
    assert parts["in all"]["cpu_ms"] == pytest.approx(whole)
    assert json.loads((tmp_path / "agent.json").read_text()) == report


def test_blocks_are_kd_cots_own_requests_and_none_comes_twice() -> None:
    found = asyncio.run(server.make_blocks(3, 5, seed=1))
    assert [len(block) for block in found] == [5, 5, 5]
    bodies = [json.dumps(request.body("m")) for block in found for request in block]
    assert len(set(bodies)) == 15 and all(request.schema for block in found for request in block)
    systems = {request.messages[0].content for block in found for request in block}
    assert len(systems) <= 2  # shared prefixes: planner's and reader's


def test_too_many_requests_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pick = Task.pick
    monkeypatch.setattr(Task, "pick", lambda self, split, limit, seed: pick(self, split, 2, seed))
    with pytest.raises(UserError, match="2 blocks of 100 requests are more than geo's questions bring: lower --req"):
        asyncio.run(server.make_blocks(2, 100, seed=1))


def test_both_clients_send_every_request_of_a_block_and_the_same_bodies(tmp_path: Path) -> None:
    block = asyncio.run(server.make_blocks(1, 6, seed=0))[0]
    with mock_server(MockWorld(0)) as mock:
        mine = asyncio.run(server.send_with_agentkd(mock.url, MODEL, block, 3, tmp_path / "cache"))
        keys = {entry.key for entry in mock.log()}
        floor = asyncio.run(server.send_with_aiohttp(mock.url, MODEL, block, 3))
        log = mock.log()
    assert len(log) == 12 and keys == {entry.key for entry in log[6:]} and len(keys) == 6
    assert (mine.prompt, mine.completion) == (floor.prompt, floor.completion) and mine.rate > 0


def test_bench_server_takes_turns_and_reports_the_ratio(tmp_path: Path) -> None:
    with mock_server(MockWorld(0)) as mock:
        options = ["--requests", "4", "--in-flight", "2", "--pairs", "2", "--out", str(tmp_path / "out"), "--json"]
        done = CliRunner().invoke(app, ["bench", "server", "--teacher", mock.spec, *options])
        assert done.exit_code == 0, done.output
        assert len(mock.log()) == 4 * 5  # a warm-up, then two blocks a pair
    report = json.loads(done.stdout.splitlines()[-1])
    assert len(report["ratios"]) == 2 and report["ratio_low"] <= report["ratio"] <= report["ratio_high"]
    assert [item["name"] for item in report["rows"]] == ["agentkd", "aiohttp"]
    assert json.loads((tmp_path / "out" / "server.json").read_text()) == report
    with pytest.raises(UserError, match="is no server"):
        server.bench_server(teacher="none", requests=1, in_flight=1, pairs=1, seed=0, vllm_args="", out=None)
