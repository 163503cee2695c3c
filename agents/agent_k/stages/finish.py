"""validate, submit, credit, report: the file is sent at most once, the memory gets rewards."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from langgraph.types import Command

from agentkd.agents.agent_k.border import Refused, judge, try_look
from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.results import MODEL, Best, Scored, first_score, gain, read_best, read_results
from agentkd.agents.agent_k.scoring.quality import describe_quality
from agentkd.agents.agent_k.stages.experience import remember_run
from agentkd.agents.agent_k.stages.importance import measure_importance
from agentkd.agents.agent_k.stages.profile import describe_data
from agentkd.agents.agent_k.stages.solve import next_move
from agentkd.agents.agent_k.workspace.arrays import load_data, rows_by_fold
from agentkd.agents.agent_k.workspace.checks import check_submission
from agentkd.agents.agent_k.workspace.files import read_csv, read_targets
from agentkd.errors import AgentkdError, PutOff, WorldError
from agentkd.trace import Score, Step, Verdict

LAST = 1.5  # seconds that are kept for the report
SLOWER = 2.0  # times as long as the look at the data takes, importances take at least


async def validate(context: Context, state: RunState) -> Command[str]:
    """Check the best file once more, as it is on disk.

    If it fails, and the model made its form, the run is sent back to that."""
    run, bench = StageRun.begin(context, state, "validate"), context.bench
    best = read_best(state)
    if best is None and next_move(context, state) is not None:  # a run that was given more time
        return run.go_to("solve")
    if best is None:
        raise WorldError("no candidate gave a valid file: see the log.txt of workspace/candidates; raise --max-hours")
    file = bench.workspace / "submissions" / best.file
    found = await judge("format", "submission is a file", lambda: check_submission(file, bench.setup, bench.data))
    failures = found.failures if isinstance(found, Refused) else found
    run.note_test(failures)
    if failures and run.may_go_back("format"):
        run.remember(failures[0].message, "format!", "error")
        return run.go_back("format")
    if failures:
        raise WorldError(f"{file.name} is not valid any more ({failures[0].message}): run the same command again")
    bench.publish(file)
    return run.go_to("submit")


def validated_best(state: RunState) -> Best:
    """The best candidate, which every state after `validate` has."""
    return Best.model_validate(state["best"])


async def submit(context: Context, state: RunState) -> Command[str]:
    """Send the file to Kaggle, if the user allows it; a refusal does not end the run."""
    run, bench = StageRun.begin(context, state, "submit"), context.bench
    best = validated_best(state)
    note = f"{best.name}, {bench.setup.metric} {best.score:.5f} by cross-validation"
    try:
        with bench.clock.paused():  # neither the user's thinking nor Kaggle's scoring is work
            sent = await asyncio.to_thread(
                context.submissions.submit, bench.folder / "submission.csv", note=note, score=best.score
            )
    except PutOff:
        raise
    except AgentkdError as error:
        bench.say(f"not submitted: {error}; submission.csv is kept, the same command tries again")
        verdict = Verdict(ok=False, rung="submit", reason=str(error)[:500])
        run.note(Step(kind="submit.submit", output=str(error), verdict=verdict))
        return run.go_to("credit")
    if sent is not None:
        evidence: tuple[Score, ...] = ()
        if sent.public is not None:
            evidence = (Score(metric=bench.setup.metric, value=sent.public, split="public"),)
        verdict = Verdict(ok=sent.status != "ERROR", rung="submit", reason=sent.error)
        output = f"{sent.file} · {sent.ref} · {sent.status}"
        run.note(Step(kind="submit.submit", output=output, evidence=evidence, verdict=verdict))
    return run.go_to("credit")


async def credit(context: Context, state: RunState) -> Command[str]:
    """Remember the model's candidates as lessons, each with its gain as reward, and the run as a case."""
    run, bench = StageRun.begin(context, state, "credit"), context.bench
    results, best, setup = read_results(state), validated_best(state), bench.setup
    first = first_score(results)
    start = best.score if first is None else first
    for name, result in results.items():
        if result.author == MODEL and isinstance(result, Scored):
            earned = gain(setup, result.score, start)
            part = "solution" if name.startswith("solution") else "features"
            lesson = f"{name} on {bench.source.title}: {result.score:.5f}"
            key = context.long_term.add("lesson", part, lesson, {"run": bench.folder.name})
            context.long_term.credit(key, earned)
            run.note(Step(kind="credit.credit", output=name, reward=round(earned, 6)))
    run.note(Step(kind="credit.credit", output=best.name, reward=round(gain(setup, best.score, start), 6)))
    await asyncio.to_thread(remember_run, bench, state)
    return run.go_to("report")


async def end(context: Context, state: RunState) -> dict[str, Any]:
    """End the graph: run.py, which holds the directory, writes the results."""
    return {}


def describe_best(context: Context, state: RunState, best: Best) -> dict[str, Any]:
    """What the best score is made of; empty where its predictions are gone or the metric is the model's."""
    workspace, setup = context.bench.workspace, context.bench.setup
    found = try_look(
        "validate",
        "predictions are files",
        lambda: describe_quality(
            setup,
            read_targets(workspace),
            read_csv(workspace / "candidates" / best.file.removesuffix(".csv") / "oof.csv"),
            rows_by_fold(load_data(workspace)),
            state.get("blend", {}).get("thresholds") if best.name == "blend" else None,
        ),
    )
    return {} if isinstance(found, Refused) else found


def describe_inputs(context: Context) -> dict[str, Any]:
    """A look at the data, and which columns matter, in the time that is left; both are empty where there is none."""
    bench = context.bench
    found: dict[str, Any] = {"profile": {}, "importance": {}}

    def spare() -> float:
        return bench.clock.seconds - bench.clock.elapsed - LAST

    data, start = load_data(bench.workspace), bench.clock.elapsed
    if spare() > 0:
        found["profile"] = describe_data(data)
    if spare() > SLOWER * (bench.clock.elapsed - start):
        found["importance"] = measure_importance(data, bench.seed, spare())
    return found


def run_metrics(context: Context, state: RunState) -> dict[str, Any]:
    """The run's metrics: the best file, its score, who made what, and what was sent."""
    bench, model, best = context.bench, context.model, validated_best(state)
    setup = bench.setup
    return {
        "competition": bench.source.slug,
        "title": bench.source.title,
        "task": setup.task,
        "metric": setup.metric,
        "lower_is_better": setup.lower_is_better,
        "score": best.score,
        "best": best.name,
        "blend": state.get("blend", {}),
        "quality": describe_best(context, state, best),
        "said": state.get("said", []),
        **describe_inputs(context),
        "candidates": state["candidates"],
        "accepted": state["accepted"],
        "sent_back": state.get("sent_back", {}),
        "features": bool(state.get("features")),
        "sandbox": bench.sandbox.kind,
        "silent": model.given_up,
        "seconds": round(bench.clock.elapsed, 1),
        "model_seconds": round(bench.clock.model, 1),
        "submissions": [asdict(one) for one in context.submissions.all()],
    }
