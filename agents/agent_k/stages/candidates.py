"""Candidates: run in the sandbox, checked, and scored here, from their out-of-fold predictions, never by what they
print. The best one with a valid file is always in submission.csv."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.context import CODE, Around, State
from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.model.coding import Work
from agentkd.agents.agent_k.model.run_code import format_predictions, measure_predictions, read_output, run_failures
from agentkd.agents.agent_k.scoring.scorer import known, score, true_values
from agentkd.agents.agent_k.solvers import Candidate, portfolio
from agentkd.agents.agent_k.workspace.checks import Failure, check_predictions, check_submission
from agentkd.agents.agent_k.workspace.files import load, rows_by_fold
from agentkd.agents.agent_k.workspace.maps import maps_hash, read_targets, save
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically
from agentkd.trace import Score, StageTest, Step, Verdict

if TYPE_CHECKING:
    import pandas as pd

SOLVE = "agentkd.agents.agent_k.solvers"
GRACE = 5.0  # seconds, and a quarter more than its budget: a solver that keeps to it may still be busy writing
LATE = 0.85  # of the longest that a solver may take is what it is told: stopped for being late, it leaves nothing


def plan(around: Around, setup: Setup) -> list[Candidate]:
    """What is run in which order: of the data's size and the run's whole time, so a resumed run has the same plan."""
    rows = len(read_targets(around.workspace))
    return portfolio(setup, rows, around.clock.seconds, around.threads)


def basis(around: Around, state: State) -> str:
    """What scores may be compared within: the maps, and the metric's code where the model has written one."""
    return maps_hash(around.workspace) + state.get("metric_code", "")


async def run_candidate(
    around: Around, state: State, candidate: Candidate, seconds: float, features: str = ""
) -> tuple[str, dict[str, Any]]:
    """Run a spec, or read what it left before; returns its name and {folder, score, folds, …} or {error}."""
    name = candidate.name + ("+features" if features else "")
    spec = {
        "workspace": str(around.workspace.resolve()),
        "kind": candidate.kind,
        "params": candidate.params,
        "seed": around.config.seed,
        "threads": around.threads,
        "features": str(Path(features).resolve()) if features else None,
    }
    folder = around.workspace / "candidates" / f"{name}-{maps_hash(around.workspace)}"
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    found: dict[str, Any] = {
        "author": CODE, "folder": folder.name, "basis": basis(around, state), "kind": candidate.kind
    }  # fmt: skip
    if not complete(folder):
        within = round(min(seconds, LATE * around.longest), 1)
        write_atomically(folder / "spec.json", json.dumps(spec | {"seconds": within}))
        read = [around.workspace / "maps", around.workspace / "data", *([Path(features).resolve()] if features else [])]
        outcome = await around.in_sandbox(SOLVE, "spec.json", work=folder.resolve(),
                                          read=[path.absolute() for path in read if path.exists()],
                                          seconds=1.25 * seconds + GRACE)  # fmt: skip
        (folder / "log.txt").write_text(outcome.output)
        if failures := run_failures(outcome, "solve"):
            return name, found | {"error": failures[0].message}
    scored = await score_folder(around, state, folder)
    return name, found | scored | {"seconds": round(time.monotonic() - start, 1)}


def complete(folder: Path) -> bool:
    return (folder / "oof.csv").is_file() and (folder / "test.csv").is_file()


async def score_folder(around: Around, state: State, folder: Path) -> dict[str, Any]:
    """Our own score of a candidate's out-of-fold predictions, in all and fold by fold; {error} where a file fails."""
    setup, truth = around.setup, read_targets(around.workspace)
    ids = {"oof": list(truth["id"]), "test": load(around.workspace).test_ids}
    frames = {}
    for split in ("oof", "test"):
        try:
            frames[split] = read_output(folder, f"{split}.csv")
        except (UserError, OSError, ValueError) as error:
            return {"error": f"{split}.csv: {error}"}
        if failures := check_predictions(frames[split], setup, ids[split], split):
            return {"error": failures[0].message}
    if code := state.get("metric_code"):
        values, _ = await measure_predictions(around, around.workspace / "code" / code, truth, [frames["oof"]])
        if not values:
            return {"error": "the metric's code gave no number"}
        return {"score": values[0], "folds": []}
    each: list[float | None] = []
    for rows in rows_by_fold(around.workspace):
        try:
            each.append(round(score(setup, truth.iloc[rows], frames["oof"].iloc[rows]), 6))
        except UserError:  # a fold of one class has no AUC
            each.append(None)
    return {"score": score(setup, truth, frames["oof"]), "folds": each}


