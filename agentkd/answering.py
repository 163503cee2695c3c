"""Questions through an agent and a model into a run directory; shared by `generate` and `eval`.

Gold is joined here, after the verifier has judged an agent's draft. The one agent that sees it earlier is the
`Rationaliser` of `rationalise=true`, whose traces are marked `rationalised`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from agentkd.agents import MODEL_FREE, check_agent
from agentkd.config import GenerateConfig, default_teacher
from agentkd.errors import AgentkdError, PutOff, SampleFailed, ServerRefused, UserError, WorldError
from agentkd.matching import strict_f1
from agentkd.retrievers import check_retriever, default_retriever
from agentkd.runs.engine import run_items
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import Progress, say
from agentkd.runs.read import is_complete, read_failures, read_traces
from agentkd.runs.store import RunDirectory
from agentkd.serving.llama import LOCAL_SLOTS
from agentkd.tasks.tool_task import ToolTask
from agentkd.teacher.budget import TokenLimit
from agentkd.teacher.chat import NO_TEACHER
from agentkd.teacher.client import Teacher
from agentkd.teacher.open import check_teacher
from agentkd.teacher.prices import read_price_table
from agentkd.teacher.transport import Refused
from agentkd.trace import Draft, Step, Trace, Usage, Verdict
from agentkd.verify import check_draft, join_gold
from agentkd.verify_tools import judge_with_tools

if TYPE_CHECKING:
    from agentkd.agents.base import Agent
    from agentkd.retrievers.graph import Graph
    from agentkd.tasks.question import Gold, Question
    from agentkd.teacher.chat import Chat
    from agentkd.world import TaskWorld

Config = TypeVar("Config", bound=GenerateConfig)
Result = TypeVar("Result")


class Identified(Protocol):
    """What is asked: a question, or an item for an agent of the user."""

    @property
    def id(self) -> str: ...


Asked = TypeVar("Asked", bound=Identified)
REASONS = 3  # of samples that failed for good, that a line tells
KEPT = 2_000  # answers of a trace; of a longer list the first and the number
CLIPPED = "answers_in_all"
GIVE_UP = 8  # errors of the world in a row that stop a run, instead of failing sample after sample


def derive_config(config: Config, *, split: str, out: str, hops: int) -> Config:
    """Fill in the options that the user left open.

    `split`, `out` and `hops` are the task's defaults. The caller prints the result."""
    teacher = config.teacher or (NO_TEACHER if config.agent in MODEL_FREE else default_teacher())
    concurrency = config.concurrency or (LOCAL_SLOTS if teacher.startswith(("local", NO_TEACHER)) else 32)
    return config.model_copy(
        update={
            "teacher": teacher,
            "split": config.split or split,
            "hops": config.hops or hops,
            "retriever": config.retriever or default_retriever(),
            "temperature": (0.0 if config.samples == 1 else 0.7) if config.temperature is None else config.temperature,
            "concurrency": concurrency,
            "out": config.out or out,
        }
    )


def check_names(config: GenerateConfig, agents: Sequence[str], teachers: Sequence[str]) -> None:
    """Raise UserError for a name of the config that means nothing, before a directory is made or a server started."""
    for agent in agents:
        check_agent(agent)
    for teacher in teachers:
        check_teacher(teacher)
    check_retriever(str(config.retriever))
    if config.prices:
        read_price_table(Path(config.prices))


def list_outstanding(questions: Sequence[Asked], samples: int, run: RunDirectory) -> list[tuple[Asked, int]]:
    """The (question, sample) pairs that are not on disk yet.

    They go sample by sample, so that a stopped run has all questions early."""
    return [
        (question, sample)
        for sample in range(samples)
        for question in questions
        if (question.id, sample) not in run.done
    ]


async def collect_traces(
    world: TaskWorld,
    run: RunDirectory,
    agent: Agent,
    model: Chat,
    missing: Sequence[tuple[Question, int]],
    *,
    label: str,
    concurrency: int,
) -> None:
    """Solve the missing (question, sample) pairs; each finished one is on disk before the next is counted.

    A sample's own error is recorded and the run goes on. GIVE_UP errors of the world in a row, a limit, a server that
    refuses key, account or model, or a full disk end it with a WorldError, ctrl-C with a KeyboardInterrupt (see
    `Interrupt`). What is done stays done."""
    gold = world.task.gold(str(world.config.split))
    loose = world.task.read_loosely(str(world.config.split))
    clipped = 0

    def finish(item: tuple[Question, int], result: Draft) -> tuple[Usage, bool]:
        nonlocal clipped
        question, sample = item
        known = gold.get(question.id)
        if isinstance(world.task, ToolTask):
            draft, verdict = judge_with_tools(result, world.task.database, known.answers if known else None)
        else:
            draft, verdict = judge_draft(world.kb, result, known)
        draft = clip_answers(draft, max(KEPT, len(known.answers) if known else 0))
        if question.id in loose:
            draft = draft.model_copy(update={"provenance": {**draft.provenance, "read_as": loose[question.id]}})
        clipped += CLIPPED in draft.provenance
        trace = Trace.close(
            **{name: getattr(draft, name) for name in type(draft).model_fields},
            id=question.id,
            sample=sample,
            task=world.task.name,
            question=question.question,
            verified=verdict.ok,
            verdict=verdict,
            teacher=model.name,
        )
        run.append(trace)
        return trace.usage, trace.verified

    job: Job[Question, Draft] = Job(model, lambda item: agent.solve(item[0], item[1]), finish)
    try:
        await work_off(run, missing, job, label=label, unit="verified" if gold else "proven", concurrency=concurrency)
    finally:
        if clipped:
            say(f"traces with more than {KEPT:,} answers, of which the first are kept, and the number: {clipped:,}")


