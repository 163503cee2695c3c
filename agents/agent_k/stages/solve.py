"""draft, baseline, solve: run candidates in the sandbox until time or ideas end.

A deterministic candidate is a spec for `agentkd.agents.agent_k.solvers`; the model's turns are in improve.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.types import Command

from agentkd.agents.agent_k.aside import call_aside
from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.results import (
    CODE,
    Best,
    Failed,
    Result,
    Scored,
    dump_best,
    dump_results,
    read_best,
    read_results,
)
from agentkd.agents.agent_k.solvers.portfolio import CandidateSpec
from agentkd.agents.agent_k.stages.candidates import (
    DRAFT_SECONDS,
    keep_best,
    make_constant,
    note_score,
    plan_candidates,
    run_candidate,
    score_basis,
)
from agentkd.agents.agent_k.stages.improve import try_model_features, try_model_solution
from agentkd.agents.agent_k.stages.suspect import question_score
from agentkd.agents.agent_k.workspace.arrays import load_data

TURNS = {"features": (1, 4), "solution": (2, 5, 7)}  # deterministic candidates that come before each turn of the model


async def run_draft(context: Context, state: RunState) -> Command[str]:
    """Write a valid file before the model is asked anything."""
    return await run_first(StageRun.begin(context, state, "draft"), "understand")


async def run_baseline(context: Context, state: RunState) -> Command[str]:
    """Run the first candidate on the accepted set-up, unless the draft had the same."""
    return await run_first(StageRun.begin(context, state, "baseline"), "solve")


async def run_first(run: StageRun, then: str) -> Command[str]:
    """Run the first candidate of the plan, after a constant, so that there is always a file.

    Candidates on the same maps are not run again; the best file is written again if the form has changed."""
    bench, state = run.bench, run.state
    basis = score_basis(run)
    results = {name: result for name, result in read_results(state).items() if result.basis == basis}
    accepted = read_best(state)
    if results and accepted and accepted.form == state.get("format_code", ""):
        return run.go_to(then, candidates=dump_results(results))
    waiting = dict(results) or {"constant": await make_constant(run)}
    best: Best | None = None  # the earlier best may have another score basis or form
    for name, result in waiting.items():
        best, failure = await keep_best(run, name, result, best)
        if failure and run.may_go_back("format"):
            run.remember(failure.message, "format!", "error")
            return run.go_back("format")
    if not results and bench.clock.left <= 0:
        bench.say("set-up took the run's time, so no model is trained: give more with --time")
        results = waiting
    if not results:
        candidate = plan_candidates(bench)[0]
        seconds = min(DRAFT_SECONDS, candidate.budget or DRAFT_SECONDS, max(bench.clock.left, 5.0))
        features = state.get("features", "") if takes_features(candidate) else ""
        name, result = await run_candidate(run, candidate, seconds, features)
        results = waiting | {name: result} if isinstance(result, Failed) else {name: result}
        note_score(run, name, result, results, None)
        best, _ = await keep_best(run, name, result, best)
    said = await doubt_score(run, list(results.values()), waiting.get("constant"))
    return run.go_to(then, candidates=dump_results(results), best=dump_best(best), said=said)


async def doubt_score(run: StageRun, results: Sequence[Result], constant: Result | None) -> list[str]:
    """The run's doubts, with a new one where the first candidate is nearly perfect."""
    bench, said = run.bench, list(run.state.get("said", []))
    first = next((item for item in results if isinstance(item, Scored) and item.kind != "constant"), None)
    if run.state.get("metric_code") or first is None or not isinstance(constant, Scored):
        return said
    data = load_data(bench.workspace)
    line = await call_aside(lambda: question_score(data, first.score, constant.score))
    if line and line not in said:
        bench.say(line)
        said.append(line)
    return said


def next_move(context: Context, state: RunState) -> str | CandidateSpec | None:
    """Choose the next move: a turn of the model, a deterministic candidate, or None for the end."""
    bench, limit = context.bench, context.bench.config.candidates
    results, rounds = read_results(state), state.get("rounds", {})
    if bench.clock.left <= 0 or (limit is not None and len(results) >= limit):
        return None
    by_code = sum(1 for result in results.values() if result.author == CODE)
    waiting = [item for item in plan_candidates(bench) if not {item.name, f"{item.name}+features"} & set(results)]
    fitting = [item for item in waiting if item.seconds <= bench.clock.left]
    if context.model.can_ask(setup=False):
        for part, turns in TURNS.items():
            done = rounds.get(part, 0)
            if done < len(turns) and (by_code >= turns[done] or not fitting):
                if part == "features" and (not bench.setup.tab or bench.config.features):
                    continue
                return part
    return fitting[0] if fitting else None


async def try_candidate(context: Context, state: RunState) -> Command[str]:
    """Try one more candidate; the graph keeps it and comes back, until time or ideas end."""
    move = next_move(context, state)
    if move is None:
        return Command(goto="ensemble")
    run, bench = StageRun.begin(context, state, "solve"), context.bench
    results, rounds = read_results(state), dict(state.get("rounds", {}))
    extra = {}
    if isinstance(move, str):
        rounds[move] = rounds.get(move, 0) + 1
        try_model = try_model_features if move == "features" else try_model_solution
        turn = await try_model(run.part(move), rounds[move])
        if turn.back:
            return run.go_back(turn.back, rounds=rounds)
        if turn.result is None:
            return run.go_to("solve", rounds=rounds)
        name, result = turn.name, turn.result
        extra = {"features": turn.features} if turn.features else {}
    else:
        accepted = state.get("features", "") if takes_features(move) else ""
        seconds = max(bench.clock.left, 1.0)
        seconds = min(seconds, move.budget) if move.budget else seconds
        name, result = await run_candidate(run, move, seconds, accepted)
    best = read_best(state)
    note_score(run, name, result, results, best)
    results[name] = result
    best, failure = await keep_best(run, name, result, best)
    values = {"candidates": dump_results(results), "rounds": rounds, "best": dump_best(best), **extra}
    if failure and run.may_go_back("format"):
        run.remember(failure.message, "format!", "error")
        return run.go_back("format", **values)
    return run.go_to("solve", **values)


def takes_features(candidate: CandidateSpec) -> bool:
    return candidate.kind.startswith(("lightgbm", "hist", "linear", "extra", "catboost"))
