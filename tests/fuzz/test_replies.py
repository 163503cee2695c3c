"""Replies of servers, the cache and batch outputs, damaged and generated: an answer, or one line."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.agent_k.model.answers import parse_json
from agentkd.agents.cot import parse_answers
from agentkd.agents.one_call import parse_reply
from agentkd.agents.planning import parse_plan
from agentkd.errors import AgentkdError, UserError
from agentkd.teacher import transport
from agentkd.teacher.batch import BatchFolder
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import Reply
from agentkd.teacher.client import Teacher
from agentkd.teacher.options import Endpoint, TeacherOptions
from agentkd.teacher.prices import Price
from agentkd.teacher.reply import NO_RESPONSE, load_json, match_choice, read_reply, read_string, strip_fence
from agentkd.trace import Message, Usage, content_hash
from tests.support.fuzz import damage, fuzz

pytestmark = pytest.mark.whole

PRICE = Price(prompt=1.0, completion=2.0, cached=0.5)
TEXTS = (
    '{"thought": "t", "action": "Question", "input": "who"}', "<think>so</think>a", "[THINK]so[/THINK]a", "half \ud83d",
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b", '"a" b', "```json\n{}\n```",
    "Path: a\nAnswers: b", "[" * 5000, '{"a":' * 3000, "", "\0\x1b[31m", "So the answer is: x; y", "1e999", "<think>",
)  # fmt: skip
BOMB = gzip.compress(b"\0" * 30_000_000, 1)
COUNTS = (7, 0, -5, 10**30, 1e999, float("nan"), "3", "x", None, True, [], {}, 7.5)


def value(random: random.Random, depth: int = 0) -> Any:
    """Some JSON value."""
    if depth < 4 and random.random() < 0.3:
        names = ("content", "text", "type", "message", "error", "thinking", "a")
        many = {random.choice(names): value(random, depth + 1) for _ in range(3)}
        return many if random.random() < 0.5 else [value(random, depth + 1) for _ in range(random.randrange(4))]
    return random.choice((*COUNTS, *TEXTS, "thinking", "text"))


def response(random: random.Random) -> dict[str, Any]:
    """A response of a chat or a completion, with some fields replaced by anything."""
    text: Any = random.choice(TEXTS)
    if random.random() < 0.3:
        text = [
            {"type": random.choice(("text", "thinking", "image")), "text": text} for _ in range(random.randrange(3))
        ]
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": random.choice(("stop", "length", None, "error", "STOP"))}
    choice |= {"message": message} if random.random() < 0.7 else {"text": text}
    usage = {"prompt_tokens": random.choice(COUNTS), "completion_tokens": random.choice(COUNTS)}
    usage["prompt_tokens_details"] = {"cached_tokens": random.choice(COUNTS)}
    whole: dict[str, Any] = {"choices": [choice] * random.choice((1, 1, 2, 0)), "usage": usage}
    for part in (whole, choice, message, usage):
        if random.random() < 0.15:
            part[random.choice([*part, "error", "reasoning", "refusal"])] = value(random)
    return whole


def body(random: random.Random) -> bytes:
    data = json.dumps(response(random)).encode()
    return damage(random, data) if random.random() < 0.6 else data


def use(reply: Reply) -> None:
    """Do with a reply what agents, cache and traces do with it."""
    assert 0 <= reply.usage.tokens < 10**8 and 0 <= reply.usage.usd < 10**9
    for text in (*reply.texts, reply.reasoning, reply.finish_reason):
        text.encode()
    text = reply.text
    strip_fence(text), read_string(text), match_choice(text, ["a", "b", "who"]), parse_reply(text), parse_answers(text)
    parse_plan(text, ("Question",), "q"), parse_json(text[:2000]), content_hash(text), reply.model_dump_json()


def test_responses() -> None:
    def one_round(random: random.Random) -> None:
        for _ in range(50):
            with suppress(*NO_RESPONSE):
                use(read_reply(load_json(body(random)), PRICE))

    fuzz(one_round, rounds=600)


def http_response(random: random.Random) -> bytes:
    """The bytes of an HTTP response, whole or damaged."""
    data, status = body(random), random.choice((200, 200, 200, 200, 400, 404, 429, 500, 307, 999))
    headers = ["Content-Type: application/json", "Connection: close"]
    if random.random() < 0.3:
        data = gzip.compress(data, 1) if random.random() < 0.95 else BOMB
        data = damage(random, data) if random.random() < 0.3 else data
        headers.append(f"Content-Encoding: {random.choice(('gzip', 'gzip', 'gzip', 'deflate', 'br'))}")
    if random.random() < 0.3:
        data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:99], data[99:]) if part) + b"0\r\n\r\n"
        headers.append("Transfer-Encoding: chunked")
    elif random.random() < 0.8:
        headers.append(f"Content-Length: {len(data) + random.choice((0, 0, 0, -1, 7))}")
    head = "\r\n".join((f"HTTP/1.1 {status} Any", *headers, "Retry-After: " + random.choice(("0", "nan", "inf", "x"))))
    if random.random() < 0.2:
        return damage(random, head.encode()) + b"\r\n\r\n" + data
    return head.encode() + b"\r\n\r\n" + data


def test_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_sleep(self: object, seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(transport.Transport, "_sleep", no_sleep)

    async def ask(random: random.Random) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(http_response(random))
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint((f"http://127.0.0.1:{port}/v1",), "m", price=PRICE)
        teacher = Teacher(endpoint, cache=None, options=TeacherOptions(timeout=5.0, token_timeout=0.0))
        hello, schema = [Message(role="user", content="hello")], {"type": "object", "properties": {}}
        for work in (
            teacher.check,
            lambda: teacher.chat(hello, max_tokens=8, schema=random.choice((None, schema))),
            lambda: teacher.complete("x", choices=random.choice(((), ("a", "b"))), n=random.choice((1, 3))),
        ):
            try:
                reply = await work()
                if isinstance(reply, Reply):
                    use(reply)
            except AgentkdError as error:
                assert "\n" not in str(error) and len(str(error)) < 2000
                str(error).encode()
        await teacher.close()
        server.close()

    fuzz(lambda random: asyncio.run(ask(random)), rounds=300)


def lines(folder: Path) -> Iterator[tuple[str, Path]]:
    cache = Cache(folder)
    keys = [content_hash(number) for number in range(20)]
    for key in keys:
        cache.put(key, Reply(texts=("a", "é"), finish_reason="stop", usage=Usage(calls=1)).model_dump(), tokens=5)
    cache.close()
    yield from ((key, folder / "responses-0.jsonl") for key in keys)


def test_the_cache(tmp_path: Path) -> None:
    keys = [key for key, _ in lines(tmp_path / "whole")]
    whole = (tmp_path / "whole" / "responses-0.jsonl").read_bytes()

    def one_round(random: random.Random) -> None:
        path = tmp_path / "damaged" / "responses-0.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damage(random, whole))
        cache = Cache(path.parent)
        assert cache.tokens >= 0 and 0 <= cache.usd < 10**12
        for key in keys:
            if (reply := cache.reply(key)) is not None:
                use(reply)

    fuzz(one_round, rounds=4000)


def test_batch_outputs(tmp_path: Path) -> None:
    key = content_hash("a request")
    (tmp_path / "batch").mkdir()
    request = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}
    (tmp_path / "batch" / "requests-001.jsonl").write_text(f"{json.dumps(request)}\n")
    places = iter(range(10**9))

    def one_round(random: random.Random) -> None:
        row: dict[str, Any] = {"custom_id": key, "response": {"status_code": 200, "body": response(random)}}
        if random.random() < 0.3:
            row[random.choice([*row, "error"])] = value(random)
        data = json.dumps(row).encode()
        output = damage(random, data) if random.random() < 0.5 else data
        (tmp_path / "batch" / "output-001.jsonl").write_bytes(output + b"\n")
        cache = Cache(tmp_path / f"cache-{next(places)}")
        with suppress(UserError):
            BatchFolder(tmp_path / "batch").read_outputs(cache, PRICE)
        cache.close()

    fuzz(one_round, rounds=2500)
