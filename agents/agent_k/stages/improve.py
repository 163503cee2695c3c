"""The model's turns while solving: features, and whole solutions.

Features are kept if cross-validation says so. A solution is called fold by fold; its folder holds nothing but the
inputs and the other folds' targets, so it cannot know what it is scored on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.model.coding import write_code
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.model.trials import try_features, try_solution
from agentkd.agents.agent_k.results import MODEL, Failed, Result, Scored, first_score, gain, read_results
from agentkd.agents.agent_k.solvers.portfolio import CandidateSpec
from agentkd.agents.agent_k.stages.candidates import (
    DRAFT_SECONDS,
    begin_result,
    plan_candidates,
    run_candidate,
    score_folder,
)
from agentkd.runs.disk import write_atomically
from agentkd.trace import StageTest, Step, Verdict

WINS = 0.6  # share of the folds that features have to improve, besides the mean


@dataclass(frozen=True)
class Turn:
    """How a turn of the model ended: a candidate, a stage to go back to, or neither."""

    name: str = ""
    result: Result | None = None
    features: str = ""  # the folder of features that are kept from now on
    back: str = ""


async def try_model_features(run: StageRun, number: int) -> Turn:
    """Let the model write features, and run the baseline with them.

    They are kept if they make it better by cross-validation: in the mean, and in most folds."""
    bench, results = run.bench, read_results(run.state)
    base = plan_candidates(bench)[0]
    written = await write_code(run, lambda folder: try_features(bench, folder), number=10 * (number - 1))
    if written.folder is None:
        return Turn(back=written.back)
    folder = str(written.folder / "kept")
    candidate = CandidateSpec(f"{base.name}-{written.folder.name}", base.kind, base.params, base.seconds)
    name, result = await run_candidate(run, candidate, min(4 * DRAFT_SECONDS, bench.clock.left), folder)
    held = run.state.get("features", "")  # those of an earlier round, which these would replace
    earlier = [f"{base.name}-{Path(held).parent.name}+features"] if held else []
    names = [*earlier, base.name, *results]
    before = next(results[one] for one in names if one in results)
    kept, reason = compare_features(bench.setup, result, before)
    reward = -1.0
    if isinstance(result, Scored) and isinstance(before, Scored):
        reward = gain(bench.setup, result.score, before.score)
    credit_code(run, written.key, reward)
    test = StageTest(name="features improve cross-validation", passed=kept, detail=reason)
    verdict = Verdict(ok=kept, rung="features", reason=reason)
    run.note(
        Step(
            kind="features.test",
            output=written.folder.name,
            evidence=(test,),
            reward=round(reward, 6),
            verdict=verdict,
        )
    )
    bench.say(f"features of the model: {reason}")
    run.remember(f"features {'kept' if kept else 'not kept'}: {reason}", "features!")
    return Turn(name, result.model_copy(update={"author": MODEL}), features=folder if kept else "")


def compare_features(setup: Setup, result: Result, before: Result) -> tuple[bool, str]:
    """Decide whether features are kept; returns that and the reason."""
    if isinstance(result, Failed):
        return False, result.error[:300]
    if isinstance(before, Failed):
        return False, "there is no score to compare with"
    gained = gain(setup, result.score, before.score)
    pairs = [
        (one, other)
        for one, other in zip(result.folds, before.folds, strict=False)
        if one is not None and other is not None
    ]
    wins = sum(gain(setup, one, other) > 0 for one, other in pairs)
    kept = gained > 0 and (not pairs or wins >= WINS * len(pairs))
    change = f"{setup.metric} {before.score:.5f} → {result.score:.5f}"
    return kept, f"{change}, better in {wins} of {len(pairs)} folds: {'kept' if kept else 'not kept'}"


def credit_code(run: StageRun, key: int | None, reward: float) -> None:
    if key is not None:
        run.context.long_term.credit(key, reward)


async def try_model_solution(run: StageRun, number: int) -> Turn:
    """Let the model write a whole solution, `fit_predict`, and score it fold by fold."""
    bench, results = run.bench, read_results(run.state)
    name = f"solution-{number}"
    each = max(min(bench.clock.model_left(setup=False) / 8, 120.0), 5.0)
    written = await write_code(
        run, lambda folder: try_solution(bench, folder, each), {"seconds": round(each)}, number=10 * (number - 1)
    )
    if written.folder is None:
        return Turn(back=written.back)
    folder = bench.workspace / "candidates" / f"{name}-{written.folder.name}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("oof.csv", "test.csv"):
        write_atomically(folder / file, (written.folder / file).read_bytes())
    result = await score_folder(run, folder, begin_result(run, MODEL, folder, "solution"))
    value = result.score if isinstance(result, Scored) else None
    first = first_score(results)
    credit_code(run, written.key, gain(bench.setup, value, first) if value is not None and first is not None else -1.0)
    run.remember(f"solution {number} scored {value}, the baseline {first}", "solution!")
    return Turn(name, result)
