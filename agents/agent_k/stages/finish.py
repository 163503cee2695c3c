"""validate, submit, credit, report: the best valid file goes out at most once, and what was learnt gets its reward."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from langgraph.types import Command

from agentkd.agents.agent_k.context import MODEL, Around, State
from agentkd.agents.agent_k.memory import remember
from agentkd.agents.agent_k.model.coding import Work, may_go_back
from agentkd.agents.agent_k.stages.candidates import first_score, gain
from agentkd.agents.agent_k.stages.set_up import go_back, verdict_step
from agentkd.agents.agent_k.stages.solve import next_move
from agentkd.agents.agent_k.workspace.checks import check_submission
from agentkd.errors import AgentkdError, PutOff, WorldError
from agentkd.runs.disk import write_atomically
from agentkd.trace import Score, Step, Verdict


async def validate(around: Around, state: State) -> Command[str]:
    """submission.csv once more, as it lies there; a form that the model made and that fails is sent back."""
    work = Work.on(state)
    best = state.get("best", {})
    file = around.workspace / "submissions" / str(best.get("file"))
    if not best and next_move(around, state) is not None:  # a run that was given more time
        return Command(goto="solve", update=work.update())
    if not best:
        raise WorldError("no candidate gave a valid file: see the log.txt of workspace/candidates; raise --max-hours")
    failures = check_submission(file, around.setup, around.source.data)
    work.note(verdict_step("validate.test", "validate", failures))
    if failures and may_go_back(state, "format"):
        work.memory = remember(work.memory, failures[0].message, "format!", "error")
        return go_back(state, "format", work.update())
    if failures:
        raise WorldError(f"{file.name} is not valid any more ({failures[0].message}): run the same command again")
    write_atomically(around.run / "submission.csv", file.read_text())
    return Command(goto="submit", update=work.update())


async def submit(around: Around, state: State) -> Command[str]:
    """To Kaggle, where there is one and the user lets us; what Kaggle refuses does not end the run."""
    work = Work.on(state)
    best = state["best"]
    note = f"{best['name']}, {around.setup.metric} {best['score']:.5f} by cross-validation"
    try:
        with around.clock.paused():  # neither the user's thinking nor Kaggle's scoring is work
            sent = await asyncio.to_thread(
                around.submissions.submit, around.run / "submission.csv", note=note, score=best["score"]
            )
    except PutOff:
        raise
    except AgentkdError as error:
        around.say(f"not submitted: {error}; submission.csv is kept, the same command tries again")
        work.note(Step(kind="submit.submit", output=str(error),
                       verdict=Verdict(ok=False, rung="submit", reason=str(error)[:500])))  # fmt: skip
        return Command(goto="credit", update=work.update())
    if sent is not None:
        evidence: tuple[Score, ...] = ()
        if sent.public is not None:
            evidence = (Score(metric=around.setup.metric, value=sent.public, split="public"),)
        work.note(Step(kind="submit.submit", output=f"{sent.file} · {sent.ref} · {sent.status}", evidence=evidence,
                       verdict=Verdict(ok=sent.status != "ERROR", rung="submit", reason=sent.error)))  # fmt: skip
    return Command(goto="credit", update=work.update())


async def credit(around: Around, state: State) -> Command[str]:
    """Long-term actions: what gained is remembered as a lesson, what failed for ever is not offered again."""
    work = Work.on(state)
    best, setup = state["best"], around.setup
    first = first_score(state["candidates"])
    start = best["score"] if first is None else first
    for name, item in state["candidates"].items():
        if item.get("author") == MODEL and "score" in item:
            earned = gain(setup, item["score"], start)
            part = "solution" if name.startswith("solution") else "features"
            lesson = f"{name} on {around.source.title}: {item['score']:.5f}"
            key = around.long_term.add("lesson", part, lesson, {"run": around.run.name})
            around.long_term.credit(key, earned)
            work.note(Step(kind="credit.credit", output=name, reward=round(earned, 6)))
    reward = gain(setup, best["score"], start)
    work.note(Step(kind="credit.credit", output=str(best["name"]), reward=round(reward, 6)))
    return Command(goto="report", update=work.update())


async def report(around: Around, state: State) -> dict[str, Any]:
    """The end of the graph: the result is written by the run that holds the directory (run.py)."""
    return {}


def outcome(around: Around, state: State) -> dict[str, Any]:
    """The run's metrics: the best file, its score, who made what, and what was sent."""
    setup, best = around.setup, state["best"]
    candidates = state["candidates"]
    return {
        "competition": around.source.slug,
        "title": around.source.title,
        "task": setup.task,
        "metric": setup.metric,
        "lower_is_better": setup.lower_is_better,
        "score": best["score"],
        "best": best["name"],
        "blend": state.get("blend", {}),
        "candidates": candidates,
        "accepted": state["accepted"],
        "sent_back": state.get("sent_back", {}),
        "features": bool(state.get("features")),
        "sandbox": around.sandbox.kind,
        "silent": around.asker.why,
        "seconds": round(around.clock.elapsed, 1),
        "model_seconds": round(around.clock.model, 1),
        "submissions": [asdict(one) for one in around.submissions.all()],
    }
