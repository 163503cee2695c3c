"""Run candidates in the sandbox, check them, and score them by out-of-fold predictions.

Their printed output is ignored. The best one with a valid file is always in submission.csv."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.aside import call_aside
from agentkd.agents.agent_k.border import Refused, judge, read_left
from agentkd.agents.agent_k.contract import Failure, Setup
from agentkd.agents.agent_k.model.run_code import (
    bound_predictions,
    format_predictions,
    keep_work_folder,
    measure_predictions,
    read_predictions,
    run_failures,
)
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.results import (
    CODE,
    Best,
    CandidateRun,
    Failed,
    Result,
    Scored,
    first_score,
    gain,
    is_better,
)
from agentkd.agents.agent_k.scoring.judged import judged_rows
from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.agents.agent_k.scoring.truth import encode_targets, predict_constant
from agentkd.agents.agent_k.solvers.portfolio import CandidateSpec, build_portfolio
from agentkd.agents.agent_k.stages.experience import order_candidates
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.arrays import Array, load_data, rows_by_fold
from agentkd.agents.agent_k.workspace.checks import check_submission
from agentkd.agents.agent_k.workspace.files import read_targets, save_table
from agentkd.agents.agent_k.workspace.maps import hash_maps
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically
from agentkd.sandbox.remove import remove_folder
from agentkd.trace import Score, StageTest, Step, Verdict

if TYPE_CHECKING:
    import pandas as pd

DRAFT_SECONDS = 40.0  # for the first candidate: a valid file within a minute, whatever comes later
SOLVERS = "agentkd.agents.agent_k.solvers"
GRACE = 5.0  # seconds that a solver gets beyond 1.25 times its budget, since it may still be writing
LATE = 0.85  # share of its time limit that a solver is told to use: one that is stopped leaves nothing


def plan_candidates(bench: Workbench) -> list[CandidateSpec]:
    """Order the candidates by data size, the run's whole time and experience: a resumed run plans the same."""
    rows = len(read_targets(bench.workspace))
    return order_candidates(bench, build_portfolio(bench.setup, rows, bench.clock.seconds, bench.threads), rows)


def score_basis(run: StageRun) -> str:
    """The maps, and the metric's code if the model wrote one: scores compare within a basis."""
    return hash_maps(run.bench.workspace) + run.state.get("metric_code", "")


def begin_result(run: StageRun, author: str, folder: Path, kind: str) -> CandidateRun:
    """A candidate's result before it has a score or an error."""
    return CandidateRun(author=author, folder=folder.name, basis=score_basis(run), kind=kind)


async def run_candidate(
    run: StageRun, candidate: CandidateSpec, seconds: float, features: str = ""
) -> tuple[str, Result]:
    """Run a candidate, or read what an earlier run of it left; returns its name and its result.

    The solver writes to a work folder of its own, which its results are copied from; the rest lies outside it."""
    bench = run.bench
    name = candidate.name + ("+features" if features else "")
    spec = {
        "workspace": str(bench.workspace.resolve()),
        "kind": candidate.kind,
        "params": candidate.params,
        "seed": bench.seed,
        "threads": bench.threads,
        "features": str(Path(features).resolve()) if features else None,
    }
    folder = bench.workspace / "candidates" / f"{name}-{hash_maps(bench.workspace)}"
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    begun = begin_result(run, CODE, folder, candidate.kind)
    if not has_predictions(folder):
        within = round(min(seconds, LATE * bench.longest), 1)
        file = (folder / "spec.json").absolute()
        write_atomically(file, json.dumps(spec | {"seconds": within}))
        work = keep_work_folder(folder)
        read = [bench.workspace / "maps", bench.workspace / "data", *([Path(features).resolve()] if features else [])]
        outcome = await bench.run_module(
            SOLVERS,
            str(file),
            work=work.absolute(),
            read=[file, *(path.absolute() for path in read if path.exists())],
            seconds=min(1.25 * seconds + GRACE, max(bench.clock.left, 0.0) + bench.clock.reserve / 2),
        )
        write_atomically(folder / "log.txt", outcome.output)
        if failures := run_failures(outcome, "solve"):
            return name, Failed(**begun.model_dump(), error=failures[0].message)
        taken = await judge("solve", "predictions are files", partial(take_predictions, bench, folder, work))
        if isinstance(taken, Refused):
            return name, Failed(**begun.model_dump(), error=str(taken), seconds=round(time.monotonic() - start, 1))
    result = await score_folder(run, folder, begun)
    return name, result.model_copy(update={"seconds": round(time.monotonic() - start, 1)})


def has_predictions(folder: Path) -> bool:
    return (folder / "oof.csv").is_file() and (folder / "test.csv").is_file()


def take_predictions(bench: Workbench, folder: Path, work: Path) -> None:
    """Copy the predictions that a solver left in `work` to the candidate's folder, byte by byte, and remove `work`."""
    ids = load_data(bench.workspace).ids
    for split in ("test", "oof"):  # a candidate with both is done
        most = bound_predictions(bench.setup, ids[split]).bytes
        write_atomically(folder / f"{split}.csv", read_left(work, f"{split}.csv", most))
    remove_folder(work)


