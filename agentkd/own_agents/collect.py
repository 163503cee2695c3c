"""`agentkd generate --agent pkg.module:graph`: items through an agent of the user, into traces with a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.answering import Job, close_run, list_outstanding, work_off
from agentkd.config import GenerateConfig, default_teacher, task_label
from agentkd.errors import UserError, WorldError
from agentkd.interchange.emit import emit_spans
from agentkd.own_agents.proxy import Proxy
from agentkd.own_agents.session import CallOptions, Session
from agentkd.own_agents.workers import Workers
from agentkd.report.write import write_report
from agentkd.runs.disk import hash_file
from agentkd.runs.parts import name_run, take_part
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_failures, read_traces
from agentkd.runs.store import RunDirectory
from agentkd.runs.summary import summarise_run
from agentkd.serving.llama import LOCAL_SLOTS
from agentkd.tasks.items import Item, default_split, pick_items, read_items
from agentkd.teacher.cache import Cache
from agentkd.teacher.client import Teacher
from agentkd.teacher.open import check_teacher, open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Draft, Step, Trace, Usage, Verdict, content_hash
from agentkd.user_code import find_source
from agentkd.verifiers.open import check_specs, open_ladder

if TYPE_CHECKING:
    from agentkd.verifiers.ladder import Ladder

SERVED_SLOTS = 8  # samples in flight, each in a process
ANSWER_TOKENS = 2048
NOT_VERIFIED = "nothing was verified: --verify was left out"
_OF_A_KB = (
    *("data", "kb", "kb_columns", "aliases", "retriever", "paths", "hops", "rerank", "demos", "shuffle", "reader"),
    *("trust", "votes", "constrain", "judge", "rationalise", "until_verified"),
)


def collect(config: GenerateConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Opening the same directory again goes on where it stopped."""
    refuse_options(config)
    items = read_items(Path(config.task))
    config = derive_own(config, items)
    specs = [config.verify] if config.verify else []
    if specs:
        check_specs(specs)
    check_teacher(str(config.teacher))
    out = Path(str(config.out))
    chosen = take_part(pick_items(items, str(config.split), config.limit, config.seed), config.shard)
    say(
        f"{config.task} · {config.split} · {len(chosen)} items × {config.samples} · agent {config.agent} · "
        f"teacher {config.teacher}"
    )
    say(
        f"verifiers {config.verify or 'none'} · ≤ {config.agent_calls} calls and {config.agent_timeout:g} s of its own "
        f"per sample · temperature {config.temperature} where it sets none · {config.concurrency} in flight → {out}"
    )
    identity = {"hash_data": content_hash([dict(item.row) for item in items if item.split == config.split])}
    if (source := find_source(config.agent)) is not None:
        identity["hash_agent"] = hash_file(source)
    with RunDirectory(out, "generate", config, identity) as run, emit_spans(config, out):
        if config.retry_failed:
            run.done -= {(row["id"], row["sample"]) for row in read_failures(out)} - traced(out)
        if missing := list_outstanding(chosen, config.samples, run):
            asyncio.run(_collect(config, run, missing))
        metrics = summarise_run(out, {item.id for item in chosen}, config.samples)
        metrics |= {"unchecked": 0, "doubtful": 0, "usd": Cache(out / "cache").usd}
        if not is_complete(out):
            write_report(out, metrics=metrics)
        close_run(run, metrics, missing=len(list_outstanding(chosen, config.samples, run)))
        if not metrics["traces"]:
            raise WorldError(f"{out} has no trace: the agent failed in all samples; retry_failed=true tries them again")
    return {"out": str(out), **metrics}


def traced(out: Path) -> set[tuple[str, int]]:
    """The samples of a run that have a trace."""
    return {(trace.id, trace.sample) for trace in read_traces(out)}


def refuse_options(config: GenerateConfig) -> None:
    """Raise UserError for an option that an agent of the user has no use for."""
    fields = type(config).model_fields
    given = [name for name in _OF_A_KB if getattr(config, name) != fields[name].default]
    if given:
        raise UserError(
            f"{given[0]}= is for the agents that search a knowledge base, not for {config.agent}: leave it out"
        )


