"""Grade a submission on a competition's hidden answers, and place it on the real leaderboard.

A competition is a folder with competition.json (metric, ids, targets), private/solution.csv (`id`, targets, `Usage` of
Public or Private) and, where the real board is known, leaderboard.csv (`score`); docs/kaggle.md describes it. A table
of true answers with a metric will do, too. Nothing else may read private/:
agents, prompts and sandboxes get public/ alone. Every grading is appended to a log, because a score that was looked at
often enough is no longer a test score.

The grader shares no code with the agent that it grades: metrics and the reading of answers are its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.errors import UserError, did_you_mean, unknown_name
from agentkd.eval.competition_answers import USAGE, find_form, read_predictions, read_table, score_rows
from agentkd.eval.competition_metrics import MAP_AT_K, METRICS, cost, map_at_k, pinball
from agentkd.eval.hold_out import guess_task
from agentkd.eval.leaderboard import Medal, medal_by_rank, medal_by_thresholds, percentile, read_board
from agentkd.runs.disk import hash_file

if TYPE_CHECKING:
    import pandas as pd

LOG = "gradings.jsonl"
NEEDED = ("slug", "metric", "id", "task", "targets")  # of competition.json
TASKS = ("binary", "multiclass", "multilabel", "regression")
SPELLINGS = {  # of metrics in competition.json, as pages and other tools write them
    "mean_column_auc": "mean_columnwise_auc",
    "mean_column_rmse": "mean_columnwise_rmse",
    "mcrmse": "mean_columnwise_rmse",
    "roc_auc": "auc",
    "log_loss": "logloss",
    "multiclass_log_loss": "multiclass_logloss",
    "quadratic_weighted_kappa": "qwk",
    "quadratic_kappa": "qwk",
    "root_mean_squared_error": "rmse",
    "root_mean_squared_log_error": "rmsle",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
    "macro_f1": "f1_macro",
    "micro_f1": "f1_micro",
}


@dataclass(frozen=True)
class Grade:
    """A submission's scores and its place on the board; `invalid` says why it has none.

    `overall` is the score on all rows. The place is that of `overall`, because the boards known here were made of all
    rows (titanic's scores are whole 418ths)."""

    competition: str
    valid: bool
    invalid: str = ""
    metric: str = ""
    public: float | None = None
    private: float | None = None
    overall: float | None = None
    percentile: float | None = None
    medal: Medal | None = None
    above_median: bool | None = None


def grade(competition: Path, submission: Path, log: Path, metric: str = "") -> Grade:
    """Grade a file, and append the grading to `log` (JSON lines: time, sha256, competition, scores).

    `competition` is a folder, or a table of true answers, which needs a `metric`. Raises UserError where the
    competition itself is at fault; a submission's faults are in the grade."""
    if competition.is_file():
        facts = read_answers_facts(competition, submission, metric)
    elif metric:
        raise UserError(f"{competition} names its metric in competition.json: leave --metric out")
    else:
        facts = read_facts(competition)
    try:
        result = grade_submission(competition, facts, submission)
    except Invalid as error:
        result = Grade(facts["slug"], False, invalid=str(error))
    row = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "file": submission.name}
    row |= {"sha256": hash_file(submission) if submission.is_file() else ""}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(json.dumps(row | asdict(result)) + "\n")
    return result


class Invalid(Exception):
    """A fault of a submission, in words."""


def read_facts(competition: Path) -> dict[str, Any]:
    """Read competition.json. Raises UserError where it lacks something, or names an unknown metric or task."""
    path = competition / "competition.json"
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        missing = [key for key in NEEDED if key not in facts]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{competition} is no competition: its competition.json cannot be read ({error}); docs/kaggle.md (Grading) "
            f"has its form, and agentkd kaggle hold-out makes one"
        ) from None
    if missing:
        raise UserError(f"{path} lacks {', '.join(map(repr, missing))}: docs/kaggle.md (Grading) has its form")
    facts["metric"] = read_metric(str(facts["metric"]), path)
    if facts["task"] not in TASKS:
        raise unknown_name("task", str(facts["task"]), TASKS, f" (in {path})")
    return facts


def read_metric(name: str, source: object) -> str:
    """The grader's name of a metric. Raises UserError for an unknown one, with the nearest."""
    found = SPELLINGS.get(name.lower().replace("-", "_").replace(" ", "_"), name)
    if found not in (*METRICS, MAP_AT_K):
        near = did_you_mean(name, (*METRICS, MAP_AT_K, *SPELLINGS))
        raise UserError(f"unknown metric '{name}' in {source}{near or '; the metrics are ' + ', '.join(METRICS)}")
    return found


def read_answers_facts(answers: Path, submission: Path, metric: str) -> dict[str, Any]:
    """The facts of a table of true answers: its id is the submission's first column, the others are the targets.

    Raises UserError where it has no such column, or answers that the metric is not for."""
    if not metric:
        raise UserError(f"{answers} says no metric: add --metric NAME, one of {', '.join(METRICS)}")
    metric = read_metric(metric, "--metric")
    table, given = read_table(answers), read_table(submission)
    name = str(given.columns[0])
    if name not in table.columns:
        raise UserError(f"{answers} lacks the submission's first column '{name}': both need the ids, under one name")
    targets = [str(column) for column in table.columns if column not in (name, USAGE)]
    if not targets:
        raise UserError(f"{answers} has no column but '{name}': add the true answers")
    task = "multiclass" if metric == MAP_AT_K else guess_task(metric, table[targets])
    return {"slug": answers.stem, "metric": metric, "id": name, "task": task, "targets": targets}


