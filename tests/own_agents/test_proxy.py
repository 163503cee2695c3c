"""The proxy as clients see it: the `openai` package, whole and streamed, and LangChain's models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from agentkd.own_agents.proxy import Proxy
from agentkd.own_agents.session import CallOptions, Session
from agentkd.teacher.chat import Reply
from agentkd.trace import ToolCall, Usage
from tests.own_agents.test_session import Stub, say

T = TypeVar("T")
CALL = ToolCall(id="call_7", name="look", arguments='{"at":  1}')
HELLO: Any = [{"role": "user", "content": "Hello"}]
TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


def with_proxy(stub: Stub, work: Callable[[Proxy, str], Awaitable[T]]) -> T:
    async def run() -> T:
        async with Proxy("teacher-1") as proxy:
            key = proxy.new_key()
            teacher: Any = stub
            proxy.sessions[key] = Session(teacher, CallOptions(9, 100, 0.0), 0)
            return await work(proxy, key)

    return asyncio.run(run())


def completions(stub: Stub, **request: Any) -> Any:
    """The answer of the `openai` package's client; of a stream, its chunks."""
    from openai import AsyncOpenAI

    async def work(proxy: Proxy, key: str) -> Any:
        async with AsyncOpenAI(base_url=proxy.url, api_key=key, max_retries=0) as client:
            found = await client.chat.completions.create(model="gpt-4o", messages=HELLO, **request)
            return [chunk async for chunk in found] if request.get("stream") else found

    return with_proxy(stub, work)


def test_an_answer_with_tool_calls_passes_through_as_the_model_wrote_it() -> None:
    usage = Usage(calls=1, prompt_tokens=5, completion_tokens=2)
    reply = Reply(texts=("",), finish_reason="stop", usage=usage, reasoning="Look.", tool_calls=(CALL,))
    found = completions(Stub(reply), tools=TOOLS)
    message = found.choices[0].message
    assert message.content is None and message.reasoning_content == "Look."
    assert found.choices[0].finish_reason == "tool_calls" and found.model == "teacher-1"
    call = message.tool_calls[0]
    assert (call.id, call.function.name, call.function.arguments) == ("call_7", "look", CALL.arguments)
    assert found.usage.total_tokens == 7


def test_several_answers_are_asked_for_one_by_one() -> None:
    stub = Stub(say("a"), say("b"))
    assert [choice.message.content for choice in completions(stub, n=2).choices] == ["a", "b"]
    assert len({seed for _, _, seed in stub.asked}) == 2


def test_a_stream_gives_the_same_message_and_the_usage_at_its_end() -> None:
    stub = Stub(say("Let me see.", CALL))
    chunks = completions(stub, stream=True, tools=TOOLS, stream_options={"include_usage": True})
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Let me see."
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [(call.index, call.id, call.function.arguments) for call in calls] == [(0, "call_7", CALL.arguments)]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices] == [None, "tool_calls"]
    assert chunks[-1].usage.total_tokens == 7


def test_strangers_and_other_requests_are_refused_in_a_line() -> None:
    import aiohttp

    async def work(proxy: Proxy, key: str) -> list[tuple[int, str]]:
        good = {"Authorization": f"Bearer {key}"}
        tries = [
            ("chat/completions", {}, b"{}"),
            ("chat/completions", {"Authorization": "Bearer sk-1"}, b"{}"),
            ("embeddings", good, b"{}"),
            ("chat/completions", good, b"not json"),
            ("chat/completions", good, b"[]"),
            ("chat/completions", good, json.dumps({"messages": HELLO, "n": 10**9}).encode()),
            ("chat/completions", good, json.dumps({"messages": HELLO, "max_tokens": "many"}).encode()),
        ]
        found = []
        async with aiohttp.ClientSession() as client:
            for path, headers, body in tries:
                async with client.post(f"{proxy.url}/{path}", data=body, headers=headers) as response:
                    found.append((response.status, (await response.json())["error"]["message"]))
            async with client.get(f"{proxy.url}/models") as response:
                assert (await response.json())["data"][0]["id"] == "teacher-1"
        return found

    stub = Stub()
    found = with_proxy(stub, work)
    assert [status for status, _ in found] == [401, 401, 404, 400, 400, 400, 400]
    assert all(text and "\n" not in text for _, text in found) and not stub.asked


def test_langchains_model_binds_tools_and_reads_calls() -> None:
    from langchain_core.messages import ToolMessage
    from langchain_core.tools import tool

    from agentkd.own_agents.chat_model import AgentkdChat

    @tool
    def look(at: int) -> str:
        """Look somewhere."""
        return str(at)

    broken = ToolCall(id="call_8", name="look", arguments='{"at": ')

    async def work(proxy: Proxy, key: str) -> Any:
        model = AgentkdChat(base_url=proxy.url, api_key=key, max_tokens=7).bind_tools([look], tool_choice="any")
        sent = await model.ainvoke("Hello")
        return sent, await asyncio.to_thread(
            model.invoke, [("user", "Hello"), sent, ToolMessage("3", tool_call_id="call_7")]
        )

    stub = Stub(say("", CALL, broken), say("Done"))
    sent, last = with_proxy(stub, work)
    assert last.content == "Done"
    told = stub.asked[1][0]["messages"]
    assert told[1]["tool_calls"][0]["id"] == told[2]["tool_call_id"] == "call_7"
    assert [(call["name"], call["args"], call["id"]) for call in sent.tool_calls] == [("look", {"at": 1}, "call_7")]
    assert [call["args"] for call in sent.invalid_tool_calls] == [broken.arguments]
    assert sent.usage_metadata["total_tokens"] == 7
    request = stub.asked[0][0]
    assert request["tool_choice"] == "required" and request["max_tokens"] == 7
    assert request["tools"][0]["function"]["name"] == "look"


@pytest.mark.parametrize("kind", ["ainvoke", "astream"])
def test_langchain_openai_reads_its_answers(kind: str) -> None:
    openai = pytest.importorskip("langchain_openai")

    async def work(proxy: Proxy, key: str) -> Any:
        model = openai.ChatOpenAI(model="gpt-4o", base_url=proxy.url, api_key=key).bind_tools(TOOLS)
        if kind == "ainvoke":
            return await model.ainvoke("Hello")
        parts = [part async for part in model.astream("Hello")]
        whole = parts[0]
        for part in parts[1:]:
            whole += part
        return whole

    found = with_proxy(Stub(say("See:", CALL)), work)
    assert found.content == "See:" and found.tool_calls[0]["args"] == {"at": 1}
