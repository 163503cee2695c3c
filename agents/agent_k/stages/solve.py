"""baseline, solve, ensemble: candidates are run in the sandbox, and scored here, from their out-of-fold predictions.

A deterministic candidate is a spec for `agentkd.agents.agent_k.solvers`. The model adds features, which are kept where
cross-validation says so, and whole solutions; a solution is called fold by fold with nothing in its folder but the
inputs and the other folds' targets, so it cannot know what it is scored on.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from langgraph.types import Command

from agentkd.agents.agent_k.context import CODE, MODEL, Around, State
from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.memory import remember
from agentkd.agents.agent_k.model.coding import Work, may_go_back, write_code
from agentkd.agents.agent_k.model.run_code import read_output
from agentkd.agents.agent_k.model.trials import try_features, try_solution
from agentkd.agents.agent_k.scoring.blend import best_blend
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.solvers import Candidate
from agentkd.agents.agent_k.stages.candidates import (
    basis,
    better,
    constant,
    first_score,
    gain,
    note_score,
    plan,
    run_candidate,
    score_folder,
)
from agentkd.agents.agent_k.stages.set_up import go_back
from agentkd.agents.agent_k.workspace.files import read_csv
from agentkd.agents.agent_k.workspace.maps import maps_hash, read_targets, save
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import heartbeat
from agentkd.trace import StageTest, Step, Verdict

DRAFT_SECONDS = 40.0  # for the first candidate: a valid file within a minute, whatever comes later
WINS = 0.6  # share of the folds that features have to improve, besides the mean
TURNS = {"features": (1, 4), "solution": (2, 5, 7)}  # how many deterministic candidates stand before each round


def tried(state: State, author: str) -> int:
    return sum(1 for item in state.get("candidates", {}).values() if item.get("author") == author)


async def draft(around: Around, state: State) -> Command[str]:
    """A valid file before the model is asked anything."""
    return await first(around, state, "understand")


async def baseline(around: Around, state: State) -> Command[str]:
    """The first candidate on the set-up as it was accepted; not run again where that is the sniffed one."""
    return await first(around, state, "solve")


async def first(around: Around, state: State, then: str) -> Command[str]:
    """The first candidate of the plan, behind a constant that is written before it: a file is there whatever happens.
    What was tried on the same maps is not tried again; its best file is written anew where the form has changed."""
    work = Work.on(state)
    stage = "draft" if then == "understand" else "baseline"
    now = basis(around, state)
    candidates = {name: item for name, item in state.get("candidates", {}).items() if item["basis"] == now}
    best = state.get("best", {})
    if candidates and best.get("form") == state.get("format_code", ""):
        return Command(goto=then, update=work.update(candidates=candidates))
    waiting = dict(candidates) or {"constant": await constant(around, state)}
    best = {}
    for name, item in waiting.items():
        best, failure = await better(around, {**accepted_code(state), "best": best}, name, item)
        if failure and may_go_back(state, "format"):
            work.memory = remember(work.memory, failure.message, "format!", "error")
            return go_back(state, "format", work.update())
    if not candidates:
        candidate = plan(around, around.setup)[0]
        seconds = min(DRAFT_SECONDS, candidate.budget or DRAFT_SECONDS, max(around.clock.left, 5.0))
        name, found = await run_candidate(around, state, candidate, seconds)
        candidates = waiting | {name: found} if "error" in found else {name: found}
        note_score(work, around, stage, name, found, candidates, {})
        best, _ = await better(around, {**accepted_code(state), "best": best}, name, found)
    return Command(goto=then, update=work.update(candidates=candidates, best=best))


def accepted_code(state: State) -> State:
    """The state with the accepted form and metric alone: no best file, for its score or its form may be of the past."""
    return {"format_code": state.get("format_code", ""), "metric_code": state.get("metric_code", "")}


def next_move(around: Around, state: State) -> str | Candidate | None:
    """What is tried next: a turn of the model (`features`, `solution`), a deterministic candidate, or nothing."""
    candidates, rounds = state.get("candidates", {}), state.get("rounds", {})
    limit = around.config.candidates
    if around.clock.left <= 0 or (limit is not None and len(candidates) >= limit):
        return None
    code = tried(state, CODE)
    waiting = [item for item in plan(around, around.setup)
               if not {item.name, f"{item.name}+features"} & set(candidates)]  # fmt: skip
    fitting = [item for item in waiting if item.seconds <= around.clock.left]
    if around.asker.open(setup=False):
        for part, turns in TURNS.items():
            done = rounds.get(part, 0)
            if done < len(turns) and (code >= turns[done] or not fitting):
                if part == "features" and not around.setup.tab:
                    continue
                return part
    return fitting[0] if fitting else None


async def solve(around: Around, state: State) -> Command[str]:
    """One candidate more; the graph keeps it and comes back, until time or ideas end."""
    move = next_move(around, state)
    if move is None:
        return Command(goto="ensemble")
    work = Work.on(state)
    candidates, rounds = dict(state["candidates"]), dict(state.get("rounds", {}))
    if isinstance(move, str):
        rounds[move] = rounds.get(move, 0) + 1
        make = features if move == "features" else solution
        back, name, found, extra = await make(around, state, work, rounds[move])
        if back:
            return go_back(state, back, work.update(rounds=rounds))
        if not name:
            return Command(goto="solve", update=work.update(rounds=rounds))
    else:
        accepted = state.get("features", "") if takes_features(move) else ""
        seconds = max(around.clock.left, 1.0)
        seconds = min(seconds, move.budget) if move.budget else seconds
        name, found = await run_candidate(around, state, move, seconds, accepted)
        extra = {}
    note_score(work, around, "solve", name, found, candidates, state.get("best", {}))
    candidates[name] = found
    best, failure = await better(around, state, name, found)
    update = work.update(candidates=candidates, rounds=rounds, best=best, **extra)
    if failure and may_go_back(state, "format"):
        work.memory = remember(work.memory, failure.message, "format!", "error")
        return go_back(state, "format", update | {"memory": work.memory})
    return Command(goto="solve", update=update)


def takes_features(candidate: Candidate) -> bool:
    return candidate.kind.startswith(("lightgbm", "hist", "linear", "extra", "catboost"))


Made = tuple[str, str, dict[str, Any], dict[str, Any]]  # stage to go back to, name, candidate, further state


async def features(around: Around, state: State, work: Work, number: int) -> Made:
    """The model's features, kept where the baseline with them is better by cross-validation: in the mean, and in most
    folds."""
    base = plan(around, around.setup)[0]
    written = await write_code(around, state, work, "features", lambda folder: try_features(around, folder),
                               setup=False, number=10 * (number - 1))  # fmt: skip
    if written.folder is None:
        return written.back, "", {}, {}
    accepted = str(written.folder / "kept")
    candidate = Candidate(f"{base.name}-{written.folder.name}", base.kind, base.params, base.seconds)
    name, found = await run_candidate(around, state, candidate, min(4 * DRAFT_SECONDS, around.clock.left), accepted)
    held = state.get("features", "")  # those of an earlier round, which these would replace
    earlier = [f"{base.name}-{Path(held).parent.name}+features"] if held else []
    names = [*earlier, base.name, *state["candidates"]]
    before = next(state["candidates"][one] for one in names if one in state["candidates"])
    kept, reason = keeps(around.setup, found, before)
    reward = gain(around.setup, found["score"], before["score"]) if "score" in found and "score" in before else -1.0
    credit(around, written.key, reward)
    test = StageTest(name="features improve cross-validation", passed=kept, detail=reason)
    work.note(Step(kind="features.test", output=written.folder.name, evidence=(test,), reward=round(reward, 6),
                   verdict=Verdict(ok=kept, rung="features", reason=reason)))  # fmt: skip
    around.say(f"features of the model: {reason}")
    work.memory = remember(work.memory, f"features {'kept' if kept else 'not kept'}: {reason}", "features!")
    found["author"] = MODEL
    return "", name, found, {"features": accepted} if kept else {}


def keeps(setup: Setup, found: dict[str, Any], before: dict[str, Any]) -> tuple[bool, str]:
    """Whether features stay, and why."""
    if "error" in found or "score" not in before:
        return False, found.get("error", "there is no score to compare with")[:300]
    gained = gain(setup, found["score"], before["score"])
    pairs = [pair for pair in zip(found["folds"], before["folds"], strict=False) if None not in pair]
    wins = sum(gain(setup, one, other) > 0 for one, other in pairs)
    kept = gained > 0 and (not pairs or wins >= WINS * len(pairs))
    change = f"{setup.metric} {before['score']:.5f} → {found['score']:.5f}"
    return kept, f"{change}, better in {wins} of {len(pairs)} folds: {'kept' if kept else 'not kept'}"


def credit(around: Around, key: int | None, reward: float) -> None:
    if key is not None:
        around.long_term.credit(key, reward)


async def solution(around: Around, state: State, work: Work, number: int) -> Made:
    """The model's own fit_predict, fold by fold."""
    name = f"solution-{number}"
    each = max(min(around.clock.model_left(setup=False) / 8, 120.0), 5.0)
    written = await write_code(
        around, state, work, "solution", lambda folder: try_solution(around, state, folder, each), setup=False,
        values={"seconds": round(each)}, number=10 * (number - 1),
    )  # fmt: skip
    if written.folder is None:
        return written.back, "", {}, {}
    folder = around.workspace / "candidates" / f"{name}-{written.folder.name}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("oof.csv", "test.csv"):
        write_atomically(folder / file, (written.folder / file).read_text())
    found = await score_folder(around, state, folder)
    first = first_score(state["candidates"])
    reward = gain(around.setup, found["score"], first) if "score" in found and first is not None else -1.0
    credit(around, written.key, reward)
    work.memory = remember(work.memory, f"solution {number} scored {found.get('score')}, the baseline {first}",
                           "solution!")  # fmt: skip
    found |= {"author": MODEL, "folder": folder.name, "basis": basis(around, state), "kind": "solution",
              "seconds": 0.0}  # fmt: skip
    return "", name, found, {}


