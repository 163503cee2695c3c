"""Grade a submission on a competition's hidden answers, and place it on the real leaderboard.

A competition is a folder with competition.json (metric, ids, targets), private/solution.csv (`id`, targets, `Usage` of
Public or Private) and, where the real board is known, leaderboard.csv (`score`). Nothing else may read private/:
agents, prompts and sandboxes get public/ alone. Every grading is appended to a log, because a score that was looked at
often enough is no longer a test score.

The grader shares no code with the agent that it grades: metrics and the reading of answers are its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.errors import UserError
from agentkd.eval.competition_answers import USAGE, find_form, read_predictions, read_table, score_rows
from agentkd.eval.competition_metrics import MAP_AT_K, METRICS, map_at_k
from agentkd.eval.leaderboard import Medal, medal_by_rank, medal_by_thresholds, percentile, read_board
from agentkd.runs.disk import hash_file

if TYPE_CHECKING:
    import pandas as pd

LOG = "gradings.jsonl"


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


def grade(competition: Path, submission: Path, log: Path) -> Grade:
    """Grade a file, and append the grading to `log` (JSON lines: time, sha256, competition, scores).

    Raises UserError where the competition itself is at fault; a submission's faults are in the grade."""
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
    """Read competition.json. Raises UserError where it lacks something or names an unknown metric."""
    try:
        facts: dict[str, Any] = json.loads((competition / "competition.json").read_text())
        missing = [key for key in ("slug", "metric", "id", "task", "targets") if key not in facts]
    except (OSError, ValueError) as error:
        raise UserError(f"{competition} is no competition: its competition.json cannot be read ({error})") from None
    if missing:
        raise UserError(f"{competition}/competition.json lacks '{missing[0]}'")
    if facts["metric"] not in (*METRICS, MAP_AT_K):
        raise UserError(f"{competition}/competition.json names the unknown metric '{facts['metric']}'")
    return facts


def grade_submission(competition: Path, facts: dict[str, Any], submission: Path) -> Grade:
    """Grade a file without logging it.

    Raises Invalid for a faulty submission, UserError for a faulty competition.
    """
    solution = read_table(competition / "private" / "solution.csv")
    sample = read_table(competition / "public" / "sample_submission.csv")
    name = facts["id"]
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
    board = read_board(competition / "leaderboard.csv")
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
    form = find_form(facts, METRICS[facts["metric"]], sample, solution, given)
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


def read_submission(submission: Path, name: str, columns: list[str], ids: list[str]) -> pd.DataFrame:
    """Read a submission as text. Raises Invalid where columns or ids are not those wanted, or a cell is empty."""
    try:
        given = read_table(submission)
    except UserError as error:
        raise Invalid(str(error)) from None
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
