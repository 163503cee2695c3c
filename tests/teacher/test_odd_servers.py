"""Sixty and more odd servers: a right result, or one clear line; and nothing is lost once they are mended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentkd.errors import ServerRefused, WorldError
from agentkd.teacher import transport
from agentkd.teacher.chat import Reply
from agentkd.teacher.client import Teacher
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Message
from tests.support.odd_server import MODES, OddServer, odd_server

TALK = [Message(role="system", content="Be brief."), Message(role="user", content="hello")]
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]}
ANSWER = '{"a": "x"}'


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)


def ask(server: OddServer, folder: Path, said: list[str], spec: str = "") -> list[Reply]:
    """Three answers, one after the other, as an agent would ask."""

    async def run() -> list[Reply]:
        options = TeacherOptions(timeout=20.0)
        async with open_teacher(spec or server.spec, run=folder, options=options, say=said.append) as teacher:
            assert isinstance(teacher, Teacher)
            return [await teacher.chat(TALK, max_tokens=40, schema=SCHEMA, sample=k) for k in range(3)]

    return asyncio.run(run())


@pytest.mark.parametrize("name", MODES)
def test_an_answer_or_a_line(name: str, tmp_path: Path) -> None:
    mode, said = MODES[name], list[str]()
    with odd_server(name) as server:
        if mode.outcome == "right":
            assert [reply.text for reply in ask(server, tmp_path, said)] == [ANSWER] * 3
            assert len([line for line in said if mode.says in line]) == 1 or not mode.says, said
            return
        with pytest.raises(WorldError, match=mode.words) as caught:
            ask(server, tmp_path, said)
        assert isinstance(caught.value, ServerRefused) == (mode.outcome == "stops")
        assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)
        server.mode = MODES["sound"]
        assert [reply.text for reply in ask(server, tmp_path, said)] == [ANSWER] * 3
    assert len(said) <= 3, said


HOSTED = ("gzip", "max-tokens", "401", "307", "deep")


@pytest.mark.parametrize("name", HOSTED)
def test_a_hosted_api_is_asked_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_hosted(name, tmp_path, monkeypatch)


@pytest.mark.whole
@pytest.mark.parametrize("name", [name for name in MODES if name not in HOSTED])
def test_every_hosted_api_is_asked_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_hosted(name, tmp_path, monkeypatch)


def check_hosted(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The openai package sends: with its key, to its base URL, and to the same end."""
    mode, said = MODES[name], list[str]()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    with odd_server(name) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        spec = f"openai:{mode.model}"
        if mode.outcome == "right":
            assert [reply.text for reply in ask(server, folder, said, spec)] == [ANSWER] * 3
        else:
            words = mode.words.replace("set AGENTKD_API_KEY", "the key is in OPENAI_API_KEY")
            with pytest.raises(WorldError, match=words) as caught:
                ask(server, folder, said, spec)
            assert isinstance(caught.value, ServerRefused) == (mode.outcome == "stops")
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-of-openai"}
        assert all(headers["User-Agent"].startswith("AsyncOpenAI") for headers in server.headers)
