"""`agentkd kaggle run`: take a competition through the graph; the same command resumes it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.types import Command

from agentkd.agents.agent_k.border import Refused, judge
from agentkd.agents.agent_k.checkpoints import FILE, PlainSerializer, read_state
from agentkd.agents.agent_k.clock import Clock
from agentkd.agents.agent_k.competition.source import (
    Source,
    competition_url,
    kaggle_source,
    local_source,
    parse_competition,
)
from agentkd.agents.agent_k.competition.submit_once import Submissions, SubmitPolicy
from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.contract import PLAIN, Failure
from agentkd.agents.agent_k.memory import LongTermMemory
from agentkd.agents.agent_k.model.ask import Model
from agentkd.agents.agent_k.model.user_features import read_user_features
from agentkd.agents.agent_k.model.user_metric import read_user_metric
from agentkd.agents.agent_k.understand.metric_choice import is_file
from agentkd.agents.agent_k.understand.own_split import is_number
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.checks import check_maps
from agentkd.agents.agent_k.workspace.data_hash import hash_data
from agentkd.agents.agent_k.workspace.own_folds import hash_own_folds
from agentkd.config import KaggleConfig, default_teacher, slug
from agentkd.errors import PutOff, UserError, WorldError
from agentkd.interchange.emit import emit_spans
from agentkd.prompts import prompts_hash
from agentkd.runs.disk import disk_error, write_atomically
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics, strip_address
from agentkd.runs.shapes import CompetitionFigures
from agentkd.runs.store import RunDirectory
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small
from agentkd.sandbox.sandbox import Sandbox, open_sandbox
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import NO_TEACHER
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Step, Trace, Usage, Verdict

if TYPE_CHECKING:
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from agentkd.agents.agent_k.competition.kaggle import Kaggle

THREAD: dict[str, Any] = {"configurable": {"thread_id": "run"}, "recursion_limit": 1000}
MAP_BYTES, MAP_RATIO = 10**8, 10  # bytes of a map at most, besides so many times those of the data
MORE = 0.05  # share of the clock that has to be left for a finished run to go on


def derive_config(config: KaggleConfig) -> KaggleConfig:
    """Fill in the options that the user left open."""
    where = parse_competition(config.competition)
    if isinstance(where, Path):
        name, competition = slug(where.resolve().name), str(where.resolve())
    else:
        name, competition = slug(where), competition_url(where)  # a bare word could also be a folder elsewhere
    return config.model_copy(
        update={
            "competition": competition,
            "teacher": config.teacher or default_teacher(),
            "threads": config.threads or len(os.sched_getaffinity(0)),
            "out": config.out or f"runs/{name}-agent-k",
        }
    )


def run(config: KaggleConfig, started: float | None = None) -> dict[str, Any]:
    """Run or resume a competition, and return the metrics.

    `started` is when the run's clock began, on the monotonic clock; None for now.
    Raises UserError and WorldError; finished stages stay finished, and OUT/submission.csv is the best valid file so
    far."""
    started = time.monotonic() if started is None else started
    config = derive_config(config)
    sandbox = open_sandbox(config.sandbox, say)
    out = Path(str(config.out))
    say(describe_run(config, sandbox))
    identity = {"hash_prompts": prompts_hash("agent_k")}
    with RunDirectory(out, "kaggle", config, identity) as store, emit_spans(config, out):
        if is_complete(out):
            done = read_metrics(out, CompetitionFigures)
            if not asks_for_more(config, done) and hash_inputs(config) in ("", done.get("data", "")):
                say(f"{out} is complete: raise --max-hours or candidates= to go on, or choose another --out")
                return {"out": str(out), **done}
        stop = threading.Event()
        try:
            source, kaggle = open_source(config, out, stop)
            return asyncio.run(run_graph(config, store, source, kaggle, sandbox, stop, started))
        except OSError as error:
            raise disk_error(out, error) from None
        except sqlite3.Error as error:  # a full disk, too, is an error of SQLite's own kind
            raise WorldError(f"cannot write {out}/*.sqlite ({error}): mend that, then run the same command") from None


def asks_for_more(config: KaggleConfig, done: Mapping[str, Any]) -> bool:
    """Whether the command asks a finished run, with `done` as its metrics, to continue.

    It asks for more time, more candidates, other facts, a first submission, or the score of one."""
    more_time = config.max_hours > done["max_hours"] * (1 + MORE)
    more_candidates = (config.candidates or 10**9) > (done["limit"] or 10**9)
    open_ends = [one for one in done["submissions"] if one["ref"] is None or one["status"] == "PENDING"]
    wants_sent = config.submit != "never" and (open_ends or not done["submissions"])
    remote = not isinstance(parse_competition(config.competition), Path)
    return more_time or more_candidates or config.settled() != done["settled"] or bool(remote and wants_sent)


def hash_inputs(config: KaggleConfig) -> str:
    """The hash of all that a user may mend between two calls: the folder with its pages, and the files of options.

    "" for a competition on Kaggle. Raises the errors of `local_source`, and UserError for a file that cannot be
    read."""
    where = parse_competition(config.competition)
    if not isinstance(where, Path):
        return ""
    source = local_source(where, lambda line: None)
    own = [read_user_metric(str(config.metric))] if is_file(config.metric) else []
    own += [read_user_features(config.features)] if config.features else []
    own += [hash_own_folds(str(config.folds))] if config.folds is not None and not is_number(config.folds) else []
    return hash_data(source.data, source.text, *own)


def open_source(config: KaggleConfig, out: Path, stop: threading.Event) -> tuple[Source, Kaggle | None]:
    """Put the competition's files under workspace/data, downloaded or as a link to a folder.

    If all is there and nothing is to be sent, Kaggle is not asked, and None is returned for it."""
    data = out / "workspace" / "data"
    data.parent.mkdir(parents=True, exist_ok=True)
    if data.is_symlink():  # made anew: in a stranger's run directory it leads anywhere
        data.unlink()
    plain = data.with_name(PLAIN)
    if plain.is_symlink() or any(path.is_symlink() for path in plain.rglob("*")):  # agentkd makes none there
        raise UserError(f"{plain} holds links, so agentkd has not written it: remove the run")
    where = parse_competition(config.competition)
    if isinstance(where, Path):
        source = local_source(where, say)
        data.symlink_to(source.data)
        return source, None
    from agentkd.agents.agent_k.competition.download import is_unpacked
    from agentkd.agents.agent_k.competition.kaggle import Kaggle

    kept = out / "source.json"
    if config.submit == "never" and is_unpacked(data):
        with suppress(OSError, ValueError, TypeError):  # missing or damaged: Kaggle is asked
            return Source(**parse_json(read_small(kept, METRICS_BYTES)) | {"data": data.resolve()}), None
    kaggle = Kaggle(say, stop)
    source = kaggle_source(kaggle, where, data, say)
    write_atomically(kept, json.dumps(asdict(source) | {"data": None}, indent=1) + "\n")
    return source, kaggle


def describe_run(config: KaggleConfig, sandbox: Sandbox) -> str:
    """The line that a run begins with: its input, limits and output."""
    bounds = [f"{config.max_hours:g} h"]
    bounds += [f"${config.max_usd:g}"] if config.max_usd is not None else []
    bounds += [f"{config.max_tokens:,} tokens"] if config.max_tokens is not None else []
    bounds += [f"{config.candidates} candidates"] if config.candidates is not None else []
    return (
        f"{config.competition} · teacher {config.teacher} · sandbox {sandbox.kind} · at most {', '.join(bounds)} · "
        f"{config.threads} threads · submit {config.submit}, at most {config.max_submissions} · seed {config.seed} "
        f"→ {config.out}"
    )


async def run_graph(
    config: KaggleConfig,
    store: RunDirectory,
    source: Source,
    kaggle: Kaggle | None,
    sandbox: Sandbox,
    stop: threading.Event,
    started: float,
) -> dict[str, Any]:
    """Run the graph in an open run directory, and close it."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from agentkd.agents.agent_k.graph import NODES, build_graph
    from agentkd.agents.agent_k.stages.finish import run_metrics

    clock = Clock(store.path, config.max_hours * 3600, time.monotonic() - started)
    policy = SubmitPolicy(config.submit, config.max_submissions)
    options = TeacherOptions.from_config(config, slots=1)
    async with AsyncExitStack() as stack:
        model = Model(
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
        context = Context(
            bench=Workbench(config, source, store.path, sandbox, clock, say),
            model=model,
            submissions=Submissions(store.path, kaggle, source.slug, policy, say),
            long_term=LongTermMemory(store.path / "memory.sqlite"),
            stages=tuple(NODES),
            stop=stop,
        )
        connection = await stack.enter_async_context(open_database(store.path / FILE))
        saver = AsyncSqliteSaver(connection, serde=PlainSerializer())
        graph = build_graph(context, saver)
        with Interrupt(model.stop), suppress(PutOff):  # once stopped, it ends in a KeyboardInterrupt
            state = await invoke_graph(graph, context, saver)
        asked = {"max_hours": config.max_hours, "limit": config.candidates, "settled": config.settled()}
        data = {"data": state.get("data", "")}
        return close_run(store, context, state, run_metrics(context, state) | asked | data)


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """Open an SQLite file, and close it even where ctrl-C comes while it is being opened: its thread would write to a
    loop that is gone, and tell the terminal."""
    import aiosqlite

    async def connect() -> aiosqlite.Connection:
        return await aiosqlite.connect(path)

    opening = asyncio.ensure_future(connect())
    try:
        yield await asyncio.shield(opening)
    finally:
        await (await opening).close()


def list_settled(config: KaggleConfig) -> str:
    """The facts that the user has settled, as options."""
    return " ".join(f"{name}={value}" for name, value in config.settled().items()) or "nothing settled by the user"


async def invoke_graph(graph: Any, context: Context, saver: AsyncSqliteSaver) -> RunState:
    """Start the run, or resume it after the last checkpointed node; returns the final state.

    A finished run with time left goes on solving, another goes to its submission. If the user has settled other facts,
    or the files have changed, the run begins anew, and only its cost and its steps stay. UserError if another model has
    answered in it."""
    bench = context.bench
    before = await read_state(graph, THREAD)
    config, said = bench.config, before.values.get("teacher", "")
    if said and NO_TEACHER not in (said, config.teacher) and strip_address(said) != strip_address(config.teacher):
        raise UserError(
            f"{config.out} holds answers of {said}: resume it with --teacher {said} or none, or choose another --out"
        )
    data = hash_inputs(config)
    changed = bool(data) and before.values.get("data", data) != data
    start: Any = None
    # `before.next` lacks a stage that was killed between its writes and their checkpoint; it counts as waiting.
    waiting = [task.name for task in before.tasks]
    if not before.values or changed or before.values.get("settled") != config.settled():
        spent = {name: before.values.get(name, []) for name in ("steps", "usage")}
        if changed:
            bench.say("the files have changed since the run began, so it begins anew, its clock too")
            bench.clock.begin_anew()
            (bench.folder / "submission.csv").unlink(missing_ok=True)
        elif before.values:
            bench.say(f"begun anew with {list_settled(config)}")
        if before.values:
            await saver.adelete_thread(THREAD["configurable"]["thread_id"])
        start = {**spent, "memory": [], "settled": config.settled(), "data": data, "teacher": said}
    elif not waiting:
        room = bench.clock.left > MORE * bench.clock.seconds
        start = Command(goto="solve" if room else "validate")
        check_sizes(bench)
        await check_workspace(context, before.values)
    else:
        check_sizes(bench)
        if waiting[0] in context.stages[context.stages.index("baseline") :]:
            await check_workspace(context, before.values)
        bench.say(
            f"going on with stage {waiting[0]} of {len(context.stages)} after {bench.clock.elapsed:.0f} s of work"
        )
    state: RunState = await graph.ainvoke(start, THREAD, durability="sync")
    return state


def check_sizes(bench: Workbench) -> None:
    """Raise UserError for a map of a resumed run that is larger than any that is made of its data."""
    most = MAP_BYTES + MAP_RATIO * sum(path.stat().st_size for path in bench.data.rglob("*") if path.is_file())
    for path in (bench.workspace / "maps").glob("*"):
        if path.stat().st_size > most:
            raise UserError(f"{path} has more than {most / 1e6:,.0f} MB, so agentkd has not written it: remove the run")


async def check_workspace(context: Context, state: RunState) -> None:
    """Check the files of a run that is resumed after its maps were made, which no later stage changes.

    Raises UserError where they are damaged, or where its features lie elsewhere."""
    bench = context.bench
    features = state.get("features")
    if features and not Path(features).resolve().is_relative_to(bench.workspace.resolve()):
        raise UserError(f"the features of the run lie in {features}: remove {FILE}, then the run begins anew")

    def look() -> list[Failure]:
        data = load_data(bench.workspace)
        assert len(data.y) == len(data.fold)
        return check_maps(bench.setup, bench.data, bench.workspace)

    found = await judge("maps", "the maps are whole", look)
    if failures := found.failures if isinstance(found, Refused) else found:
        raise UserError(
            f"{bench.workspace}/maps is damaged ({failures[0].message[:300]}): "
            f"remove {FILE} of the run directory, then the run begins anew"
        )


def close_run(store: RunDirectory, context: Context, state: RunState, metrics: dict[str, Any]) -> dict[str, Any]:
    """Append the trace, write metrics and report, and declare the run complete."""
    source = context.bench.source
    steps = tuple(Step.model_validate(step) for step in state["steps"])
    usage = Usage.total(Usage.model_validate(item) for item in state["usage"])
    metrics |= {"calls": usage.calls, "tokens": usage.tokens, "usd": Cache(store.path / "cache").usd}
    sample = sum(1 for key in store.done if key[0] == source.slug)
    verdict = Verdict(ok=True, rung="validate", reason="")
    trace = Trace.close(
        id=source.slug,
        sample=sample,
        task="kaggle",
        question=source.title,
        steps=steps,
        answers=("submission.csv",),
        usage=usage,
        provenance={"score": metrics["score"], "metric": metrics["metric"], "accepted": metrics["accepted"]},
        verified=True,
        verdict=verdict,
        teacher=state.get("teacher") or context.model.teacher,
    )
    store.append(trace)
    from agentkd.report.write import write_report

    write_report(store.path, metrics=metrics)
    store.finish(metrics)
    return {"out": str(store.path), **metrics}
