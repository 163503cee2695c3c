"""`agentkd generate` with agents of the user: examples as users write them, agents that go wrong, and kill -9."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from agentkd.trace import Check, ToolResult, Trace
from tests.own_agents.conftest import Desk
from tests.support.mock_server import mock_server
from tests.support.processes import gone, processes_in
from tests.support.tool_teacher import CAPITAL, COUNTRIES, POPULATION, scripted

PAIRS = [(a, b) for a in COUNTRIES for b in COUNTRIES if a < b]


def sums(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{a}-{b}",
            "question": f"How many people live in {a} and {b} together?",
            "answer": POPULATION[a] + POPULATION[b],
        }
        for a, b in PAIRS[:count]
    ]


def capitals(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{a}-{b}",
            "input": f"What are the capitals of {a} and {b}?",
            "answer": f"{CAPITAL[a]} and {CAPITAL[b]}",
        }
        for a, b in PAIRS[:count]
    ]


def summarise(trace: Trace) -> list[tuple[str, int, list[str], int]]:
    return [
        (step.kind, len(step.messages), [call.name for call in step.tool_calls], len(step.evidence))
        for step in trace.steps
    ]


REACT = ("--agent", "mine.react_agent:graph", "--verify", "mine.checks:answer_is_right")
PLANNER = ("--agent", "mine/planner.py:app", "--verify", "exact")


def test_a_react_agent_runs_unchanged_and_each_call_is_a_step(desk: Desk) -> None:
    items = sums(2)
    items[1]["answer"] = "wrong"
    desk.write(items)
    with mock_server(reply=scripted) as server:
        code, error = desk.run(server, *REACT, "--concurrency", "1")
        asked = list(server.requests)
    assert code == 0, error
    right, wrong = (desk.traces()[f"{item['id']}/0"] for item in items)
    lookup = [
        ("call", 2, ["population"], 1),
        ("call", 4, ["population"], 1),
        ("call", 6, ["add"], 1),
        ("call", 8, [], 0),
    ]
    assert summarise(right) == [*lookup, ("verify", 0, [], 1)]
    assert right.verified and right.verdict.rung == "mine.checks:answer_is_right" and not wrong.verified
    first = right.steps[0]
    assert first.tool_calls[0].arguments == '{"country":  "Austria"}', "as the model wrote it"
    assert first.evidence == (
        ToolResult(name="population", arguments='{"country":  "Austria"}', result="9200000", id="call_0_population"),
    )
    assert [tool["function"]["name"] for tool in right.tools_of(first)] == ["population", "add"]
    assert first.usage is not None and right.usage.calls == 4 == len(asked) // 2
    assert all(request["model"] == "mock-1" and not request.get("stream") for request in asked)
    assert "wrong" not in json.dumps(asked), "gold stays here"


@pytest.mark.whole
def test_a_planner_with_an_executor_runs_unchanged(desk: Desk) -> None:
    desk.write(capitals(2))
    with mock_server(reply=scripted) as server:
        code, error = desk.run(server, *PLANNER, "--concurrency", "1")
    assert code == 0, error
    for trace in desk.traces().values():
        task = [("call", 1, ["capital"], 1), ("call", 3, [], 0)]
        assert summarise(trace) == [("call", 1, [], 0), *task, *task, ("call", 2, [], 0), ("verify", 0, [], 1)]
        assert trace.verified and isinstance(trace.steps[-1].evidence[0], Check)


@pytest.mark.whole
@pytest.mark.parametrize("example", ["react", "planner"])
def test_five_kills_lose_and_double_nothing_and_no_request_is_paid_twice(desk: Desk, example: str) -> None:
    words, items = (REACT, sums(6)) if example == "react" else (PLANNER, capitals(5))
    words += ("--concurrency", "2")
    desk.write(items)
    calls = 4 * 6 if example == "react" else 6 * 5
    rng = random.Random(5)
    with mock_server(reply=scripted, latency=0.05) as server:
        for _ in range(5):
            desk.kill_after(server, min(calls - 1, server.answered.total() + rng.randint(2, 4)), *words)
        code, error = desk.run(server, *words)
        paid = dict(server.answered)
    assert code == 0, error
    found = desk.traces()
    assert sorted(found) == sorted(f"{item['id']}/0" for item in items)
    assert all(trace.verified for trace in found.values())
    lines = [line for path in (desk.folder / "out/cache").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == len(paid), (
        "no answer on disk is paid again"
    )
    # what was in flight at a kill was answered to nobody: at most one request per process and kill
    assert sum(count - 1 for count in paid.values()) <= 5 * 2
    with mock_server(reply=scripted) as server:
        assert desk.run(server, *words)[0] == 0 and not server.requests, "a finished run asks for nothing"


ODD = {
    "raise": r"the agent raised KeyError: 'no such\nkey' (odd.py:",
    "exit": "the agent raised SystemExit: 3 (odd.py:",
    "die": "the agent's process ended (exit code 7)",
    "hang": "the agent took longer than 2 s",
    "state": "the result holds no answer (a, b)",
    "loop": "the agent made more than 3 model calls",
}


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of items that go wrong among others: the desk, stderr, and what the server was asked."""
    import shutil

    from tests.own_agents.conftest import EXAMPLES

    folder = tmp_path_factory.mktemp("odd")
    shutil.copytree(EXAMPLES, folder / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    desk = Desk(folder)
    rows = [{"id": name, "question": name, "answer": "right"} for name in ("fine", *ODD, "nothing", "seen", "last")]
    rows += [{"id": f"verifier-{name}", "question": "fine", "answer": name} for name in ("raise", "hang")]
    desk.write(rows)
    words = ("--agent", "mine.odd:agent", "--verify", "mine.checks:odd", "--concurrency", "3", "--agent-timeout", "2")
    with mock_server() as server:
        code, error = desk.run(server, *words, "--agent-calls", "3", "verify_timeout=2")
        return desk, code, error, server


def test_what_goes_wrong_is_one_line_of_its_sample_and_the_others_go_on(odd_run: Any) -> None:
    desk, code, error, _ = odd_run
    assert code == 0, error
    failed = desk.failures()
    assert set(failed) == set(ODD)
    for name, text in ODD.items():
        assert failed[name].startswith(text) or text in failed[name], failed[name]
        assert "\n" not in failed[name]
    traces = desk.traces()
    assert set(traces) == {f"{n}/0" for n in ("fine", "nothing", "seen", "last", "verifier-raise", "verifier-hang")}
    assert traces["fine/0"].verified and traces["last/0"].verified
    assert traces["nothing/0"].verdict.reason == "no answer"
    assert "ZeroDivisionError" in traces["verifier-raise/0"].verdict.reason
    assert "longer than 2 s" in traces["verifier-hang/0"].verdict.reason
    assert "6 samples failed for good" in error
    assert "to the log: fine" in (desk.folder / "out" / "logs" / "agent.log").read_text()


def test_processes_of_agents_are_gone_and_the_users_key_was_not_shown_to_them(odd_run: Any) -> None:
    desk, *_ = odd_run
    assert gone(processes_in(desk.folder), seconds=10)
    asked, environment = json.loads(desk.traces()["seen/0"].answers[0])
    assert (
        asked == "seen" and "sk-of-the-user" not in json.dumps(environment) and "right" not in json.dumps(environment)
    )


def test_failed_samples_are_tried_again_when_that_is_asked_for(odd_run: Any) -> None:
    desk, *_ = odd_run
    words = ("--agent", "mine.odd:agent", "--verify", "mine.checks:odd", "--agent-timeout", "2", "--agent-calls", "3")
    with mock_server() as server:
        code, _ = desk.run(server, *words)
        assert code == 0 and not server.requests
    assert set(desk.failures()) == set(ODD)


@pytest.mark.parametrize(
    ("agent", "line"),
    [
        ("mine.odd:text", "mine.odd:text is a str: name a compiled LangGraph or an async function"),
        ("mine.odd:agnet", "mine.odd has no 'agnet'; did you mean agent?"),
        ("mine.none:agent", "mine.none:agent: there is no module mine.none; run in its folder"),
        ("mine/none.py:agent", "no file mine/none.py"),
        ("mine.odd:not_compiled", "is a StateGraph that is not compiled: name the result of its .compile()"),
    ],
)
def test_what_is_no_agent_is_told_before_anything_is_asked(
    desk: Desk, agent: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from agentkd.errors import UserError
    from agentkd.own_agents.find import call_factory, check_kind, load_agent

    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr(sys, "path", [str(desk.folder), *sys.path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError) as told:
        check_kind(agent, call_factory(agent, load_agent(agent), lambda: None))
    assert line in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["plain", "factory", "slow_factory", "with_model"])
def test_functions_and_factories_are_agents_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import asyncio
    import inspect

    from agentkd.own_agents.find import call_factory
    from agentkd.own_agents.worker import run_agent
    from tests.own_agents.examples import odd

    monkeypatch.setattr(odd, "ask", lambda text: f"{text}?")

    async def run() -> str:
        agent = call_factory(name, getattr(odd, name), lambda: odd.plain)
        return await run_agent(await agent if inspect.isawaitable(agent) else agent, "fine", "thread", None)

    assert asyncio.run(run()) in ("fine?", "fine?!")


def test_without_a_verifier_nothing_is_verified_and_the_trace_says_so(desk: Desk) -> None:
    desk.write([{"question": "fine"}])
    with mock_server() as server:
        code, error = desk.run(server, "--agent", "mine.odd:slow_factory")
    assert code == 0, error
    (trace,) = desk.traces().values()
    assert trace.answers == ("So the answer is: nothing!",) and not trace.verified
    assert trace.verdict.reason == "nothing was verified: --verify was left out"


def test_a_server_that_fails_is_no_fault_of_the_agent(desk: Desk) -> None:
    desk.write([{"id": "a", "question": "fine", "answer": "right"}])
    words = ("--agent", "mine.odd:agent", "--verify", "mine.checks:odd")
    with mock_server(faults=[400]) as server:
        code, error = desk.run(server, *words)
        assert code == 3 and "1 samples of out failed" in error, error
        assert not desk.failures() and not desk.traces()
        code, error = desk.run(server, *words)
    assert code == 0 and desk.traces()["a/0"].verified, error