async def ensemble(around: Around, state: State) -> Command[str]:
    """The candidates blended on their out-of-fold predictions; taken where nested cross-validation is better. A lone
    one is given the thresholds of a metric of labels."""
    work = Work.on(state)
    setup, truth = around.setup, read_targets(around.workspace)
    good = {name: item for name, item in state["candidates"].items() if "score" in item and item["kind"] != "constant"}
    best = dict(state.get("best", {}))
    cuts = setup.task != "regression" and setup.metric in METRICS and METRICS[setup.metric].needs == "label"
    if len(good) < (1 if cuts else 2) or state.get("metric_code"):
        return Command(goto="validate", update=work.update(best=best))
    root = around.workspace / "candidates"
    frames = {name: (read_output(root / item["folder"], "oof.csv"),
                     read_output(root / item["folder"], "test.csv")) for name, item in good.items()}  # fmt: skip
    folds = read_csv(around.workspace / "maps" / "folds.csv")
    start = time.monotonic()
    job = asyncio.ensure_future(asyncio.to_thread(best_blend, setup, truth, folds, frames, seed=around.config.seed))
    blend = await heartbeat(job, lambda took: around.at_work("blend", took), around.say)
    folder = root / f"blend-{maps_hash(around.workspace)}"
    folder.mkdir(exist_ok=True)
    save(blend.oof, folder / "oof.csv")
    save(blend.test, folder / "test.csv")
    found = {"author": CODE, "folder": folder.name, "basis": basis(around, state), "kind": "blend",
             "score": blend.score, "folds": [], "seconds": round(time.monotonic() - start, 1)}  # fmt: skip
    note_score(work, around, "ensemble", "blend", found, state["candidates"], best)
    best, _ = await better(around, state, "blend", found, blend.thresholds)
    return Command(goto="validate", update=work.update(best=best, blend={"kind": blend.kind, "weights": blend.weights,
                                                                          "score": blend.score}))  # fmt: skip
