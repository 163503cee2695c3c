"""`agentkd kaggle run`: a competition through the graph, in a run directory that is resumed by the same command."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.types import Command

from agentkd.agents.agent_k.clock import Clock
from agentkd.agents.agent_k.competition.source import Source, kaggle_source, local_source, page, parse
from agentkd.agents.agent_k.competition.submit_once import Submissions
from agentkd.agents.agent_k.context import STAGES, Around, State
from agentkd.agents.agent_k.memory import LongTerm
from agentkd.agents.agent_k.model.ask import Asker
from agentkd.config import KaggleConfig, default_teacher, slug
from agentkd.errors import PutOff, UserError, WorldError
from agentkd.prompts import prompts_hash
from agentkd.runs.disk import disk_error, write_atomically
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, strip_address
from agentkd.runs.store import RunDirectory
from agentkd.sandbox.sandbox import Sandbox, open_sandbox
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import NO_TEACHER
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Step, Trace, Usage, Verdict

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from agentkd.agents.agent_k.competition.kaggle import Kaggle

THREAD: dict[str, Any] = {"configurable": {"thread_id": "run"}, "recursion_limit": 1000}
MORE = 0.05  # share of the clock that has to be left for a finished run to go on


def derive(config: KaggleConfig) -> KaggleConfig:
    """Fill in what the user left open; the caller prints it."""
    where = parse(config.competition)
    name = slug(where.resolve().name if isinstance(where, Path) else where)
    return config.model_copy(
        update={
            "competition": str(where.resolve()) if isinstance(where, Path) else page(where),  # no bare word again
            "teacher": config.teacher or default_teacher(),
            "threads": config.threads or len(os.sched_getaffinity(0)),
            "out": config.out or f"runs/{name}-agent-k",
        }
    )


def run(config: KaggleConfig) -> dict[str, Any]:
    """Run or resume, and return the metrics. Raises UserError and WorldError; what is done stays done, and
    OUT/submission.csv is the best valid file so far."""
    config = derive(config)
    sandbox = open_sandbox(config.sandbox, say)
    out = Path(str(config.out))
    say(describe(config, sandbox))
    with RunDirectory(out, "kaggle", config, {"hash_prompts": prompts_hash("agent_k")}) as store:
        if is_complete(out):
            done = json.loads((out / "metrics.json").read_text())
            if not asks_more(config, done):
                say(f"{out} is complete: raise --max-hours or candidates= to go on, or choose another --out")
                return {"out": str(out), **done}
        stop = threading.Event()
        try:
            source, kaggle = open_source(config, out, stop)
            return asyncio.run(_run(config, store, source, kaggle, sandbox, stop))
        except OSError as error:
            raise disk_error(out, error) from None
        except sqlite3.Error as error:  # a full disk, too, is an error of SQLite's own kind
            raise WorldError(f"cannot write {out}/*.sqlite ({error}): mend that, then run the same command") from None


def asks_more(config: KaggleConfig, done: Mapping[str, Any]) -> bool:
    """Whether a finished run (its metrics are `done`) is asked for more time, more candidates, other facts, a first
    submission, or the score of one."""
    more_time = config.max_hours > done["max_hours"] * (1 + MORE)
    more_candidates = (config.candidates or 10**9) > (done["limit"] or 10**9)
    open_ends = [one for one in done["submissions"] if one["ref"] is None or one["status"] == "PENDING"]
    wants_sent = config.submit != "never" and (open_ends or not done["submissions"])
    remote = not isinstance(parse(config.competition), Path)
    return more_time or more_candidates or config.settled() != done["settled"] or bool(remote and wants_sent)


def open_source(config: KaggleConfig, out: Path, stop: threading.Event) -> tuple[Source, Kaggle | None]:
    """The competition's files, under workspace/data: downloaded, or a link to the local folder. With everything there
    and nothing to send, Kaggle is not asked."""
    data = out / "workspace" / "data"
    data.parent.mkdir(parents=True, exist_ok=True)
    where = parse(config.competition)
    if isinstance(where, Path):
        source = local_source(where, say)
        if not data.is_symlink():
            data.symlink_to(source.data)
        return source, None
    from agentkd.agents.agent_k.competition.download import is_there
    from agentkd.agents.agent_k.competition.kaggle import Kaggle

    kept = out / "source.json"
    if config.submit == "never" and kept.exists() and is_there(data):
        return Source(**json.loads(kept.read_text()) | {"data": data.resolve()}), None
    kaggle = Kaggle(say, stop)
    source = kaggle_source(kaggle, where, data, say)
    write_atomically(kept, json.dumps(asdict(source) | {"data": None}, indent=1) + "\n")
    return source, kaggle


def describe(config: KaggleConfig, sandbox: Sandbox) -> str:
    bounds = [f"{config.max_hours:g} h"]
    bounds += [f"${config.max_usd:g}"] if config.max_usd is not None else []
    bounds += [f"{config.max_tokens:,} tokens"] if config.max_tokens is not None else []
    bounds += [f"{config.candidates} candidates"] if config.candidates is not None else []
    return (
        f"{config.competition} · teacher {config.teacher} · sandbox {sandbox.kind} · at most {', '.join(bounds)} · "
        f"{config.threads} threads · submit {config.submit}, at most {config.max_submissions} · seed {config.seed} "
        f"→ {config.out}"
    )


async def _run(
    config: KaggleConfig,
    store: RunDirectory,
    source: Source,
    kaggle: Kaggle | None,
    sandbox: Sandbox,
    stop: threading.Event,
) -> dict[str, Any]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from agentkd.agents.agent_k.graph import build
    from agentkd.agents.agent_k.stages.finish import outcome

    clock = Clock(store.path, config.max_hours * 3600)
    submissions = Submissions(store.path, kaggle, source.slug, config.submit, config.max_submissions, say)
    options = TeacherOptions.from_config(config, slots=1)
    async with AsyncExitStack() as stack:
        asker = Asker(
            str(config.teacher),
            lambda: stack.enter_async_context(
                open_teacher(str(config.teacher), run=store.path, options=options, say=say)
            ),
            clock,
            say,
            stop,
            seed=config.seed,
            timeout=config.timeout,
        )
        around = Around(
            config=config, source=source, run=store.path, sandbox=sandbox, asker=asker, clock=clock,
            submissions=submissions, long_term=LongTerm(store.path / "memory.sqlite"), stop=stop, say=say,
        )  # fmt: skip

        async with AsyncSqliteSaver.from_conn_string(str(store.path / "checkpoints.sqlite")) as saver:
            graph = build(around, saver)
            with Interrupt(asker.stop), suppress(PutOff):  # what was put off: the block ends in a KeyboardInterrupt
                state = await go_on(graph, around, saver)
        asked = {"max_hours": config.max_hours, "limit": config.candidates, "settled": config.settled()}
        metrics = outcome(around, state) | asked
        return finish(store, around, state, metrics)


def say_settled(config: KaggleConfig) -> str:
    return " ".join(f"{name}={value}" for name, value in config.settled().items()) or "nothing settled by the user"


async def go_on(graph: Any, around: Around, saver: AsyncSqliteSaver) -> State:
    """Start, or go on after the last node that was kept. A finished run with more time solves on; with nothing but a
    submission left to do it goes to that. Where the user has settled other facts, the run begins anew, and only what
    it has cost and recorded stays. UserError where another model has answered in it."""
    before = await graph.aget_state(THREAD)
    config, said = around.config, before.values.get("teacher", "")
    if said and NO_TEACHER not in (said, config.teacher) and strip_address(said) != strip_address(config.teacher):
        raise UserError(f"{config.out} holds answers of {said}: resume it with --teacher {said} or none, or choose "
                        f"another --out")  # fmt: skip
    start: Any = None
    if not before.values or before.values.get("settled") != config.settled():
        spent = {name: before.values.get(name, []) for name in ("steps", "usage")}
        if before.values:
            around.say(f"begun anew with {say_settled(config)}")
            await saver.adelete_thread(THREAD["configurable"]["thread_id"])
        start = {**spent, "memory": [], "settled": config.settled(), "teacher": said}
    elif not before.next:
        room = around.clock.left > MORE * around.clock.seconds
        start = Command(goto="solve" if room else "validate")
    else:
        around.say(f"going on with stage {before.next[0]} of {len(STAGES)} after {around.clock.elapsed:.0f} s of work")
    state: State = await graph.ainvoke(start, THREAD, durability="sync")
    return state


def finish(store: RunDirectory, around: Around, state: State, metrics: dict[str, Any]) -> dict[str, Any]:
    """Close the trace, write metrics and report, declare the run complete."""
    steps = tuple(Step.model_validate(step) for step in state["steps"])
    usage = Usage.total(Usage.model_validate(item) for item in state["usage"])
    metrics |= {"calls": usage.calls, "tokens": usage.tokens, "usd": Cache(store.path / "cache").usd}
    sample = sum(1 for key in store.done if key[0] == around.source.slug)
    verdict = Verdict(ok=True, rung="validate", reason="")
    trace = Trace.close(
        id=around.source.slug,
        sample=sample,
        task="kaggle",
        question=around.source.title,
        steps=steps,
        answers=("submission.csv",),
        usage=usage,
        provenance={"score": metrics["score"], "metric": metrics["metric"], "accepted": metrics["accepted"]},
        verified=True,
        verdict=verdict,
        teacher=state.get("teacher") or around.asker.teacher,
    )
    store.append(trace)
    from agentkd.report.write import write_report

    write_report(store.path, metrics=metrics)
    store.finish(metrics)
    return {"out": str(store.path), **metrics}
