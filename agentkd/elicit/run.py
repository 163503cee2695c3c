"""`agentkd elicit KIND`: data made with a teacher, verified, with provenance and cost, as a run directory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentkd.answering import check_names, close_run, derive_config
from agentkd.config import ElicitConfig, slug, task_label
from agentkd.doubts.check import RunCheck
from agentkd.doubts.groups import write_groups
from agentkd.elicit.curation import curate
from agentkd.elicit.desk import Desk, Elicited, check_model, open_model, student_agent
from agentkd.elicit.expansion import expand
from agentkd.elicit.feature import read_features
from agentkd.elicit.feedback import give_feedback
from agentkd.elicit.labeling import label
from agentkd.elicit.self_knowledge import answer_alone
from agentkd.errors import UserError, WorldError
from agentkd.generate import describe_run
from agentkd.interchange.emit import emit_spans
from agentkd.prompts import prompts_hash
from agentkd.report.write import write_report
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_failures
from agentkd.runs.store import RunDirectory
from agentkd.runs.summary import summarise_run
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import NO_TEACHER
from agentkd.teacher.client import Teacher
from agentkd.world import TaskWorld

KINDS: Mapping[str, Callable[[Desk], Awaitable[Elicited]]] = {
    "labeling": label,
    "expansion": expand,
    "curation": curate,
    "feature": read_features,
    "feedback": give_feedback,
    "self-knowledge": answer_alone,
}
WITH_STUDENT = ("feedback", "self-knowledge")
WRITTEN = ("expansion", "curation")


def elicit(config: ElicitConfig) -> dict[str, Any]:
    """Run one way of elicitation and return its metrics. Opening the same directory again goes on where it stopped."""
    identity = check_options(config)
    world = TaskWorld.load(config)
    task = world.task
    for line in world.kb.describe():
        say(line)
    default_out = f"runs/{slug(task_label(config.task))}-{config.kind}"
    if config.kind == "self-knowledge":  # the student is its own teacher
        config = config.model_copy(update={"teacher": NO_TEACHER})
    config = derive_config(
        config, split=config.split or task.default_split("generate"), out=default_out, hops=task.max_hops
    )
    if config.kind == "feature":  # any model that can weigh or vote
        identity["hash_teacher"] = check_model(str(config.teacher))
    check_names(config, [config.agent], [] if config.kind == "feature" else [str(config.teacher)])
    world = replace(world, config=config)
    out = Path(str(config.out))
    questions = task.pick(str(config.split), config.limit, config.seed)
    for line in [f"elicit {config.kind}", *describe_run(config, len(questions), task)]:
        say(line)
    with RunDirectory(out, "elicit", config, {**world.identity, **identity}) as run, emit_spans(config, out):
        elicited = asyncio.run(_collect(world, config, run, questions))
        ids = {question.id for question, _ in elicited.wanted}
        samples = 1 + max((sample for _, sample in elicited.wanted), default=0)
        check = RunCheck(out, world.kb, ids)
        write_groups(out, check.groups)
        metrics = summarise_run(out, ids, samples) | check.count(samples)
        cache = Cache(out / "cache")
        metrics |= {"usd": cache.usd, "paid_tokens": cache.tokens}
        metrics |= {"kind": config.kind, "left_out": dict(count_left_out(config, run, elicited))}
        if not is_complete(out):
            write_report(out, metrics=metrics)
        close_run(run, metrics, missing=count_missing(elicited, run))
        if not metrics["traces"]:
            raise WorldError(f"{out} has no trace: nothing that the teacher gave is of use; see failures-0.jsonl there")
    return {"out": str(out), **metrics}


def check_options(config: ElicitConfig) -> dict[str, str]:
    """The hashes that identify the student and the prompts of a way of elicitation.

    Raises UserError for a student that is missing, or that nobody asks."""
    if config.shard:
        raise UserError(f"shard={config.shard} is for generate: leave it out")
    if config.kind in WITH_STUDENT:
        if not config.student:
            raise UserError(f"elicit {config.kind} needs --student: a directory, hub name, vllm:MODEL or URL#MODEL")
        identity = {"hash_student": check_model(config.student)}
        student_agent(config)
    elif config.student:
        raise UserError(f"elicit {config.kind} asks no student: leave --student {config.student} out")
    else:
        identity = {}
    if config.kind in WRITTEN:
        identity["hash_elicit_prompts"] = prompts_hash("elicit")
    return identity


async def _collect(world: TaskWorld, config: ElicitConfig, run: RunDirectory, questions: Any) -> Elicited:
    async with (
        open_model(str(config.teacher), config, run.path) as teacher,
        open_model(config.student or NO_TEACHER, config, run.path) as student,
    ):
        if isinstance(teacher, Teacher) and isinstance(student, Teacher):
            student.requests.budget = teacher.requests.budget  # limits hold for both together
        return await KINDS[config.kind](Desk(world, config, run, questions, teacher, student))


def count_missing(elicited: Elicited, run: RunDirectory) -> int:
    """The samples that are not settled; at least one where questions are not written yet."""
    missing = sum((question.id, sample) not in run.done for question, sample in elicited.wanted)
    return max(missing, int(elicited.unfinished))


def count_left_out(config: ElicitConfig, run: RunDirectory, elicited: Elicited) -> Counter[str]:
    """What is not learned from, by reason: repeats, and samples that failed for good."""
    failed = Counter(row["error"] for row in read_failures(run.path) if not row["retry"])
    return elicited.left_out + failed
