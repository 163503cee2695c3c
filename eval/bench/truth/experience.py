"""`agentkd bench experience`: how much sooner a run reaches its score where it knows other competitions.

Finished runs are replayed: the same candidates, with the seconds and out-of-fold predictions on record, in another
order. After each candidate the score so far is that of the best blend of those that are there, as the run itself would
blend them. What is measured is the time until the score at the end of the run without experience is reached. Cases come
from the other competitions alone (leave one competition out). The controls have the same cases: with the shares of each
dealt to other candidates (`shuffled`), all with the same weight (`flat`), and with forged ones, a fifth of all, in
which the worst candidates earned most (`poisoned`; `flat-poisoned` trusts them).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.experience.advice import Advisor, find_advisors, order_by_experience
from agentkd.agents.agent_k.experience.case import Case, Fingerprint, list_trials
from agentkd.agents.agent_k.experience.store import Known
from agentkd.agents.agent_k.finished import FinishedRun, open_run
from agentkd.agents.agent_k.results import CODE, is_better
from agentkd.agents.agent_k.scoring.blend import best_blend
from agentkd.agents.agent_k.workspace.files import read_csv, read_targets
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.runs.read import read_metrics
from agentkd.runs.shapes import CompetitionFigures
from agentkd.stats import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

LEAST = 3  # competitions: with two, a case has no peers
POISON = 0.25  # forged cases for each true one: a fifth of all
ARMS = ("experience", "shuffled", "flat", "poisoned", "flat-poisoned")


@dataclass(frozen=True)
class Replay:
    """A finished run that can be tried in other orders."""

    run: FinishedRun
    case: Case
    frames: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]
    seconds: Mapping[str, float]  # by candidate, in the order in which they were run
    scores: dict[frozenset[str], float] = field(default_factory=dict)

    def score(self, names: frozenset[str]) -> float:
        """The cross-validated score of the best blend of some candidates."""
        if names not in self.scores:
            workspace = self.run.workspace
            folds = read_csv(workspace / "maps" / "folds.csv")
            some = {name: self.frames[name] for name in self.seconds if name in names}
            blend = best_blend(self.run.setup, read_targets(workspace), folds, some, seed=self.run.config.seed)
            self.scores[names] = blend.score
        return self.scores[names]

    def time_to(self, target: float, order: Sequence[str]) -> float:
        """Seconds of candidates until the score so far is as good as the target."""
        spent, held = 0.0, set[str]()
        best: float | None = None
        for name in order:
            spent += self.seconds[name]
            held.add(name)
            now = self.score(frozenset(held))
            best = now if is_better(self.run.setup, now, best) else best
            if best is not None and not is_better(self.run.setup, target, best):
                return spent
        return spent


def bench_experience(runs: Sequence[Path], *, seed: int, out: Path | None) -> dict[str, Any]:
    """Replay runs of at least LEAST competitions; a row for each run and arm, and the means with their intervals.

    Raises UserError for fewer, and for runs that are not finished."""
    replays = [open_replay(folder) for folder in runs]
    competitions = sorted({replay.case.competition for replay in replays})
    if len(competitions) < LEAST:
        raise UserError(f"{len(competitions)} competitions are too few to leave one out: give runs of {LEAST} or more")
    rows = []
    for number, replay in enumerate(replays, 1):
        known = [Known(case=other.case) for other in replays if other.case.competition != replay.case.competition]
        target = replay.score(frozenset(replay.seconds))
        usual = list(replay.seconds)
        without = replay.time_to(target, usual)
        for arm in ARMS:
            advisors = advise(arm, known, replay.case.fingerprint, random.Random(f"{seed} {replay.case.key}"))
            order = order_by_experience(advisors, replay.seconds)
            took = replay.time_to(target, order)
            rows.append(
                {
                    "run": replay.case.source,
                    "competition": replay.case.title,
                    "arm": arm,
                    "order": order,
                    "seconds": round(took, 1),
                    "without": round(without, 1),
                    "ratio": took / without,
                }
            )
        say(f"replayed {replay.case.source} ({number} of {len(replays)}, {len(replay.scores)} blends)")
    report = {
        "competitions": len(competitions),
        "runs": len(replays),
        "seed": seed,
        "arms": [summarise(arm, rows, competitions, replays, seed) for arm in ARMS],
        "rows": rows,
    }
    if out is not None:
        write_atomically(out, json.dumps(report, indent=1) + "\n")
    return report


def open_replay(folder: Path) -> Replay:
    """A finished run with the predictions of its candidates. The first stays first, as in a run."""
    run = open_run(folder)
    metrics = read_metrics(folder, CompetitionFigures)
    names = [n for n, item in run.scored.items() if item.kind not in ("constant", "blend") and item.author == CODE]
    if len(names) < 2:
        raise UserError(f"{folder} has {len(names)} candidate with a score: nothing to put into another order")
    frames = {}
    for name in names:
        place = run.workspace / "candidates" / run.scored[name].folder
        frames[name] = read_csv(place / "oof.csv"), read_csv(place / "test.csv")
    weights = run.blend.get("weights", {}) if run.best == "blend" else {}
    case = Case(
        key=folder.name,
        competition=metrics["competition"],
        title=metrics["title"],
        source=folder.name,
        date="",
        fingerprint=Fingerprint.of(run.setup, len(read_targets(run.workspace))),
        trials=tuple(list_trials(run.setup, run.scored, weights, run.best)),
        seconds=metrics["seconds"],
    )
    return Replay(run, case, frames, {name: max(run.scored[name].seconds, 0.1) for name in names})


def advise(arm: str, known: Sequence[Known], fingerprint: Fingerprint, rng: random.Random) -> list[Advisor]:
    """The advisors of an arm."""
    if arm == "shuffled":
        known = [Known(case=deal_shares(item.case, rng)) for item in known]
    if arm.endswith("poisoned"):
        forged = rng.sample(list(known), math.ceil(POISON * len(known)))
        known = [*known, *(Known(case=forge(item.case)) for item in forged)]
    if arm.startswith("flat"):
        return [Advisor(item, 1.0) for item in known]
    return find_advisors(known, fingerprint)


def deal_shares(case: Case, rng: random.Random) -> Case:
    """The same case with the shares and qualities of its candidates dealt anew."""
    dealt = rng.sample(case.trials, len(case.trials))
    trials = [
        own.model_copy(update={"share": other.share, "quality": other.quality})
        for own, other in zip(case.trials, dealt, strict=True)
    ]
    return case.model_copy(update={"trials": tuple(trials)})


def forge(case: Case) -> Case:
    """A copy under another key in which the order of the candidates is turned around."""
    ranked = sorted(case.trials, key=lambda trial: trial.quality)
    values = sorted(((trial.quality, trial.share) for trial in case.trials), reverse=True)
    trials = [
        trial.model_copy(update={"quality": quality, "share": share})
        for trial, (quality, share) in zip(ranked, values, strict=True)
    ]
    return case.model_copy(update={"key": f"{case.key}-forged", "trials": tuple(trials)})


def summarise(
    arm: str, rows: Sequence[Mapping[str, Any]], competitions: Sequence[str], replays: Sequence[Replay], seed: int
) -> dict[str, Any]:
    """The geometric mean of time with over time without; the interval is over competitions, their runs averaged."""
    of = {replay.case.source: replay.case.competition for replay in replays}
    means = []
    for name in competitions:
        logs = [math.log(row["ratio"]) for row in rows if row["arm"] == arm and of[row["run"]] == name]
        means.append(sum(logs) / len(logs))
    low, high = bootstrap_interval(means, seed=seed)
    return {
        "arm": arm,
        "ratio": math.exp(sum(means) / len(means)),
        "low": math.exp(low),
        "high": math.exp(high),
        "sooner": sum(mean < -1e-9 for mean in means),
        "later": sum(mean > 1e-9 for mean in means),
    }


def print_experience(report: Mapping[str, Any]) -> None:
    """A line for each arm."""
    say(f"{report['runs']} runs of {report['competitions']} competitions, each without its own cases")
    for arm in report["arms"]:
        say(
            f"{arm['arm']:<14} time to the score without experience: {arm['ratio']:.2f} [{arm['low']:.2f}, "
            f"{arm['high']:.2f}] times · sooner in {arm['sooner']}, later in {arm['later']}"
        )
