"""The trials of a search: one JSON line for each training, and what follows from them.

A candidate climbs three rungs, and each trains it for longer or on more folds. `STEPS` are its trainings in order; the
rung is whole when its last step is done. Steps of the same number are comparable: same images, same passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from pydantic import ValidationError

from agentkd.errors import UserError
from agentkd.recommend.table import Candidate, Value
from agentkd.runs.progress import say
from agentkd.runs.shard import Shard, read_records, repair_shard
from agentkd.trace import Frozen

FILE = "trials-0.jsonl"
FOLDS = 3
ETA = 3  # of so many candidates one is promoted


class Step(NamedTuple):
    """One training of a candidate: the fold that is held out, the share of the passes, and the rung that it is of."""

    fold: int
    share: float
    rung: int


STEPS = (Step(0, 1 / 3, 0), Step(0, 1.0, 1), Step(1, 1.0, 2), Step(2, 1.0, 2))
TOP = STEPS[-1].rung


class Trial(Frozen):
    """A training of candidate `number`: its reward (percent, higher is better) on the fold that was held out.

    `passes` are over all training examples. A training that diverged has reward 0 and says why."""

    number: int
    step: int
    method: str
    options: dict[str, Value]
    source: str
    reward: float
    seconds: float
    passes: float
    error: str = ""

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.method, self.options)


class Trials:
    """All trials of a search, in their order; `add` writes one before it counts."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if self.path.exists() and (torn := repair_shard(self.path, once=True).torn):
            say(f"{self.path}: {torn} torn lines were moved to {FILE}.torn; their trials are made again")
        self.done = list(self._read()) if self.path.exists() else []

    def _read(self) -> Iterable[Trial]:
        for record in read_records(self.path):
            try:
                yield Trial.model_validate({key: record[key] for key in Trial.model_fields if key in record})
            except ValidationError:
                raise UserError(
                    f"{self.path} is damaged: remove {self.path.parent}, then the search begins anew"
                ) from None

    def add(self, trial: Trial) -> None:
        """Write a trial, then count it."""
        shard = Shard(self.path)
        try:
            line = {"id": str(trial.number), "sample": trial.step, **trial.model_dump()}
            shard.append(json.dumps(line).encode())
        finally:
            shard.close()
        self.done.append(trial)

    @property
    def seconds(self) -> float:
        return sum(trial.seconds for trial in self.done)

    @property
    def passes(self) -> float:
        return sum(trial.passes for trial in self.done)

    def candidates(self) -> dict[int, Trial]:
        """The first trial of each candidate."""
        return {trial.number: trial for trial in reversed(self.done)}

    def rewards(self, number: int) -> dict[int, float]:
        """The rewards of a candidate by step."""
        return {trial.step: trial.reward for trial in self.done if trial.number == number}

    def rung(self, number: int) -> int:
        """The highest rung that a candidate has whole; -1 for none."""
        own = self.rewards(number)
        whole = [rung for rung in range(TOP + 1) if all(step in own for step in steps_up_to(rung))]
        return max(whole, default=-1)

    def reward_at(self, number: int, rung: int) -> float:
        """A candidate's reward at a rung: of the short training at the lowest, else the mean over the folds so far."""
        own = self.rewards(number)
        return own[0] if rung == 0 else fmean(own[step] for step in steps_up_to(rung) if step)


def steps_up_to(rung: int) -> list[int]:
    """The numbers of the steps that a candidate has behind it at a rung."""
    return [number for number, step in enumerate(STEPS) if step.rung <= rung]


def next_training(trials: Trials) -> tuple[int, int]:
    """Candidate and step of the next training, by asynchronous successive halving (Li et al. 2020, arXiv 1810.05934).

    What has begun a rung finishes it. Else the best of those that wait on the highest rung is promoted, if it is among
    the first third; the default, number 0, follows whoever is promoted, so that the choice is held against it. Else
    there is a new candidate."""
    numbers = sorted(trials.candidates())
    rungs = {number: trials.rung(number) for number in numbers}
    for number in numbers:
        own = trials.rewards(number)
        begun = STEPS[max(own)].rung
        if rungs[number] < begun:
            return number, next(step for step in steps_up_to(begun) if step not in own)
    for rung in range(TOP, 0, -1):
        first = min(step for step, each in enumerate(STEPS) if each.rung == rung)
        below = [number for number in numbers if rungs[number] >= rung - 1]
        ranked = sorted(below, key=lambda number: (-trials.reward_at(number, rung - 1), number))
        for number in ranked[: len(below) // ETA]:
            if rungs[number] < rung:
                return number, first
        if 0 in below and rungs[0] < rung and any(rungs[number] >= rung for number in numbers):
            return 0, first
    return len(numbers), 0


def choose(trials: Trials) -> tuple[Trial, int]:
    """The candidate with the highest reward on the highest rung that the default has whole, and that rung.

    Of equal ones the earlier is taken: the default before all others. Raises UserError where no candidate has a
    trial."""
    numbers = sorted(trials.candidates())
    if not numbers or (rung := trials.rung(0)) < 0:
        raise UserError("the budget ended before the first trial: give --budget-hours more")
    whole = [number for number in numbers if trials.rung(number) >= rung]
    best = max(whole, key=lambda number: (trials.reward_at(number, rung), -number))
    return trials.candidates()[best], rung


def describe(trials: Trials) -> list[dict[str, Any]]:
    """Each candidate with its source, the rung that it reached and its reward there, the best first."""
    rows = [
        {
            "number": number,
            "method": first.method,
            "options": dict(first.options),
            "source": first.source,
            "rung": (rung := trials.rung(number)),
            "reward": round(trials.reward_at(number, rung), 2) if rung >= 0 else None,
            "errors": [trial.error for trial in trials.done if trial.number == number and trial.error],
        }
        for number, first in sorted(trials.candidates().items())
    ]
    return sorted(rows, key=lambda row: (-int(row["rung"]), -(row["reward"] or 0.0)))
