"""The client: retries, cache, token limit, and its refusals."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentkd import teacher as module
from agentkd.errors import UserError, WorldError
from agentkd.teacher import Cache, Reply, Teacher, TokenLimit, open_teacher
from agentkd.trace import Message
from tests.mock_server import GARBAGE, MODEL, RESET, Server, mock_server

HELLO = [Message(role="user", content="hello")]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)


def ask(server: Server, *, cache: Cache | None = None, count: int = 1, **options: Any) -> list[Reply]:
    limits = {name: options.pop(name) for name in ("max_tokens_run", "timeout") if name in options}

    async def run() -> list[Reply]:
        teacher = Teacher(
            server.url,
            MODEL,
            identity=MODEL,
            cache=cache,
            timeout=limits.get("timeout", 10.0),
            max_tokens=limits.get("max_tokens_run"),
        )
        try:
            return [await teacher.chat(HELLO, max_tokens=8, **{"sample": 0, **options}) for _ in range(count)]
        finally:
            await teacher.close()

    return asyncio.run(run())


@pytest.mark.parametrize("fault", [429, 500, 503, 408, GARBAGE, RESET])
def test_what_may_pass_is_tried_again(fault: int | str) -> None:
    with mock_server(faults=[fault, fault]) as server:
        (reply,) = ask(server)
        assert reply.text == "So the answer is: nothing"
        assert reply.usage.calls == 1 and reply.usage.tokens == 10
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    with mock_server(faults=[status]) as server, pytest.raises(WorldError, match=f"{status}.*scripted") as caught:
        ask(server)
    assert caught.value.retry is False
    assert len(server.requests) == 1


def test_it_gives_up_and_says_why() -> None:
    with mock_server(faults=[503] * 99) as server, pytest.raises(WorldError, match=r"failed 5 times.*scripted 503"):
        ask(server)
    assert len(server.requests) == 5


def test_the_cache_answers_the_same_request_and_no_other(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with mock_server() as server:
        first, second = ask(server, cache=cache, count=2)
        assert (first.usage.cached, second.usage.cached) == (0, 1)
        assert second.text == first.text and second.usage.tokens == first.usage.tokens
        assert len(server.requests) == 1
        ask(server, cache=cache, sample=1)
        ask(server, cache=cache, temperature=0.5)
        assert len(server.requests) == 3


@pytest.mark.parametrize("damage", [b"", b'{"text": "So', b"[]", b"\xff\xfe"])
def test_a_damaged_cache_file_is_asked_for_again(tmp_path: Path, damage: bytes) -> None:
    cache = Cache(tmp_path)
    with mock_server() as server:
        ask(server, cache=cache)
        (file,) = tmp_path.rglob("*.json")
        file.write_bytes(damage)
        (reply,) = ask(server, cache=cache)
        assert reply.usage.cached == 0 and len(server.requests) == 2


def test_the_token_limit_stops_before_the_next_call() -> None:
    with mock_server() as server, pytest.raises(TokenLimit, match="20 tokens used, --max-tokens is 15"):
        ask(server, count=3, max_tokens_run=15)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("nonsense", UserError, "unknown teacher 'nonsense': use local"),
        ("vllm:", UserError, "unknown teacher 'vllm:'"),
        ("http://127.0.0.1:9/v1", UserError, "names no model: write URL#MODEL"),
        ("http://127.0.0.1:9/v1#m", WorldError, "127.0.0.1:9"),
    ],
)
def test_teachers_that_cannot_be(tmp_path: Path, spec: str, error: type[Exception], words: str) -> None:
    async def run() -> None:
        async with open_teacher(spec, run=tmp_path):
            raise AssertionError("opened")

    with pytest.raises(error, match=words):
        asyncio.run(run())


def test_a_model_that_is_not_served_is_named_with_those_that_are(tmp_path: Path) -> None:
    async def run(spec: str) -> None:
        async with open_teacher(spec, run=tmp_path):
            raise AssertionError("opened")

    with mock_server() as server, pytest.raises((UserError, WorldError), match=rf"other-7.*{MODEL}"):
        asyncio.run(run(f"{server.url}#other-7"))
