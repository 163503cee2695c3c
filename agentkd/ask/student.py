"""A student that answers questions about a knowledge base: `Student` from a program, `open_answerer` in an event loop.

    with Student.load("students/geo-sft") as student:
        answer = student.ask("What is the capital of Nepal?")
    answer.answers, answer.path, answer.evidence

The question goes through the agent of the form in which the student was taught, as in `agentkd eval`; what it answers
is executed on the knowledge base and judged by the same ladder (`verify.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from agentkd.agents import make_agent
from agentkd.agents.base import AgentContext
from agentkd.answering import judge_draft
from agentkd.ask.answer import Answer
from agentkd.ask.source import AskedSystem, find_system
from agentkd.config import EvalConfig, load_config
from agentkd.distill.data.taught import read_lessons
from agentkd.errors import UserError
from agentkd.inference.in_process import open_in_process
from agentkd.retrievers.mentions import find_topic, find_topics
from agentkd.runs.progress import say
from agentkd.tasks.question import Question
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Trace

IN_FLIGHT = 16  # questions that share a batch of the model
REMEMBERED = 1_000  # searches whose paths are kept: a server lives long
QUESTION_CHARACTERS = 10_000

T = TypeVar("T")


class Answerer:
    """A student in the event loop that opened it. Any number of questions may be in flight."""

    def __init__(self, asked: AskedSystem, context: AgentContext) -> None:
        self.asked = asked
        self.kb = asked.world.kb
        self._context, self._agent = context, make_agent(asked.system.agent, context)
        self._numbers = itertools.count(1)

    @property
    def name(self) -> str:
        """The student as the user named it."""
        return self.asked.system.name

    async def answer(self, question: str, topics: Sequence[str] | None = None) -> Answer:
        """Answer a question about `topics`; without them, about the entities that it names.

        Raises TopicUnknown for a topic that the knowledge base does not have, or that is open, UserError for a question
        that is none, WorldError where a served student does not answer. No answer is an `Answer` without answers."""
        text = " ".join(question.split())
        if not text or len(text) > QUESTION_CHARACTERS:
            raise UserError(f"a question has 1 to {QUESTION_CHARACTERS:,} characters, this one has {len(text):,}")
        found = await asyncio.to_thread(self._find, text, topics)
        if len(self._context.retrieval.found) > REMEMBERED:
            self._context.retrieval.found.clear()
            self._context.retrieval.narrowed.clear()
        number = next(self._numbers)
        draft = await self._agent.solve(Question(id=f"asked-{number}", question=text, topic_entities=tuple(found)), 0)
        draft, verdict = await asyncio.to_thread(judge_draft, self.kb, draft, None)
        trace = Trace.close(
            **{name: getattr(draft, name) for name in type(draft).model_fields},
            id=f"asked-{number}",
            sample=0,
            task=self.asked.world.task.name,
            question=text,
            verified=verdict.ok,
            verdict=verdict,
            teacher=self.name,
        )
        return Answer.of_trace(
            self.kb,
            trace,
            topics=tuple(found),
            linked=topics is None,
            student=self.name,
            form=self.asked.form,
            read_by=self.asked.read_by,
        )

    def _find(self, question: str, topics: Sequence[str] | None) -> list[str]:
        if topics is None:
            return find_topics(self.kb, question)
        return list(dict.fromkeys(find_topic(self.kb, topic) for topic in topics))


@contextlib.asynccontextmanager
async def open_answerer(config: EvalConfig) -> AsyncIterator[Answerer]:
    """Load the student of a config and its knowledge base; what is loaded is said. A server that was started for it
    ends with the context. Raises UserError and WorldError as `find_system` and the loaders do."""
    asked = find_system(config)
    for line in asked.world.kb.describe():
        say(line)
    settings, system = asked.world.config, asked.system
    lessons = read_lessons(system.student) if system.student else []
    async with contextlib.AsyncExitStack() as stack:
        if system.served:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ask-")))
            options = TeacherOptions.from_config(settings, slots=settings.concurrency or 1)
            model: Any = await stack.enter_async_context(
                open_teacher(system.model, run=folder, options=options, say=say)
            )
        else:
            say(f"loading {system.model}")
            model = await stack.enter_async_context(
                open_in_process(system.model, name=system.name, run=None, trust=system.trust)
            )
        yield Answerer(asked, asked.world.context(model, system.agent, lessons))


class Student:
    """A student and its knowledge base, for questions from a program; any thread may ask.

    It holds the model in memory, or the server that was started for it, until `close`, or the end of its `with`."""

    def __init__(self, config: EvalConfig) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agentkd-student", daemon=True)
        self._thread.start()
        try:
            self._answerer: Answerer = self._wait(self._stack.enter_async_context(open_answerer(config)))
        except BaseException:
            self.close()
            raise

    @classmethod
    def load(
        cls, student: str | Path, *, kb: str | Path | None = None, task: str | None = None, **options: Any
    ) -> Student:
        """Load a student: a directory that `agentkd distill` wrote, `local:FILE.gguf`, `vllm:DIR` or `URL#MODEL`.

        `kb` is a file or folder of facts, or a SPARQL address; `task` a task whose knowledge base is asked. Without
        either the student's own is asked, which its directory names. `options` are those of `agentkd eval`: `data`,
        `aliases`, `kb_columns`, `retriever`, `hops`, `paths`, `constrain`, `trust_remote_code`, …

        Raises UserError, with a line that names the value and the remedy, for what does not fit."""
        values = {"kb": None if kb is None else str(kb), "task": task, **options}
        given = {name: value for name, value in values.items() if value is not None}
        config = load_config(EvalConfig, recipe=None, options={**given, "model": str(student)}, overrides=[])
        return cls(config)

    @property
    def name(self) -> str:
        """The student as it was named."""
        return self._answerer.name

    @property
    def form(self) -> str:
        """What it reads and writes: path, one-call or dialogue."""
        return self._answerer.asked.form

    def ask(self, question: str, topics: Sequence[str] | None = None) -> Answer:
        """Answer a question about `topics`; without them, about the entities that it names.

        Raises TopicUnknown (a UserError) for a topic that the knowledge base does not have, or that is open. Where no
        path answers, the `Answer` has no answers and a reason."""
        return self._wait(self._answerer.answer(question, topics))

    def ask_all(self, questions: Sequence[str]) -> list[Answer]:
        """Answer questions that name their topics, in batches of the model; in their order. Raises as `ask` does."""

        async def together() -> list[Answer]:
            slots = asyncio.Semaphore(IN_FLIGHT)

            async def one(question: str) -> Answer:
                async with slots:
                    return await self._answerer.answer(question)

            return await asyncio.gather(*map(one, questions))

        return self._wait(together())

    def close(self) -> None:
        """Let go of the model, and stop the server that was started for it. Further calls do nothing."""
        if self._loop.is_closed():
            return
        try:
            self._wait(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise UserError("this student is closed: load it again")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
