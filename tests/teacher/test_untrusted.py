"""What a server should never send, and caches that are not what they were: an answer, another try, or one line."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentkd.errors import WorldError
from agentkd.teacher import transport
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import Reply
from agentkd.teacher.client import Teacher
from agentkd.teacher.options import Endpoint, TeacherOptions
from agentkd.teacher.prices import Price
from agentkd.teacher.reply import NO_RESPONSE, read_reply, strip_fence
from agentkd.trace import Message, content_hash
from tests.support.mock_server import MODEL, Fault, mock_server

HELLO = [Message(role="user", content="hello")]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)


def ask(url: str, cache: Cache | None = None) -> Reply:
    async def run() -> Reply:
        teacher = Teacher(Endpoint((url,), MODEL), cache=cache, options=TeacherOptions(timeout=10.0))
        try:
            return await teacher.chat(HELLO, max_tokens=8)
        finally:
            await teacher.close()

    return asyncio.run(run())


def response(text: Any = "hi", usage: Any = None) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


def sent(data: bytes, **headers: str) -> Fault:
    return 200, headers, data


BOMB = gzip.compress(b"\0" * 200_000_000, 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (sent(b"[" * 200_000), r"no completion: \[\["),
        (sent(b'{"choices": ' + b"[" * 200_000), "no completion"),
        (sent(json.dumps({"error": 1}).encode().replace(b"1", b"[" * 200_000)), "no completion"),
        (sent(b" " * (transport.REPLY_BYTES + 1)), "more than 16 MB"),
        (sent(BOMB, **{"Content-Encoding": "gzip"}), "more than 16 MB"),
        (sent(b"\x1f\x8b no gzip", **{"Content-Encoding": "gzip"}), "gzip"),
        (sent(b"{}", **{"Content-Encoding": "zstd"}), "zstd"),
    ],
)
def test_what_is_no_completion_is_tried_again_and_said(fault: Fault, words: str) -> None:
    with mock_server(faults=[fault] * 5) as server:
        tracemalloc.start()
        with pytest.raises(WorldError, match=words):
            ask(server.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(server.requests) == 5 and peak < 150e6
        assert ask(server.url).text.startswith("So the answer is")


def test_half_a_character_is_replaced_and_can_be_hashed() -> None:
    lone = b'{"choices": [{"message": {"content": "Texas \\ud83d", "reasoning": "\\udfff"}, "finish_reason": "stop"}]}'
    with mock_server(faults=[sent(lone)]) as server:
        reply = ask(server.url)
    assert (reply.text, reply.reasoning) == ("Texas \ufffd", "\ufffd")
    content_hash(reply.text), reply.text.encode(), reply.model_dump_json()
    assert read_reply(response("\U0001f600"), None).text == "\U0001f600"


@pytest.mark.parametrize(
    ("counts", "tokens"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3}, 10),
        ({"prompt_tokens": "7", "completion_tokens": 3.0}, 10),
        ({"prompt_tokens": -5_000_000_000, "completion_tokens": 3}, 0),
        ({"prompt_tokens": 7, "completion_tokens": -1}, 0),
        ({"prompt_tokens": 10**30, "completion_tokens": 3}, 0),
        ({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}, 0),
        ({"prompt_tokens": [], "completion_tokens": {"a": 1}}, 0),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 10**9}}, 10),
        ([], 0),
        ("none", 0),
    ],
)
def test_a_count_that_cannot_be_is_none(counts: Any, tokens: int) -> None:
    usage = read_reply(response(usage=counts), Price(prompt=1.0, completion=1.0, cached=0.0)).usage
    assert usage.tokens == tokens and 0 <= usage.usd <= tokens / 1e6


NOTHINGS = (
    None, [], {}, {"choices": None}, {"choices": {}}, {"choices": []}, {"choices": ["a"]}, {"choices": [{}]},
    {"choices": [{"message": {"content": {}}}]}, {"choices": [{"text": 5}]}, response([["a"]]),
    {"choices": [{"message": {"content": "a"}, "finish_reason": {}}]},
)  # fmt: skip


@pytest.mark.parametrize("content", NOTHINGS)
def test_what_is_no_response(content: Any) -> None:
    with pytest.raises(NO_RESPONSE):
        read_reply(content, None)


def test_a_deep_answer_is_a_text() -> None:
    deep = "```json\n" + "[" * 100_000 + "\n```"
    assert strip_fence(read_reply(response(deep), None).text) == deep


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'"texts"', b'"tests"'),
        lambda line: line.replace(b'["So', b'[["So').replace(b'"], "finish', b'"]], "finish'),
        lambda line: line.replace(b'"texts": [', b'"texts": [], "other": ['),
        lambda line: line.replace(b'"value": {', b'"value": {"texts": ' + b"[" * 100_000 + b", "),
        lambda line: line.replace(b'"usd": 0.0', b'"usd": 0.0.0'),
        lambda line: line.replace(b'"tokens": 10', b'"tokens": ' + b"9" * 5000),
    ],
)
def test_a_cache_of_another_shape_is_no_answer(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    said: list[str] = []
    with mock_server() as server:
        first = ask(server.url, Cache(tmp_path))
        shard = tmp_path / "responses-0.jsonl"
        damaged = change(shard.read_bytes())
        assert damaged != shard.read_bytes()
        shard.write_bytes(damaged)
        assert ask(server.url, Cache(tmp_path, said.append)).text == first.text
        assert len(server.requests) == 2
        assert ask(server.url, Cache(tmp_path, said.append)).usage.cached == 1
    assert len(said) <= 1 and all("damaged answers: they are asked for again" in line for line in said)
