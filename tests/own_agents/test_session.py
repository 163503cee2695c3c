"""A sample's calls: which of them are the same request, what becomes a step, and where a sample ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentkd.errors import SampleFailed, WorldError
from agentkd.own_agents.session import SEEDS, BadRequest, CallOptions, Session
from agentkd.teacher.chat import Reply
from agentkd.trace import ToolCall, ToolResult, Usage

USER = {"messages": [{"role": "user", "content": "Hello"}]}
TOOL = {"type": "function", "function": {"name": "look"}}


class Stub:
    """A teacher that answers with what it was asked for."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.replies, self.asked = list(replies), list[tuple[dict[str, Any], int, int]]()

    async def relay(self, request: dict[str, Any], *, bound: int, seed: int) -> Reply:
        self.asked.append((request, bound, seed))
        found = self.replies.pop(0) if self.replies else say("Hi")
        if isinstance(found, Exception):
            raise found
        return found


def say(text: str, *calls: ToolCall) -> Reply:
    usage = Usage(calls=1, prompt_tokens=5, completion_tokens=2)
    return Reply(texts=(text,), finish_reason="stop", usage=usage, tool_calls=calls)


def begin(stub: Any, *, most: int = 9, sample: int = 0) -> Session:
    return Session(stub, CallOptions(most, 100, 0.5), sample)


def ask(session: Session, request: dict[str, Any], **options: Any) -> str:
    reply, deliver = asyncio.run(session.answer(request, **options))
    deliver()
    return reply.text


def test_equal_requests_of_a_sample_are_requests_of_their_own_and_find_their_answers_again() -> None:
    stub = Stub()
    for _ in range(2):
        session = begin(stub, sample=3)
        for request in (USER, USER, {**USER, "seed": 7}):
            ask(session, request)
    seeds = [seed for _, _, seed in stub.asked]
    assert seeds[:3] == seeds[3:] == [3, 3 + SEEDS, 10]


def test_a_request_whose_answer_did_not_arrive_is_the_same_when_it_comes_again() -> None:
    stub = Stub()
    session = begin(stub)
    asyncio.run(session.answer(USER, gone=lambda: True))  # its client has hung up
    assert ask(session, USER) == "Hi"
    ask(session, USER)
    assert [seed for _, _, seed in stub.asked] == [0, 0, SEEDS]
    assert len(session.steps_with([])) == 2, "it is one step"


def test_temperature_and_bound_are_the_runs_where_the_agent_names_none() -> None:
    stub = Stub()
    session = begin(stub)
    ask(session, USER)
    ask(session, {**USER, "temperature": 0.1})
    assert [(request["temperature"], bound) for request, bound, _ in stub.asked] == [(0.5, 100), (0.1, 100)]


def test_calls_become_steps_with_their_tools_and_results() -> None:
    first, second = (ToolCall(id="c", name="look", arguments=text) for text in ('{"at":  1}', '{"at": 2}'))
    session = begin(Stub(say("", first), say("", second), say("Done")))
    ask(session, {**USER, "tools": [TOOL]})
    told = {"role": "tool", "content": "one", "tool_call_id": "c"}
    ask(session, {"messages": [*USER["messages"], told], "tools": [TOOL, {**TOOL, "strict": True}]})
    ask(session, {"messages": [*USER["messages"], told, {**told, "content": "two"}]})
    ran = [
        ToolResult(name="look", arguments="{'at': 1}", result="one", id="c"),
        ToolResult(name="look", arguments="{'at': 2}", result="no", ok=False, id="c"),
        ToolResult(name="search", arguments="{}", result="by code"),
    ]
    steps = session.steps_with(ran)
    assert [step.kind for step in steps] == ["call", "call", "call", "tools"]
    assert [step.tools for step in steps] == [(0,), (0, 1), (), ()] and len(session.tools) == 2
    results = [(item.arguments, item.result, item.ok) for step in steps[:2] for item in step.evidence]
    assert results == [('{"at":  1}', "one", True), ('{"at": 2}', "no", False)], "as the model wrote them"
    assert steps[3].evidence == (ran[2],)
    heard = [item.result for step in session.steps_with([]) for item in step.evidence if isinstance(item, ToolResult)]
    assert heard == ["one", "two"], "what the model was told, where nobody saw the tools run"
    assert session.usage.calls == 3


def test_a_sample_ends_with_the_first_error_of_ours_and_with_too_many_calls() -> None:
    session = begin(Stub(WorldError("the server is down")))
    for _ in range(2):
        with pytest.raises(WorldError, match="is down"):
            ask(session, USER)
    session = begin(stub := Stub(), most=2)
    ask(session, USER)
    ask(session, USER)
    with pytest.raises(SampleFailed, match=r"more than 2 model calls.*agent_calls="):
        ask(session, USER)
    assert len(stub.asked) == 2 and session.error is not None


@pytest.mark.parametrize("messages", [None, [], "Hello", [{"role": "wizard"}], [{"content": "?"}], [3]])
def test_a_request_without_messages_is_refused_and_ends_nothing(messages: Any) -> None:
    session = begin(Stub())
    with pytest.raises(BadRequest):
        ask(session, {"messages": messages})
    assert ask(session, USER) == "Hi"


def test_the_agents_own_time_is_that_without_a_call_in_flight() -> None:
    async def run() -> tuple[float, float]:
        class Slow(Stub):
            async def relay(self, request: dict[str, Any], *, bound: int, seed: int) -> Reply:
                await asyncio.sleep(0.3)
                return say("Hi")

        session = begin(Slow())
        await asyncio.gather(session.answer(USER), session.answer(USER))
        before = session.own_seconds
        await asyncio.sleep(0.1)
        return before, session.own_seconds

    before, after = asyncio.run(run())
    assert before < 0.2 and after >= before + 0.1
