"""`agentkd generate`: a task's questions through an agent and a teacher, into verified traces."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd import CommandModule
from agentkd.agents import MODEL_FREE
from agentkd.agents.survey import surveyed_derivations
from agentkd.answering import check_names, close_run, collect_traces, derive_config, list_outstanding
from agentkd.config import GenerateConfig
from agentkd.doubts.check import RunCheck
from agentkd.doubts.groups import write_groups
from agentkd.errors import UserError, WorldError
from agentkd.interchange.emit import emit_spans
from agentkd.own_agents.collect import collect
from agentkd.report.write import write_report
from agentkd.runs.disk import write_atomically
from agentkd.runs.parts import name_run, take_part
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.store import RunDirectory
from agentkd.runs.summary import RATIONALISED_SAMPLE, SECOND_CHOICE_SAMPLE, summarise_run, verified_ids
from agentkd.serving.llama import LOCAL_SLOTS
from agentkd.tasks.coverage import check_coverage
from agentkd.tasks.items import is_own_agent
from agentkd.tasks.tool_task import TOOL_TASKS, check_task_agents
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import NoTeacher
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.world import TaskWorld, path_count

if TYPE_CHECKING:
    from agentkd.retrievers.relation_path import RelationPath
    from agentkd.tasks.question import Question
    from agentkd.tasks.task import Task

sys.modules[__name__].__class__ = CommandModule  # agentkd.generate(…) is the function of the API


def generate(config: GenerateConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Opening the same directory again goes on where it stopped."""
    if is_own_agent(config.agent):
        return collect(config)
    refuse_own_options(config)
    world = TaskWorld.load(config)
    for line in world.kb.describe():
        say(line)
    task = world.task
    if world.tool and "agent" not in config.model_fields_set:
        config = config.model_copy(update={"agent": world.tool})
    default_out = name_run(config.task, config.agent, config.shard)
    config = derive_config(
        config, split=config.split or task.default_split("generate"), out=default_out, hops=task.max_hops
    )
    check_names(config, [config.agent], [str(config.teacher)])
    check_task_agents(task, [config.agent])
    if world.tool:
        config = config.model_copy(update={"retriever": None})  # nothing is retrieved
    world = replace(world, config=config)
    out = Path(str(config.out))
    questions = take_part(task.pick(str(config.split), config.limit, config.seed), config.shard)
    for line in describe_run(config, len(questions), task):
        say(line)
    if world.tool:
        return generate_with_tool(world, questions)
    coverage = check_coverage(task, str(config.split), questions, verify=True)
    for line in coverage.lines:
        say(line)
    with RunDirectory(out, "generate", config, world.identity) as run, emit_spans(config, out):
        missing = list_unsolved(questions, config, run)
        if missing:
            asyncio.run(_generate(world, run, missing))
        if config.rationalise:
            asyncio.run(_rationalise(world, run, questions))
        ids = {question.id for question in questions}
        check = RunCheck(out, world.kb, ids)
        if asyncio.run(_choose_again(world, run, questions, check.second_choices(surveyed_derivations))):
            check = RunCheck(out, world.kb, ids)
        write_groups(out, check.groups)
        metrics = summarise_run(out, ids, config.samples) | check.count(config.samples)
        metrics["usd"] = Cache(out / "cache").usd
        metrics["coverage"] = coverage.record()
        if not is_complete(out) or not has_checks(out):
            write_report(out, metrics=metrics)
        close_run(run, metrics, missing=len(list_unsolved(questions, config, run)))
        if not has_checks(out):  # complete before these figures were counted
            write_atomically(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        if not metrics["traces"]:
            raise WorldError(f"{out} has no trace: all its samples failed for good; choose another --out to try again")
    return {"out": str(out), **metrics}


def refuse_own_options(config: GenerateConfig) -> None:
    """Raise UserError for an option that only an agent of the user has a use for."""
    given = [name for name in ("verify", "answer_field", "answer_tokens") if getattr(config, name) is not None]
    if given:
        raise UserError(
            f"{given[0]}= is for an agent of your own (--agent pkg.module:graph): {config.agent} is verified in the "
            f"knowledge base"
        )


def generate_with_tool(world: TaskWorld, questions: Sequence[Question]) -> dict[str, Any]:
    """Run the stage for an agent with a tool, whose traces have no paths to group or to doubt."""
    config = world.config
    if config.rationalise or config.judge:
        raise UserError(f"rationalise and judge are for the agents that search a knowledge base, not for {world.tool}")
    out = Path(str(config.out))
    with RunDirectory(out, "generate", config, world.identity) as run:
        if missing := list_unsolved(questions, config, run):
            asyncio.run(_generate(world, run, missing))
        metrics = summarise_run(out, {question.id for question in questions}, config.samples)
        metrics |= {"unchecked": 0, "doubtful": 0, "usd": Cache(out / "cache").usd}
        if not is_complete(out):
            write_report(out, metrics=metrics)
        close_run(run, metrics, missing=len(list_unsolved(questions, config, run)))
        if not metrics["traces"]:
            raise WorldError(f"{out} has no trace: all its samples failed for good; choose another --out to try again")
    return {"out": str(out), **metrics}


def has_checks(run: Path) -> bool:
    """Whether the metrics of a run say how many of its traces nobody has checked."""
    try:
        return "unchecked" in read_metrics(run)
    except (OSError, UserError):
        return False


def list_unsolved(
    questions: Sequence[Question], config: GenerateConfig, run: RunDirectory
) -> list[tuple[Question, int]]:
    """The outstanding (question, sample) pairs; with `until_verified` only of unproven questions."""
    proven = verified_ids(run.path) if config.until_verified else set()
    return [item for item in list_outstanding(questions, config.samples, run) if item[0].id not in proven]


async def _generate(world: TaskWorld, run: RunDirectory, missing: Sequence[tuple[Question, int]]) -> None:
    config = world.config
    async with open_teacher(
        str(config.teacher),
        run=run.path,
        options=TeacherOptions.from_config(config, slots=config.concurrency or LOCAL_SLOTS),
        say=say,
    ) as teacher:
        agent = world.agent(config.agent, teacher)
        shared: dict[str, Any] = {"label": "traces", "concurrency": config.concurrency or 1}
        if not config.until_verified:
            await collect_traces(world, run, agent, teacher, missing, **shared)
            return
        for number in range(config.samples):
            proven = verified_ids(run.path)
            some = [
                (question, sample) for question, sample in missing if sample == number and question.id not in proven
            ]
            if some:
                await collect_traces(world, run, agent, teacher, some, **shared)


async def _rationalise(world: TaskWorld, run: RunDirectory, questions: Sequence[Question]) -> None:
    """Collect one more sample, hinted by gold, for each question that has gold and no verified trace."""
    from agentkd.agents.rationalise import Rationaliser

    gold = {name: item.answers for name, item in world.task.gold(str(world.config.split)).items()}
    proven = verified_ids(run.path)
    unproven = [(q, RATIONALISED_SAMPLE) for q in questions if q.id in gold and q.id not in proven]
    missing = [(question, sample) for question, sample in unproven if (question.id, sample) not in run.done]
    if missing:
        model = NoTeacher()
        agent = Rationaliser(world.context(model, shown_by(world.config.agent)), gold)
        await collect_traces(world, run, agent, model, missing, label="rationalised", concurrency=1)


async def _choose_again(
    world: TaskWorld, run: RunDirectory, questions: Sequence[Question], paths: Mapping[str, RelationPath]
) -> bool:
    """Follow another path for each question that has one, and say whether there was anything to do."""
    from agentkd.agents.second_choice import SecondChoice

    again = [(question, SECOND_CHOICE_SAMPLE) for question in questions if question.id in paths]
    missing = [(question, sample) for question, sample in again if (question.id, sample) not in run.done]
    if missing:
        model = NoTeacher()
        agent = SecondChoice(world.context(model, shown_by(world.config.agent)), paths)
        await collect_traces(world, run, agent, model, missing, label="second choices", concurrency=1)
    return bool(missing)


def shown_by(agent: str) -> str:
    """The agent whose candidates a run's other traces show; they are the same for all that ask a model."""
    return agent if agent in MODEL_FREE else ""


def describe_run(config: GenerateConfig, count: int, task: Task) -> list[str]:
    """Write the values of the run, derived ones included, as a few lines.

    Raises UserError where there is no question."""
    if not count:
        raise UserError(f"task {task.name} has no question in split '{config.split}': choose --split or raise --limit")
    search = f"retriever {config.retriever}, {path_count(config, config.agent)} paths of ≤ {config.hops} hops · "
    search = "" if config.task in TOOL_TASKS else search
    return [
        f"{task.name} · {config.split} · {count} questions × {config.samples} · agent {config.agent} · "
        f"teacher {config.teacher}",
        f"{search}temperature {config.temperature} · {config.concurrency} in flight · seed {config.seed} → "
        f"{config.out}",
        *([task.note] if task.note else []),
    ]
