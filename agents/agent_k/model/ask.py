"""Ask the model, within its share of the run's time, and give it up when it keeps failing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.clock import Clock
from agentkd.agents.agent_k.memory import action_kind
from agentkd.errors import PutOff, ServerRefused, WorldError
from agentkd.prompts import render
from agentkd.runs.progress import heartbeat
from agentkd.teacher.budget import TokenLimit
from agentkd.teacher.chat import NO_TEACHER
from agentkd.teacher.client import Teacher
from agentkd.teacher.transport import Refused
from agentkd.trace import Message, Step

if TYPE_CHECKING:
    from agentkd.teacher.chat import Chat, Reply

LENGTHS = {"summarise": 160, "choose": 400, "plan": 200, "code": 1400, "analyse": 200}
SLOW = "raise timeout= or --max-hours, or take a faster teacher"
EARLY = "start its server beforehand and give --teacher URL#MODEL, or raise --max-hours"
SHORTEST = 3.0  # a request with less time than this is not sent
OUTAGE = (2.0, 8.0, 20.0)  # seconds of pause before a server that fails is asked again
PATIENCE = (
    3  # answers in a row that came too late, or stages in a row without an answer that passes: then no more is asked
)


class NoAnswer(Exception):
    """There is no model to ask, or it did not answer: the stage does without."""


class Model:
    """The model, as the stages see it. `teacher` names it.

    It is opened when it is first asked, because a server may take minutes to start. It is given up for good if there is
    none, if a limit is reached, or after PATIENCE answers in a row that came too late; `given_up` then holds the
    reason. One answer may take `timeout` seconds. Once `stopping`, the run's event, is set, nothing more is sent."""

    def __init__(
        self,
        teacher: str,
        open_chat: Callable[[], Awaitable[Chat]],
        clock: Clock,
        say: Callable[[str], None],
        stopping: threading.Event,
        seed: int = 0,
        timeout: float = 600.0,
    ) -> None:
        self.teacher, self.clock, self.say, self.seed, self.timeout = teacher, clock, say, seed, timeout
        self.stopping = stopping
        self.given_up = "no teacher" if teacher == NO_TEACHER else ""
        self.errors = self.refused = 0
        self._open_chat = open_chat
        self._chat: Chat | None = None
        self._outage: WorldError | None = None  # the server's last failure, until it answers

    def stop(self) -> None:
        """Stop the run: nothing begins, nothing more is sent."""
        self.stopping.set()
        if isinstance(self._chat, Teacher):
            self._chat.stop()

    def can_ask(self, *, setup: bool) -> bool:
        """Whether a stage may ask now: one of the set-up, or one of the solving."""
        return not self.given_up and self.clock.model_left(setup=setup) > SHORTEST

    def give_up(self, why: str) -> None:
        if not self.given_up:
            self.given_up = why
            self.say(f"the model is not asked any more: {why}; the run goes on without it")

    def count_result(self, passed: bool) -> None:
        """Count a stage that tried the model's code; PATIENCE failures in a row give the model up."""
        self.refused = 0 if passed else self.refused + 1
        if self.refused >= PATIENCE:
            self.give_up(f"nothing it wrote passed the tests of {PATIENCE} stages in a row")

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
        """Return one answer, and the step `STAGE.ACTION` that it makes.

        `setup` says whose share of the time it takes. Raises NoAnswer if there is none, PutOff if the run is stopping,
        UserError or WorldError if the model cannot be opened, or its server fails: then the run stops, resumably."""
        action_kind(action)  # the actions are a closed list
        messages = (
            Message(role="system", content=render("agent_k/system")),
            Message(role="user", content=render(f"agent_k/{prompt}", stage=stage, action=action, **values)),
        )
        self._admit(setup=setup)
        if self._chat is None:
            self._chat = await self._open(setup=setup)
            self._admit(setup=setup)  # it may have taken minutes
        seconds = min(self.timeout, self.clock.model_left(setup=setup))
        chat = partial(
            self._chat.chat,
            messages,
            max_tokens=LENGTHS[action],
            schema=schema,
            temperature=0.0 if attempt == 0 else 0.7,
            sample=self.seed * 100 + attempt,
        )
        request = asyncio.ensure_future(self._outlast(chat))

        def waiting(took: float) -> str:
            return f"{stage}.{action}: waiting for {self.teacher} for {took:.0f} s"

        try:
            with self.clock.model_time():
                reply = await asyncio.wait_for(heartbeat(request, waiting, self.say), seconds)
        except TokenLimit as error:
            self.give_up(str(error))
            raise NoAnswer(str(error)) from None
        except Refused as error:
            if error.refusal.cause != "request" or not self._has_answered():
                raise  # a server that has answered nobody may have other reasons than the request
            self.say(f"{stage}.{action} goes on without the model: {error}")
            raise NoAnswer(str(error)) from None
        except TimeoutError:
            if self._outage is not None:  # the server is at fault, not its pace
                raise self._outage from None
            self.errors += 1
            what = f"no answer within {seconds:.0f} s: {SLOW}"
            if self.errors >= PATIENCE:
                self.give_up(what)
            raise NoAnswer(what) from None
        self.errors = 0
        return Step(kind=f"{stage}.{action}", messages=messages, output=reply.text), reply

    def _has_answered(self) -> bool:
        """Whether the server has answered anything, now or before the run was resumed."""
        return not isinstance(self._chat, Teacher) or self._chat.has_answered or bool(self._chat.requests.cache)

    async def _outlast(self, chat: Callable[[], Awaitable[Reply]]) -> Reply:
        """Ask again after some pauses where the server fails, or refuses in words that tell nothing.

        A run does not go on without a model that only is away: what it would decide without it could not be taken
        back. So it stops in the end, and the same command resumes it."""
        for pause in (*OUTAGE, 0.0):
            try:
                reply = await chat()
                self._outage = None
                return reply
            except (PutOff, TokenLimit, ServerRefused):
                raise
            except WorldError as error:
                if isinstance(error, Refused) and error.refusal.cause != "unknown":
                    raise
                self._outage = WorldError(f"{error} (or go on without a model: --teacher none)")
            if pause:
                self.say(f"{self._outage}; asked again in {pause:.0f} s")
            end = time.monotonic() + pause
            while time.monotonic() < end and not self.stopping.is_set():
                await asyncio.sleep(0.1)
        assert self._outage is not None
        raise self._outage

    def _admit(self, *, setup: bool) -> None:
        if self.stopping.is_set():
            raise PutOff("not asked: the run is stopping")
        if not self.can_ask(setup=setup):
            raise NoAnswer(self.given_up or "its share of the time is used")

    async def _open(self, *, setup: bool) -> Chat:
        """Open the model within its own share of the run's time."""
        seconds = self.clock.model_left(setup=setup)
        try:
            with self.clock.model_time():
                return await asyncio.wait_for(self._open_chat(), seconds)
        except TimeoutError:
            self.give_up(f"{self.teacher} was not ready within {seconds:.0f} s, its share of the time: {EARLY}")
            raise NoAnswer(self.given_up) from None
