"""What the six ways of elicitation share: a world, a run directory, models, and one way to collect traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.answering import collect_traces
from agentkd.config import ElicitConfig
from agentkd.distill.data.forms import AGENTS
from agentkd.distill.publish.card import find_student_folder
from agentkd.errors import UserError
from agentkd.inference.in_process import BATCH, InProcessModel, identify_weights, open_in_process
from agentkd.models import find_weights
from agentkd.runs.progress import say
from agentkd.runs.read import read_config
from agentkd.teacher.chat import NO_TEACHER, NoTeacher
from agentkd.teacher.open import check_teacher, open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Draft, Usage

if TYPE_CHECKING:
    from agentkd.agents.base import Agent
    from agentkd.runs.store import RunDirectory
    from agentkd.tasks.question import Question
    from agentkd.teacher.chat import Chat
    from agentkd.world import TaskWorld

Sample = tuple["Question", int]
SERVED = ("http:", "https:", "vllm:", "openai:", "local")


@dataclass(frozen=True)
class Elicited:
    """The samples that a run is to have in the end, and what was left out before a sample was made, by reason.

    `unfinished`: some questions are not written yet."""

    wanted: Sequence[Sample]
    left_out: Counter[str] = field(default_factory=Counter)
    unfinished: bool = False


@dataclass(frozen=True)
class Desk:
    """A world, a run directory that is open, the questions of the task's split, and the models.

    `student` is `NoTeacher` for a way that has none."""

    world: TaskWorld
    config: ElicitConfig
    run: RunDirectory
    questions: Sequence[Question]
    teacher: Chat
    student: Chat

    def agent(self, name: str, model: Chat) -> Agent:
        """The agent of that name over a model."""
        return self.world.agent(name, model)

    async def collect(self, wanted: Sequence[Sample], agent: Agent, model: Chat, label: str) -> None:
        """Make the samples that are not on the disk yet."""
        missing = [item for item in wanted if (item[0].id, item[1]) not in self.run.done]
        if missing:
            here = isinstance(model, InProcessModel)  # one batch answers while the next gathers
            concurrency = 2 * BATCH if here else self.config.concurrency or 1
            await collect_traces(self.world, self.run, agent, model, missing, label=label, concurrency=concurrency)


@dataclass(frozen=True)
class NotedAgent:
    """An agent whose drafts also carry notes on where their question comes from, and what writing it has cost.

    Both are by question id."""

    agent: Agent
    notes: Mapping[str, Mapping[str, Any]]
    costs: Mapping[str, Usage] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.agent.name

    async def solve(self, question: Question, sample: int) -> Draft:
        draft = await self.agent.solve(question, sample)
        provenance = {**draft.provenance, **self.notes[question.id]}
        usage = draft.usage + self.costs.get(question.id, Usage())
        return draft.model_copy(update={"provenance": provenance, "usage": usage})


@asynccontextmanager
async def open_model(spec: str, config: ElicitConfig, run: Path) -> AsyncIterator[Chat]:
    """Open a served model as a teacher is opened, or a folder of weights in this process."""
    if spec == NO_TEACHER:
        yield NoTeacher()
    elif is_served(spec):
        options = TeacherOptions.from_config(config, slots=config.concurrency or 1)
        async with open_teacher(spec, run=run, options=options, say=say) as teacher:
            yield teacher
    else:
        say(f"loading {spec}")
        async with open_in_process(spec, name=spec.rstrip("/"), run=run, trust=config.trust_remote_code) as model:
            yield model


def is_served(spec: str) -> bool:
    """Whether a model answers over HTTP."""
    return spec.startswith(SERVED)


def check_model(spec: str) -> str:
    """The hash of a model's weights where they are in a folder, else an empty text.

    Raises UserError for a model that is not there."""
    if is_served(spec):
        check_teacher(spec)
        return ""
    return identify_weights(find_weights(spec))


def student_agent(config: ElicitConfig) -> str:
    """The agent that asks a student in the form in which it was taught; for another model the config's agent.

    Raises UserError where a form is not known."""
    folder = find_student_folder(str(config.student))
    if folder is None:
        return config.agent
    form = str(read_config(folder).get("form"))
    if form not in AGENTS:
        raise UserError(f"{folder}/config.yaml says form {form!r}: give a student of form {', '.join(AGENTS)}")
    return AGENTS[form]