@dataclass(frozen=True)
class Job(Generic[Asked, Result]):
    """Work on a (question, sample) that asks a model, and what becomes of its result on the disk.

    `finish` returns what the result has cost, and whether it is one of the good ones that the progress line counts."""

    model: Chat
    work: Callable[[tuple[Asked, int]], Awaitable[Result]]
    finish: Callable[[tuple[Asked, int], Result], tuple[Usage, bool]]


async def work_off(
    run: RunDirectory,
    missing: Sequence[tuple[Asked, int]],
    job: Job[Asked, Result],
    *,
    label: str,
    unit: str,
    concurrency: int,
) -> None:
    """Do a job for (question, sample) pairs; errors are recorded, and end it, as `collect_traces` says.

    An agent of the user that fails in a sample is no error of the world: it ends the job, with a UserError, only where
    the first GIVE_UP samples fail like that."""
    in_a_row = finished = 0
    ended: WorldError | None = None
    refused: list[tuple[tuple[str, int], Refused]] = []
    model = job.model
    stop = model.stop if isinstance(model, Teacher) else lambda: None
    with Progress(label, total=len(missing), unit=unit) as progress, Interrupt(stop) as interrupt:
        begun = takewhile(lambda item: ended is None and not interrupt.requested, missing)
        jobs = run_items(begun, job.work, concurrency)
        async with aclosing(jobs):  # whatever ends the loop ends what is in flight, before the model is closed
            async for (question, sample), result in jobs:
                if isinstance(result, PutOff):
                    continue
                if isinstance(result, AgentkdError):
                    if isinstance(result, Refused):
                        refused.append(((question.id, sample), result))
                    else:
                        run.fail((question.id, sample), str(result), retry=getattr(result, "retry", False))
                    if isinstance(result, TokenLimit | ServerRefused):
                        ended = ended or result
                        if isinstance(result, ServerRefused):
                            stop()
                        continue  # others may still finish with what they have
                    if isinstance(result, SampleFailed) and finished:
                        progress.count_failure()
                        continue
                    in_a_row += 1
                    if in_a_row >= GIVE_UP and isinstance(result, SampleFailed):
                        raise UserError(f"the first {GIVE_UP} samples failed, last: {result}")
                    if in_a_row >= GIVE_UP:
                        raise WorldError(f"{result}; {GIVE_UP} in a row failed: run the same command again later")
                    progress.count_failure()
                    continue
                if isinstance(result, Exception):
                    raise result
                in_a_row = 0
                finished += 1
                usage, good = job.finish((question, sample), result)
                progress.advance(usage, good=good)
    judged = ended is None and isinstance(model, Teacher) and model.has_answered
    for key, error in refused:  # a server that answers nobody may have other reasons than the request
        final = judged and (not error.retry or key in run.refused)
        run.fail(key, str(error), retry=not final, refused=True)
    if ended is not None:
        raise ended


def clip_answers(draft: Draft, kept: int) -> Draft:
    """Return a draft that has been judged with its first `kept` answers, and their number in its provenance.

    A hub ends in hundreds of thousands, which no reader wants in a trace."""
    total = len(draft.answers)
    if total <= kept:
        return draft
    steps = []
    for step in draft.steps:
        lines = step.output.split("\n", kept)
        cut = step if len(lines) <= kept else step.model_copy(update={"output": "\n".join(lines[:kept])})
        steps.append(cut)
    provenance = {**draft.provenance, CLIPPED: total}
    return draft.model_copy(update={"answers": draft.answers[:kept], "steps": tuple(steps), "provenance": provenance})


def judge_draft(kb: Graph, draft: Draft, gold: Gold | None) -> tuple[Draft, Verdict]:
    """Check a closed draft. Gold, where it exists, joins as a last step whose reward is the strict F1."""
    verdict = check_draft(kb, draft)
    if gold is None:
        return draft, verdict
    final = join_gold(verdict, draft.answers, gold.answers)
    step = Step(kind="gold", verdict=final, reward=round(strict_f1(draft.answers, gold.answers), 4))
    return draft.model_copy(update={"steps": (*draft.steps, step)}), final


def describe_lost(path: Path, ids: Collection[str] | None = None) -> str:
    """A line on the samples of a run (of these questions) that failed for good, and why; empty where there are none."""
    rows = [row for row in read_failures(path) if not row["retry"] and (ids is None or row["id"] in ids)]
    if rows:  # one that was tried again, with success, is not lost
        found = {(trace.id, trace.sample) for trace in read_traces(path)}
        rows = [row for row in rows if (row["id"], row["sample"]) not in found]
    reasons = Counter(row["error"] for row in rows).most_common(REASONS + 1)
    if not reasons:
        return ""
    shown = "; ".join(f"{count} × {reason}" for reason, count in reasons[:REASONS])
    return f"{len(rows)} samples failed for good: {shown}{'; …' if len(reasons) > REASONS else ''}"


def close_run(run: RunDirectory, metrics: Mapping[str, Any], *, missing: int) -> None:
    """Declare the run complete, or raise WorldError with the number of samples that are left.

    Samples that failed for good are said."""
    if lost := describe_lost(run.path):
        say(lost)
    if missing:
        errors = [row["error"] for row in read_failures(run.path) if row["retry"]]
        raise WorldError(
            f"{missing} samples of {run.path} failed, last: {errors[-1] if errors else 'unknown'}; "
            f"run the same command again to retry them"
        )
    if not is_complete(run.path):
        run.finish(metrics)
