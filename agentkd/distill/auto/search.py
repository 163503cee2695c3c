"""The search of `--method auto`, the same for every road: propose, train, reward, until the budget is spent.

It can be killed at any moment: a training goes on from its checkpoint, all others are lines of `trials-0.jsonl`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.distill.auto.propose import Plan, keep_plan, plan_proposals, propose
from agentkd.distill.auto.trials import FOLDS, STEPS, Step, Trial, Trials, choose, describe, next_training
from agentkd.distill.health import Diverged
from agentkd.distill.plan import format_duration
from agentkd.recommend.space import Space
from agentkd.recommend.table import Candidate, Row, Values, name_candidate, read_rows
from agentkd.runs.progress import say

PLAN = "plan.json"


@dataclass(frozen=True)
class Bed:
    """What a search is told by a road. `train(candidate, step, folder)` returns the reward, in percent, on the fold of
    the training data that the step holds out; `epochs` are the passes of the final training."""

    kind: str
    space: Space
    default: Candidate
    facts: Values
    epochs: float
    train: Callable[[Candidate, Step, Path], float]
    row: Callable[[Trial], Row]


@dataclass(frozen=True)
class Budget:
    """Seconds of trials, by the clock and over all resumes, or passes over the training examples; None: no limit."""

    seconds: float | None
    passes: float | None

    def allows(self, trials: Trials, cost: float) -> bool:
        """Whether a training of `cost` passes still fits. By the clock the first one does: its time is unknown."""
        if self.passes is not None and trials.passes + cost > self.passes + 1e-9:
            return False
        rate = trials.seconds / trials.passes if trials.passes else 0.0
        return self.seconds is None or trials.seconds + cost * rate <= self.seconds


def search(bed: Bed, budget: Budget, folder: Path, seed: int) -> dict[str, Any]:
    """Spend the budget, and return the choice with all candidates.

    Raises UserError where not even the default has a trial."""
    plan = keep_plan(make_plan(bed, seed), folder / PLAN)
    say(f"memory: {plan.basis}")
    trials = Trials(folder)
    work = folder / "work"
    for trial in trials.done:
        shutil.rmtree(work / name_training(trial.number, trial.step), ignore_errors=True)
    if trials.done:
        say(f"going on after {len(trials.done)} trainings, {trials.seconds:.0f} s")
    while True:
        number, step = next_training(trials)
        cost = passes_of(bed, STEPS[step])
        if not budget.allows(trials, cost):
            break
        trial = train_one(bed, plan, trials, (number, step), work, seed)
        trials.add(trial)
        shutil.rmtree(work / name_training(number, step), ignore_errors=True)
        say(describe_trial(trial, trials))
    shutil.rmtree(work, ignore_errors=True)
    best, rung = choose(trials)
    return {
        "method": best.method,
        "options": dict(best.options),
        "source": best.source,
        "rung": rung,
        "reward": round(trials.reward_at(best.number, rung), 3),
        "default_reward": round(trials.reward_at(0, rung), 3),
        "trainings": len(trials.done),
        "seconds": round(trials.seconds, 1),
        "passes": round(trials.passes, 2),
        "memory": plan.basis,
        "candidates": describe(trials),
    }


def make_plan(bed: Bed, seed: int) -> Plan:
    """What is tried first, by what the table holds now."""
    return plan_proposals(bed.space, bed.default, bed.facts, read_rows(kind=bed.kind), seed)


def say_plan(bed: Bed, budget: Budget, out: str, pass_seconds: float, seed: int) -> dict[str, Any]:
    """Print what would be tried, and how much of it fits; `pass_seconds` is the measured time of a pass over all
    training examples."""
    plan = make_plan(bed, seed)
    full = passes_of(bed, STEPS[-1])
    passes = [limit for limit in (budget.passes, budget.seconds and budget.seconds / pass_seconds) if limit is not None]
    trainings = min(passes) / full
    say(f"plan of {out}: --method auto · {', '.join(bed.space.methods)}")
    say(f"memory   {plan.basis}")
    for number, (candidate, source) in enumerate(plan.first):
        say(f"first    {number} ({source}): {name_candidate(candidate)}")
    say("then     Optuna's TPE, told the rewards so far")
    say(
        f"rungs    {STEPS[0].share:.0%} of {bed.epochs:g} passes; all passes; all passes on {FOLDS - 1} other folds "
        f"(1 / {FOLDS} of the training data is held out)"
    )
    each = full * pass_seconds
    say(f"budget   about {trainings:.1f} trainings of all passes, {each:.0f} s each without the teacher (measured)")
    say(f"time     {format_duration(min(passes) * pass_seconds)} of trials; the choice is then trained on everything")
    return {
        "out": out,
        "memory": plan.basis,
        "first": [{"method": c.method, "options": dict(c.options), "source": source} for c, source in plan.first],
        "trainings": round(trainings, 1),
        "pass_seconds": round(pass_seconds, 4),
        "seconds": round(min(passes) * pass_seconds, 1),
    }


def rows_of(bed: Bed, folder: Path) -> list[Row]:
    """Rows for the table: trainings of all passes. The short ones say little about a whole one."""
    return [bed.row(trial) for trial in Trials(folder).done if STEPS[trial.step].share == 1.0 and not trial.error]


def passes_of(bed: Bed, step: Step) -> float:
    """The passes of a step over all training examples: a fold is held out."""
    return bed.epochs * step.share * (FOLDS - 1) / FOLDS


def train_one(bed: Bed, plan: Plan, trials: Trials, key: tuple[int, int], work: Path, seed: int) -> Trial:
    """Train a candidate for one step. One that diverges has reward 0."""
    number, step = key
    known = trials.candidates().get(number)
    if known is None:
        candidate, source = propose(number, plan, bed.space, trials, seed)
    else:
        candidate, source = known.candidate, known.source
    start, error = time.monotonic(), ""
    try:
        reward = bed.train(candidate, STEPS[step], work / name_training(number, step))
    except Diverged as found:
        reward, error = 0.0, str(found)
    return Trial(
        number=number,
        step=step,
        method=candidate.method,
        options=dict(candidate.options),
        source=source,
        reward=round(reward, 4),
        seconds=round(time.monotonic() - start, 2),
        passes=passes_of(bed, STEPS[step]),
        error=error,
    )


def name_training(number: int, step: int) -> str:
    """The folder of a training."""
    return f"{number:03d}-{step}"


def describe_trial(trial: Trial, trials: Trials) -> str:
    """One line: what was tried, on which rung, and what it earned."""
    step = STEPS[trial.step]
    earned = f"stopped: {trial.error}" if trial.error else f"{trial.reward:.1f} %"
    return (
        f"candidate {trial.number} ({trial.source}), {step.share:.0%} of the passes, fold {step.fold + 1} of {FOLDS}: "
        f"{name_candidate(trial.candidate)} · {earned} · {trials.seconds:.0f} s in all"
    )
