"""A student behind the OpenAI protocol, asked by the openai package and by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentkd.ask import endpoint as module
from agentkd.ask.answer import Answer
from agentkd.ask.endpoint import Endpoint
from agentkd.errors import UserError, WorldError
from agentkd.retrievers.mentions import TopicUnknown
from agentkd.serving.ports import take_port
from agentkd.trace import Triple, Usage
from tests.support.paths import ROOT
from tests.support.students import little_student

FACT = Triple(head="France", relation="capital", tail="Paris", source="kb")
GOOD = {
    "question": "q", "answers": ("Paris",), "topics": ("France",), "linked": True, "path": "capital", "proven": True,
    "evidence": (FACT,), "reason": "", "student": "s", "form": "path", "read_by": "weighed",
    "usage": Usage(calls=1, prompt_tokens=7, completion_tokens=3),
}  # fmt: skip


class Scripted:
    """Answers by what the question says."""

    name = "students/s"

    def __init__(self) -> None:
        self.asked: list[tuple[str, Sequence[str] | None]] = []
        self.now = self.most = 0
        self.go = asyncio.Event()
        self.go.set()

    async def answer(self, question: str, topics: Sequence[str] | None = None) -> Answer:
        self.asked.append((question, topics))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.go.wait()
            errors: dict[str, Exception] = {
                "topic": TopicUnknown("no name is in it"), "empty": UserError("a question has 1 character"),
                "down": WorldError("the server is gone"), "fault": ZeroDivisionError("division"),
            }  # fmt: skip
            if question in errors:
                raise errors[question]
            if question == "nothing":
                return Answer.model_validate(
                    {**GOOD, "answers": (), "path": None, "proven": False, "reason": "no path"}
                )
            return Answer.model_validate({**GOOD, "question": question})
        finally:
            self.now -= 1


@contextlib.asynccontextmanager
async def endpoint(**options: Any) -> AsyncIterator[tuple[str, Scripted]]:
    student: Any = Scripted()
    with take_port("127.0.0.1", 0) as listener:
        async with Endpoint(student, "127.0.0.1", listener, **options) as server:
            yield server.url, student


def ask(body: Any, *, headers: dict[str, str] | None = None, path: str = "/chat/completions", **options: Any) -> Any:
    """Status and JSON of one request."""

    async def run() -> tuple[int, Any]:
        async with endpoint(**options) as (url, _), aiohttp.ClientSession() as session:
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            async with session.post(f"{url}{path}", data=sent, headers=headers) as reply:
                return reply.status, json.loads(await reply.read())

    return asyncio.run(run())


def chat(question: str, **more: Any) -> dict[str, Any]:
    return {"model": "students/s", "messages": [{"role": "user", "content": question}], **more}


def test_the_openai_package_reads_answers_models_and_streams() -> None:
    from openai import AsyncOpenAI, BadRequestError, NotFoundError

    async def run() -> None:
        async with endpoint() as (url, student), AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            assert [model.id async for model in client.models.list()] == ["students/s"]
            assert (await client.models.retrieve("students/s")).owned_by == "agentkd"
            messages: Any = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "before"},
                {"role": "assistant", "content": "Rome"},
                {"role": "user", "content": [{"type": "text", "text": "Which capital?"}]},
            ]
            done = await client.chat.completions.create(
                model="students/s", messages=messages, temperature=0.3, extra_body={"topics": ["France"]}
            )
            assert student.asked == [("Which capital?", ["France"])]
            assert (done.choices[0].message.content, done.choices[0].finish_reason) == ("Paris", "stop")
            assert done.usage is not None and done.usage.total_tokens == 10
            assert done.model_extra is not None
            record = done.model_extra["agentkd"]
            assert record["path"] == "capital" and record["evidence"][0]["tail"] == "Paris" and record["proven"]
            parts = await client.chat.completions.create(
                model="students/s", messages=messages, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in parts]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Paris"
            assert chunks[-1].usage is not None and chunks[1].choices[0].finish_reason == "stop"
            nothing = await client.chat.completions.create(model="students/s", messages=[messages[0], user("nothing")])
            assert (nothing.choices[0].message.content, nothing.choices[0].message.refusal) == ("", "no path")
            with pytest.raises(BadRequestError, match='no name is in it: name it in the request\'s field "topics"'):
                await client.chat.completions.create(model="students/s", messages=[user("topic")])
            with pytest.raises(NotFoundError, match="is not served here: ask for 'students/s'"):
                await client.chat.completions.create(model="gpt-9", messages=messages)

    asyncio.run(run())


def user(text: str) -> Any:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (chat("empty"), 400, "a question has 1 character"),
        (chat("down"), 503, "the server is gone"),
        (chat("fault"), 500, "a fault in agentkd (ZeroDivisionError)"),
        (chat("q", n=2), 400, "n: "),
        (chat("q", tools=[{"type": "function"}]), 400, "tools: "),
        (chat("q", response_format={"type": "json_object"}), 400, "response_format 'json_object'"),
        (chat("q", topics=[]), 400, "topics: "),
        ({"messages": []}, 400, "messages: "),
        ({"messages": [{"role": "system", "content": "q"}]}, 400, "no message is of role user"),
        (b"{", 400, "body: "),
        (b"[]", 400, "body: "),
        (b"\xff", 400, "body: "),
    ],
)
def test_what_cannot_be_answered_is_an_error_object_of_one_line(body: Any, status: int, said: str) -> None:
    found, reply = ask(body)
    error = reply["error"]
    assert found == status and said in error["message"] and "\n" not in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_strangers_other_paths_and_large_requests_are_refused() -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, reply = ask(chat("q"), headers=headers)
        assert status == 403 and reply["error"]["type"] == "forbidden"
    assert ask(chat("q"), path="/completions")[0] == 404
    assert ask(chat("q" * module.REQUEST_BYTES))[0] == 413
    assert ask(chat("q"), headers={"Host": "mine.lan"}, names=["mine.lan"])[0] == 200


def test_the_evidence_stands_in_the_text_where_it_is_wanted() -> None:
    _, reply = ask(chat("q"), evidence=True)
    lines = reply["choices"][0]["message"]["content"].splitlines()
    assert (
        lines[0] == "Paris"
        and lines[2].startswith("France → capital · proven")
        and "France | capital | Paris" in lines[3]
    )


def test_few_are_in_flight_some_wait_and_the_rest_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 3)

    async def run() -> tuple[list[int], int, str | None]:
        async with endpoint(slots=2) as (url, student), aiohttp.ClientSession() as session:
            student.go.clear()

            async def one() -> tuple[int, str | None]:
                async with session.post(f"{url}/chat/completions", json=chat("q")) as reply:
                    return reply.status, reply.headers.get("Retry-After")

            jobs = [asyncio.create_task(one()) for _ in range(8)]
            while sum(job.done() for job in jobs) < 3:
                await asyncio.sleep(0.01)
            student.go.set()
            done = await asyncio.gather(*jobs)
            again = {after for status, after in done if status == 429}
            return sorted(status for status, _ in done), student.most, again.pop()

    assert asyncio.run(run()) == ([200] * 5 + [429] * 3, 2, "1")


def test_a_client_that_leaves_frees_its_slot() -> None:
    async def run() -> int:
        async with endpoint(slots=1) as (url, student), aiohttp.ClientSession() as session:
            student.go.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                async with asyncio.timeout(0.2):
                    await session.post(f"{url}/chat/completions", json=chat("q"))
            student.go.set()
            async with session.post(f"{url}/chat/completions", json=chat("q")) as reply:
                return reply.status

    assert asyncio.run(run()) == 200


@pytest.mark.whole
def test_the_command_serves_a_student_until_ctrl_c(tmp_path: Path) -> None:
    """A real process with a real, small student; a taken port is one line and nothing is loaded."""
    shutil.copytree(little_student(tmp_path / "made"), tmp_path / "student")
    (tmp_path / "facts.tsv").write_text("France\tcapital\tParis\nSpain\tcapital\tMadrid\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AGENTKD_HOME": str(tmp_path)}
    words = ["serve", "student", "--kb", "facts.tsv", "--retriever", "bm25", "--json", "--port"]
    argv = [sys.executable, "-m", "agentkd", *words]
    with subprocess.Popen(
        [*argv, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as server:
        try:
            assert server.stdout is not None
            up = json.loads(server.stdout.readline())

            async def run() -> Any:
                async with aiohttp.ClientSession() as session:
                    body = {"messages": [user("What is the capital of France?")]}
                    async with session.post(f"{up['url']}/chat/completions", json=body) as reply:
                        return await reply.json()

            reply = asyncio.run(run())
            assert reply["choices"][0]["message"]["content"] == "Paris" and reply["agentkd"]["proven"]
            port = up["url"].removesuffix("/v1").rpartition(":")[2]
            second = subprocess.run([*argv, port], capture_output=True, text=True, env=environment, cwd=tmp_path)
            assert second.returncode == 3 and "is taken by another program" in second.stderr
            server.send_signal(signal.SIGINT)
            _, error = server.communicate(timeout=60)
            assert server.returncode == 0 and "student is stopped" in error and "Traceback" not in error
        finally:
            server.kill()