def grade_submission(competition: Path, facts: dict[str, Any], submission: Path) -> Grade:
    """Grade a file without logging it.

    Raises Invalid for a faulty submission, UserError for a faulty competition.
    """
    name = facts["id"]
    if competition.is_file():
        solution, sample = read_table(competition), read_given(submission)
    else:
        solution = read_table(competition / "private" / "solution.csv")
        sample = read_table(competition / "public" / "sample_submission.csv")
        for place, table in (("private/solution.csv", solution), ("public/sample_submission.csv", sample)):
            if name not in table.columns:
                raise UserError(f"{competition}/{place} lacks the column of ids '{name}' that competition.json names")
    given = read_submission(submission, name, list(sample.columns), list(solution[name]))
    given = given.set_index(name).loc[list(solution[name])].reset_index()
    score = make_rows_scorer(facts, sample, solution, given)
    usage = solution[USAGE] if USAGE in solution.columns else ["Private"] * len(solution)
    scores: dict[str, float | None] = {}
    try:
        for part in ("Public", "Private", "all"):
            rows = [row for row, word in enumerate(usage) if part in ("all", word)]
            scores[part] = score(rows) if rows else None
    except UserError as error:
        raise Invalid(str(error)) from None
    result = scores["all"]
    assert result is not None  # a solution has rows
    lower = facts["metric"] != MAP_AT_K and METRICS[facts["metric"]].lower_is_better
    board = read_board(competition / "leaderboard.csv") if competition.is_dir() else []
    limits = facts.get("thresholds") or {}
    median = limits.get("median")
    return Grade(
        competition=facts["slug"],
        valid=True,
        metric=facts["metric"],
        public=scores["Public"],
        private=scores["Private"],
        overall=result,
        percentile=percentile(result, board, lower) if board else None,
        medal=medal_by_rank(result, board, lower) if board else medal_by_thresholds(result, limits, lower),
        above_median=None if median is None else (result < median if lower else result > median),
    )


def make_rows_scorer(
    facts: dict[str, Any], sample: pd.DataFrame, solution: pd.DataFrame, given: pd.DataFrame
) -> Callable[[list[int]], float]:
    """Return the function that scores some rows. All three frames are text; `given` has the solution's rows.

    Raises Invalid for a submission that cannot be read; the function raises UserError."""
    if facts["metric"] == MAP_AT_K:
        return make_ranks_scorer(facts, sample, solution, given)
    if facts["metric"] == "pinball" and facts.get("quantiles"):
        return make_quantiles_scorer(facts, sample, solution, given)
    metric = METRICS[facts["metric"]]
    if metric.name == "cost" and (prices := {name: facts[name] for name in ("miss", "alarm") if name in facts}):
        metric = replace(metric, function=partial(cost, **prices))
    form = find_form(facts, metric, sample, solution, given)
    try:
        predicted = read_predictions(form, given)
    except UserError as error:
        raise Invalid(str(error)) from None
    return lambda rows: score_rows(form, solution.iloc[rows], predicted[rows])


def make_ranks_scorer(
    facts: dict[str, Any], sample: pd.DataFrame, solution: pd.DataFrame, given: pd.DataFrame
) -> Callable[[list[int]], float]:
    """Return the function that scores some rows by MAP@k.

    Each cell holds up to k classes, of which one is true; k is the largest number that a cell of the sample has.
    """
    output = next(column for column in sample.columns if column != facts["id"])
    answer = next(column for column in solution.columns if column not in (facts["id"], USAGE))
    k = max(len(cell.split()) for cell in sample[output])
    cells, truth = [cell.split()[:k] for cell in given[output]], list(solution[answer])
    return lambda rows: map_at_k([cells[row] for row in rows], [truth[row] for row in rows])


def make_quantiles_scorer(
    facts: dict[str, Any], sample: pd.DataFrame, solution: pd.DataFrame, given: pd.DataFrame
) -> Callable[[list[int]], float]:
    """Return the function that scores some rows by the mean pinball loss of several quantiles of one target.

    A column of the sample is the quantile of its place in `quantiles` of competition.json. Raises UserError where their
    numbers differ, and Invalid for a cell that is no number."""
    import pandas as pd

    outputs = [column for column in sample.columns if column != facts["id"]]
    if len(outputs) != len(facts["quantiles"]):
        raise UserError(
            f"competition.json has {len(facts['quantiles'])} quantiles for {len(outputs)} columns of the sample"
        )
    values = given[outputs].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise Invalid("a predicted quantile is no finite number")
    truth = solution[facts["targets"][0]].astype(float).to_numpy()
    levels = list(enumerate(facts["quantiles"]))
    return lambda rows: float(np.mean([pinball(truth[rows], values[rows, place], level) for place, level in levels]))


def read_given(submission: Path) -> pd.DataFrame:
    """A submission as text. Raises Invalid where it is no table."""
    try:
        return read_table(submission)
    except UserError as error:
        raise Invalid(str(error)) from None


def read_submission(submission: Path, name: str, columns: list[str], ids: list[str]) -> pd.DataFrame:
    """Read a submission as text. Raises Invalid where columns or ids are not those wanted, or a cell is empty."""
    given = read_given(submission)
    if list(given.columns) != columns:
        raise Invalid(f"its columns are {', '.join(given.columns)}, not {', '.join(columns)}")
    if given[name].duplicated().any():
        raise Invalid(f"the id '{given[name][given[name].duplicated()].iloc[0]}' stands there twice")
    if lacking := sorted(set(ids) - set(given[name])):
        raise Invalid(f"it lacks {len(lacking)} of {len(ids)} ids, the first is '{lacking[0]}'")
    if extra := sorted(set(given[name]) - set(ids)):
        raise Invalid(f"it has {len(extra)} unknown ids, the first is '{extra[0]}'")
    for column in columns:
        if (given[column] == "").any():
            raise Invalid(f"column '{column}' has {int((given[column] == '').sum())} empty values")
    return given