def derive_own(config: GenerateConfig, items: list[Item]) -> GenerateConfig:
    """Fill in the options that the user left open. The caller prints the result."""
    teacher = config.teacher or default_teacher()
    slots = LOCAL_SLOTS if teacher.startswith("local") else SERVED_SLOTS
    name = config.agent.removesuffix(".py").replace(".py:", ":")
    return config.model_copy(
        update={
            "teacher": teacher,
            "split": config.split or default_split(items),
            "temperature": (0.0 if config.samples == 1 else 0.7) if config.temperature is None else config.temperature,
            "concurrency": config.concurrency or slots,
            "answer_tokens": config.answer_tokens or ANSWER_TOKENS,
            "out": config.out or name_run(config.task, name, config.shard),
        }
    )


async def _collect(config: GenerateConfig, run: RunDirectory, missing: Sequence[tuple[Item, int]]) -> None:
    concurrency = config.concurrency or 1
    options = TeacherOptions.from_config(config, slots=concurrency)
    async with AsyncExitStack() as stack:
        proxy = Proxy()
        stack.callback(proxy.close)
        workers = Workers(
            config.agent,
            config.answer_field,
            proxy=proxy,
            log=run.path / "logs" / "agent.log",
            seconds=config.agent_timeout,
        )
        stack.push_async_callback(workers.close)
        await workers.check()
        ladder = None
        if config.verify:
            ladder = await stack.enter_async_context(
                open_ladder(
                    [config.verify],
                    run=run.path,
                    options=options,
                    timeout=config.verify_timeout,
                    concurrency=min(concurrency, 4),
                )
            )
        teacher = await stack.enter_async_context(
            open_teacher(str(config.teacher), run=run.path, options=options, say=say)
        )
        if not isinstance(teacher, Teacher):
            raise UserError(f"--agent {config.agent} asks a model: give --teacher (local, vllm:MODEL or URL#MODEL)")
        proxy.model = teacher.name
        await stack.enter_async_context(proxy)
        collector = Collector(config, run, teacher, workers, ladder)
        job: Job[Item, tuple[Draft, Verdict]] = Job(teacher, collector.solve, collector.store)
        await work_off(run, missing, job, label="traces", unit="verified", concurrency=concurrency)


class Collector:
    """Works on a sample, and stores what became of it."""

    def __init__(
        self, config: GenerateConfig, run: RunDirectory, teacher: Teacher, workers: Workers, ladder: Ladder | None
    ) -> None:
        self.config, self.run, self.teacher, self.workers, self.ladder = config, run, teacher, workers, ladder
        self.calls = CallOptions(config.agent_calls, config.answer_tokens or ANSWER_TOKENS, config.temperature or 0.0)

    async def solve(self, item: tuple[Item, int]) -> tuple[Draft, Verdict]:
        """Let the agent answer, then verify: only now an item's other fields are looked at."""
        asked, sample = item
        session = Session(self.teacher, self.calls, sample)
        outcome = await self.workers.run(asked, session)
        steps, usage = session.steps_with(outcome.ran), session.usage
        answers = (outcome.answer,) if outcome.answer.strip() else ()
        verdict = Verdict(ok=False, rung="none", reason="no answer" if not answers else NOT_VERIFIED)
        if answers and self.ladder is not None:
            climb = await self.ladder.climb(asked.row, outcome.answer)
            verdict, usage = climb.verdict, usage + climb.usage
            checked = Step(kind="verify", evidence=climb.evidence, verdict=verdict, reward=climb.score)
            steps = (*steps, checked)
        return Draft(steps=steps, answers=answers, usage=usage, tools=tuple(session.tools)), verdict

    def store(self, item: tuple[Item, int], result: tuple[Draft, Verdict]) -> tuple[Usage, bool]:
        """Append the trace; it is on the disk when this returns."""
        (asked, sample), (draft, verdict) = item, result
        trace = Trace.close(
            **{name: getattr(draft, name) for name in type(draft).model_fields},
            id=asked.id,
            sample=sample,
            task=task_label(self.config.task),
            question=asked.question,
            verified=verdict.ok,
            verdict=verdict,
            teacher=self.teacher.name,
        )
        self.run.append(trace)
        return trace.usage, trace.verified