async def score_folder(run: StageRun, folder: Path, begun: CandidateRun) -> Result:
    """Check a candidate's predictions, and score those out of fold, in all and by fold.

    The result's `seconds` are 0. Raises UserError where the metric is undefined on the truth."""

    def fail(error: object) -> Failed:
        return Failed(**begun.model_dump(), error=str(error), seconds=0.0)

    bench = run.bench
    data, setup = load_data(bench.workspace), bench.setup
    truth, ids = data.targets, data.ids

    def look() -> pd.DataFrame:
        read_predictions(folder, "test.csv", setup, ids["test"], "test")
        return read_predictions(folder, "oof.csv", setup, ids["oof"], "oof")

    oof = await judge("solve", "predictions are valid", look)
    if isinstance(oof, Refused):
        return fail(oof)
    if code := run.state.get("metric_code"):
        rows = judged_rows(setup, data.fold)
        folder = bench.workspace / "code" / code
        values, _ = await measure_predictions(bench, folder, truth.iloc[rows], [oof.iloc[rows]])
        if isinstance(values, Refused):
            return fail(f"the metric's code gave no number: {values}")
        return Scored(**begun.model_dump(), score=values[0], folds=(), seconds=0.0)
    rows, parts = judged_rows(setup, data.fold), rows_by_fold(data)
    whole, by_fold = await call_aside(partial(score_folds, setup, truth, oof, rows, parts))
    if not math.isfinite(whole):
        return fail(f"{setup.metric} of these predictions is {whole}")
    return Scored(**begun.model_dump(), score=whole, folds=by_fold, seconds=0.0)


def score_folds(
    setup: Setup, truth: pd.DataFrame, oof: pd.DataFrame, judged: Array, folds: Sequence[Array]
) -> tuple[float, tuple[float | None, ...]]:
    """The score of the `judged` out-of-fold predictions, and by fold, None where a fold has none. Raises UserError."""
    found: list[float | None] = []
    for rows in folds:
        try:
            found.append(round(score(setup, truth.iloc[rows], oof.iloc[rows]), 6))
        except UserError:  # a fold of one class has no AUC
            found.append(None)
    return score(setup, truth.iloc[judged], oof.iloc[judged]), tuple(found)


async def make_constant(run: StageRun) -> Result:
    """Predict the class priors, or the median, for every row, as a candidate of last resort."""
    import pandas as pd

    workspace, setup = run.bench.workspace, run.bench.setup
    truth = read_targets(workspace)
    values = dict(zip(setup.predicted, predict_constant(setup, encode_targets(setup, truth)), strict=True))
    folder = workspace / "candidates" / f"constant-{hash_maps(workspace)}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, ids in (("oof.csv", list(truth["id"])), ("test.csv", load_data(workspace).test_ids)):
        frame = pd.DataFrame({"id": ids} | {name: [value] * len(ids) for name, value in values.items()})
        save_table(frame, folder / file)
    return await score_folder(run, folder, begin_result(run, CODE, folder, "constant"))


async def keep_best(
    run: StageRun, name: str, result: Result, best: Best | None, thresholds: Sequence[float] | None = None
) -> tuple[Best | None, Failure | None]:
    """Return the best so far, this candidate included, and why its file is not valid.

    If it is better and its file valid, submission.csv is replaced. `thresholds` are as
    `scoring.predictions.decide_labels` takes them."""
    bench = run.bench
    if isinstance(result, Failed) or not is_better(bench.setup, result.score, best.score if best else None):
        return best, None
    folder, ids = bench.workspace / "candidates" / result.folder, load_data(bench.workspace).test_ids
    test = await judge(
        "solve", "predictions are files", partial(read_predictions, folder, "test.csv", bench.setup, ids, "test")
    )
    if isinstance(test, Refused):
        bench.say(f"{name} has no valid predictions any more ({test})")
        return best, test.failures[0]
    file = bench.workspace / "submissions" / f"{result.folder}.csv"
    if failures := await write_checked(run, test, file, thresholds):
        bench.say(f"{name} gives no valid file ({failures[0].message})")
        return best, failures[0]
    bench.publish(file)
    return Best(name=name, score=result.score, file=file.name, form=run.state.get("format_code", "")), None


async def write_checked(
    run: StageRun, test: pd.DataFrame, file: Path, thresholds: Sequence[float] | None = None
) -> list[Failure]:
    """Write test predictions as a submission file, in the accepted form, and check it."""
    bench = run.bench
    file.parent.mkdir(parents=True, exist_ok=True)
    if code := run.state.get("format_code"):
        failures, _ = await format_predictions(bench, bench.workspace / "code" / code, test, file)
        return failures
    write_submission(test, bench.setup, bench.data, file, thresholds)
    found = await judge("format", "submission is a file", partial(check_submission, file, bench.setup, bench.data))
    return found.failures if isinstance(found, Refused) else found


def note_score(run: StageRun, name: str, result: Result, results: Mapping[str, Result], best: Best | None) -> None:
    """Record a candidate's outcome; its reward is its gain over the first of `results`."""
    bench, stage = run.bench, run.stage
    setup = bench.setup
    kind = f"{stage}.score"
    if isinstance(result, Failed):
        test = StageTest(name=f"candidate {name}", passed=False, detail=result.error[:500])
        verdict = Verdict(ok=False, rung=stage, reason=result.error[:300])
        run.note(Step(kind=kind, output=name, evidence=(test,), verdict=verdict))
        bench.say(f"{name}: failed, {result.error[:160]}")
        return
    first = first_score(results)
    reward = 0.0 if first is None else round(gain(setup, result.score, first), 6)
    mark = ", the best so far" if best and is_better(setup, result.score, best.score) else ""
    score = Score(metric=setup.metric, value=result.score, split="cv")
    run.note(Step(kind=kind, output=name, evidence=(score,), verdict=Verdict(ok=True, rung=stage), reward=reward))
    bench.say(
        f"{name}: {setup.metric} {result.score:.5f} by cross-validation in {result.seconds:.0f} s{mark}"
        f" · {max(bench.clock.left, 0):.0f} s left"
    )
