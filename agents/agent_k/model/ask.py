"""Agent K's requests to the model: prompts made anew from memory, answers parsed, time and patience limited."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import threading
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.clock import Clock
from agentkd.agents.agent_k.memory import action_kind
from agentkd.errors import PutOff, WorldError
from agentkd.prompts import render
from agentkd.runs.progress import heartbeat
from agentkd.teacher.budget import TokenLimit
from agentkd.teacher.chat import NO_TEACHER
from agentkd.teacher.client import Teacher
from agentkd.teacher.reply import split_thoughts
from agentkd.trace import Message, Step

if TYPE_CHECKING:
    from agentkd.teacher.chat import Chat, Reply

LENGTHS = {"summarise": 160, "choose": 400, "plan": 200, "code": 1400, "analyse": 200}
SLOW = "raise timeout= or --max-hours, or take a faster teacher"
EARLY = "start its server beforehand and give --teacher URL#MODEL, or raise --max-hours"
SHORTEST = 3.0  # a request with less time than this is not sent
PATIENCE = 3  # errors of the server in a row, or stages in a row without an answer that passes: then no more is asked
BLOCK = re.compile(r"(?<![^\s:])(```+|~~~+)[^`\n]*\n(.*?)(?:\1|\Z)", re.DOTALL)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PAGE, VIEW = 3500, 2500  # characters of the pages and of the data shown in a prompt


class Silent(Exception):
    """No model is to be asked, or none answered: the stage goes its deterministic way."""


class Asker:
    """The model, as the stages see it: `teacher` names it, and it is opened when it is first asked, for a server may
    take minutes to start. It falls silent for good where there is none, where a limit is reached, or where it has
    failed PATIENCE times in a row; `why` then says so. One answer may take `timeout` seconds. `stopping` is the run's:
    once it is set, nothing more is sent."""

    def __init__(
        self,
        teacher: str,
        open_model: Callable[[], Awaitable[Chat]],
        clock: Clock,
        say: Callable[[str], None],
        stopping: threading.Event,
        seed: int = 0,
        timeout: float = 600.0,
    ) -> None:
        self.teacher, self.clock, self.say, self.seed, self.timeout = teacher, clock, say, seed, timeout
        self.stopping = stopping
        self.why = "no teacher" if teacher == NO_TEACHER else ""
        self.errors = self.refused = 0
        self._open_model = open_model
        self._model: Chat | None = None

    def stop(self) -> None:
        """Stop the run: nothing begins, nothing more is sent."""
        self.stopping.set()
        if isinstance(self._model, Teacher):
            self._model.stop()

    def open(self, *, setup: bool) -> bool:
        """Whether a stage may ask now."""
        return not self.why and self.clock.model_left(setup=setup) > SHORTEST

    def fall_silent(self, why: str) -> None:
        if not self.why:
            self.why = why
            self.say(f"the model is not asked any more: {why}; the run goes on without it")

    def outcome(self, passed: bool) -> None:
        """A stage has tried the model's answers."""
        self.refused = 0 if passed else self.refused + 1
        if self.refused >= PATIENCE:
            self.fall_silent(f"nothing it wrote passed the tests of {PATIENCE} stages in a row")

    async def ask(
        self,
        stage: str,
        action: str,
        prompt: str,
        values: Mapping[str, Any],
        *,
        setup: bool,
        schema: dict[str, Any] | None = None,
        attempt: int = 0,
    ) -> tuple[Step, Reply]:
        """One answer, and the step `STAGE.ACTION` that it makes. Raises Silent where there is none, PutOff when the run
        is stopping, UserError or WorldError where the model cannot be opened at all."""
        action_kind(action)  # the actions are a closed list
        messages = (
            Message(role="system", content=render("agent_k/system")),
            Message(role="user", content=render(f"agent_k/{prompt}", stage=stage, action=action, **values)),
        )
        self._admit(setup=setup)
        if self._model is None:
            self._model = await self._opened(setup=setup)
            self._admit(setup=setup)  # it may have taken minutes
        seconds = min(self.timeout, self.clock.model_left(setup=setup))
        request = asyncio.ensure_future(
            self._model.chat(
                messages,
                max_tokens=LENGTHS[action],
                schema=schema,
                temperature=0.0 if attempt == 0 else 0.7,
                sample=self.seed * 100 + attempt,
            )
        )

        def line(took: float) -> str:
            return f"{stage}.{action}: waiting for {self.teacher} for {took:.0f} s"

        try:
            with self.clock.models():
                reply = await asyncio.wait_for(heartbeat(request, line, self.say), seconds)
        except TokenLimit as error:
            self.fall_silent(str(error))
            raise Silent(str(error)) from None
        except PutOff:
            raise
        except (WorldError, TimeoutError) as error:
            self.errors += 1
            what = str(error) or f"no answer within {seconds:.0f} s: {SLOW}"
            if self.errors >= PATIENCE:
                self.fall_silent(what)
            raise Silent(what) from None
        self.errors = 0
        return Step(kind=f"{stage}.{action}", messages=messages, output=reply.text), reply

    def _admit(self, *, setup: bool) -> None:
        if self.stopping.is_set():
            raise PutOff("not asked: the run is stopping")
        if not self.open(setup=setup):
            raise Silent(self.why or "its share of the time is used")

    async def _opened(self, *, setup: bool) -> Chat:
        """The model, opened in its own time: a server that is not up within it would take the solvers'."""
        seconds = self.clock.model_left(setup=setup)
        try:
            with self.clock.models():
                return await asyncio.wait_for(self._open_model(), seconds)
        except TimeoutError:
            self.fall_silent(f"{self.teacher} was not ready within {seconds:.0f} s, its share of the time: {EARLY}")
            raise Silent(self.why) from None


def parse_json(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text after its thoughts, also inside a code fence; None where there is none."""
    _, text = split_thoughts(text)
    for match in re.finditer(r"\{", text):
        with suppress(ValueError, RecursionError):
            value, _ = json.JSONDecoder().raw_decode(text[match.start() :])
            if isinstance(value, dict):
                return value
    return None


def parse_code(text: str) -> str:
    """The code in a text after its thoughts: of its fenced blocks, an unclosed one included, the last that compiles and
    has a `def`, else the longest; without blocks the text itself where it has a `def`."""
    _, text = split_thoughts(text.replace("\r\n", "\n"))
    blocks = [found[2].strip() for found in BLOCK.finditer(text)]
    if blocks:
        return next((block for block in reversed(blocks) if compiles(block)), max(blocks, key=len)) + "\n"
    return text.strip() + "\n" if "def " in text else ""


def compiles(code: str) -> bool:
    """Whether it is Python with a function. It is parsed here and never run."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return any(isinstance(node, FUNCTIONS) for node in ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema of an object with exactly these properties."""
    return {"type": "object", "properties": dict(properties), "required": list(properties),
            "additionalProperties": False}  # fmt: skip


def clipped(text: str, limit: int) -> str:
    """A text in at most so many characters, its beginning and its end."""
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    return f"{text[:head]}\n[… {len(text) - limit} characters left out …]\n{text[head - limit :]}"


def choices(values: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}