async def constant(around: Around, state: State) -> dict[str, Any]:
    """The priors of the classes, or the median: what can always be submitted."""
    import pandas as pd

    setup, truth = around.setup, read_targets(around.workspace)
    if setup.task in ("binary", "multiclass"):
        share = truth[setup.targets[0]].value_counts(normalize=True)
        values = {
            column: float(share.get(name, 0.0)) for column, name in zip(setup.predicted, setup.classes, strict=True)
        }
    else:
        numbers = pd.DataFrame(true_values(setup, truth), columns=list(setup.targets))
        numbers = numbers.where(known(numbers.to_numpy()))
        values = dict((numbers.mean() if setup.task == "multilabel" else numbers.median()).astype(float))
    folder = around.workspace / "candidates" / f"constant-{maps_hash(around.workspace)}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, ids in (("oof.csv", list(truth["id"])), ("test.csv", load(around.workspace).test_ids)):
        frame = pd.DataFrame({"id": ids} | {name: [value] * len(ids) for name, value in values.items()})
        save(frame, folder / file)
    found = {"author": CODE, "folder": folder.name, "basis": basis(around, state), "kind": "constant", "seconds": 0.0}
    return found | await score_folder(around, state, folder)


def is_better(setup: Setup, one: float, other: float | None) -> bool:
    return other is None or (one < other if setup.lower_is_better else one > other)


def gain(setup: Setup, one: float, other: float) -> float:
    """How much better one is than the other, positive for better whatever the metric's direction."""
    return other - one if setup.lower_is_better else one - other


def first_score(candidates: Mapping[str, dict[str, Any]]) -> float | None:
    """The score that gains are counted from: that of the first candidate with one."""
    return next((item["score"] for item in candidates.values() if "score" in item), None)


async def better(
    around: Around, state: State, name: str, found: dict[str, Any], thresholds: Sequence[float] | None = None
) -> tuple[dict[str, Any], Failure | None]:
    """The best so far with this candidate: where it is better and its file valid, submission.csv is replaced.
    `thresholds`: of scoring.labels."""
    best = dict(state.get("best", {}))
    if "error" in found or not is_better(around.setup, found["score"], best.get("score")):
        return best, None
    test = read_output(around.workspace / "candidates" / found["folder"], "test.csv")
    file = around.workspace / "submissions" / f"{found['folder']}.csv"
    failures = await write_checked(around, state, test, file, thresholds)
    if failures:
        around.say(f"{name} gives no valid file ({failures[0].message})")
        return best, failures[0]
    write_atomically(around.run / "submission.csv", file.read_text())
    return {"name": name, "score": found["score"], "file": file.name, "form": state.get("format_code", "")}, None


async def write_checked(
    around: Around, state: State, test: pd.DataFrame, file: Path, thresholds: Sequence[float] | None = None
) -> list[Failure]:
    """Test predictions as a checked submission file, by the accepted form."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if code := state.get("format_code"):
        failures, _ = await format_predictions(around, around.workspace / "code" / code, test, file)
        return failures
    write_submission(test, around.setup, around.source.data, file, thresholds)
    return check_submission(file, around.setup, around.source.data)


def note_score(
    work: Work, around: Around, stage: str, name: str, found: dict[str, Any], candidates: dict[str, Any],
    best: dict[str, Any],
) -> None:  # fmt: skip
    """A candidate's outcome as a step; its reward is what it gained over the first one."""
    setup = around.setup
    if "error" in found:
        evidence: tuple[Any, ...] = (StageTest(name=f"candidate {name}", passed=False, detail=found["error"][:500]),)
        work.note(Step(kind=f"{stage}.score", output=name, evidence=evidence,
                       verdict=Verdict(ok=False, rung=stage, reason=found["error"][:300])))  # fmt: skip
        around.say(f"{name}: failed, {found['error'][:160]}")
        return
    first = first_score(candidates)
    reward = 0.0 if first is None else round(gain(setup, found["score"], first), 6)
    mark = "" if not best or not is_better(setup, found["score"], best.get("score")) else ", the best so far"
    score = Score(metric=setup.metric, value=found["score"], split="cv")
    verdict = Verdict(ok=True, rung=stage)
    work.note(Step(kind=f"{stage}.score", output=name, evidence=(score,), verdict=verdict, reward=reward))
    around.say(f"{name}: {setup.metric} {found['score']:.5f} by cross-validation in {found['seconds']:.0f} s{mark}"
               f" · {max(around.clock.left, 0):.0f} s left")  # fmt: skip
