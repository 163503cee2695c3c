"""A submission graded on a competition's hidden answers, and its place on the real leaderboard.

A competition is a folder with competition.json (metric, ids, targets), private/solution.csv (`id`, targets, `Usage` of
Public or Private) and, where a real board is known, leaderboard.csv (`score`). Nothing else may read private/: agents,
prompts and sandboxes get public/ alone. Every grading is appended to a log, because a score that was looked at often
enough is no longer a test's.

- percentile: 100 − 100 · |{i: s_i better}| / N, over the board's N teams (arXiv:2411.03562, appendix of Agent K v1)
- medal: Kaggle's rule for the number of teams, as mle-bench writes it (arXiv:2410.07095, table 1); without a board,
  from the thresholds in competition.json"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.scorer import codes, score
from agentkd.errors import UserError
from agentkd.runs.disk import hash_file

if TYPE_CHECKING:
    import pandas as pd

Medal = Literal["gold", "silver", "bronze"]
LOG = "gradings.jsonl"


@dataclass(frozen=True)
class Grade:
    """`invalid` says why a submission has no scores. `overall` is the score on all rows; the place on the board is that
    of `overall`, because the boards that are known here were made of all rows (titanic's scores are whole 418ths)."""

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
        result = _grade(competition, facts, submission)
    except Invalid as error:
        result = Grade(facts["slug"], False, invalid=str(error))
    row = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "file": submission.name}
    row |= {"sha256": hash_file(submission) if submission.is_file() else ""}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(json.dumps(row | asdict(result)) + "\n")
    return result


class Invalid(Exception):
    """What is wrong with a submission."""


def read_facts(competition: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((competition / "competition.json").read_text())
        missing = [key for key in ("slug", "metric", "id", "task", "targets") if key not in facts]
    except (OSError, ValueError) as error:
        raise UserError(f"{competition} is no competition: its competition.json cannot be read ({error})") from None
    if missing:
        raise UserError(f"{competition}/competition.json lacks '{missing[0]}'")
    if facts["metric"] not in METRICS:
        raise UserError(f"{competition}/competition.json names the unknown metric '{facts['metric']}'")
    return facts


def _grade(competition: Path, facts: dict[str, Any], submission: Path) -> Grade:
    solution = _read(competition / "private" / "solution.csv")
    sample = _read(competition / "public" / "sample_submission.csv")
    name = facts["id"]
    outputs = [column for column in sample.columns if column != name]
    answers = [column for column in solution.columns if column not in (name, "Usage")]
    given = check(submission, name, list(sample.columns), list(solution[name]))
    given = given.set_index(name).loc[list(solution[name])].reset_index()
    if facts["metric"] == "map@k":
        most = max(len(cell.split()) for cell in sample[outputs[0]])
        scored = _by_rank(given[outputs[0]], solution[answers[0]], most)
    else:
        scored = _by_metric(facts, outputs, answers, solution, sample, given)
    usage = solution["Usage"] if "Usage" in solution.columns else ["Private"] * len(solution)
    scores: dict[str, float | None] = {}
    try:
        for part in ("Public", "Private", "all"):
            rows = [i for i, word in enumerate(usage) if part in ("all", word)]
            scores[part] = scored(rows) if rows else None
    except UserError as error:
        raise Invalid(str(error)) from None
    result = scores["all"]
    assert result is not None  # a solution has rows
    lower = METRICS[facts["metric"]].lower_is_better
    board = read_board(competition / "leaderboard.csv")
    limits = facts.get("thresholds") or {}
    q = percentile(result, board, lower) if board else None
    median = limits.get("median")
    above = None if median is None else (result < median if lower else result > median)
    given_medal = medal(result, board, lower) if board else medal_by_thresholds(result, limits, lower)
    return Grade(facts["slug"], True, "", facts["metric"], scores["Public"], scores["Private"], result, q,
                 given_medal, above)  # fmt: skip


def _by_metric(
    facts: dict[str, Any], outputs: list[str], answers: list[str], solution: pd.DataFrame, sample: pd.DataFrame,
    given: pd.DataFrame,
) -> Callable[[list[int]], float]:  # fmt: skip
    """The score of some rows."""
    labels: set[str] = set()
    if METRICS[facts["metric"]].needs == "label":
        labels = _worded(given[outputs[0]], solution[answers[0]])
        labels = set(sample[outputs[0]]) if facts["task"] == "binary" else labels
    setup = _setup(facts, outputs, answers, solution, labels)
    truth, predictions = _truth(setup, solution, facts["id"]), _predictions(setup, given, facts["id"])
    return lambda rows: score(setup, truth.iloc[rows], predictions.iloc[rows])


def _by_rank(given: pd.Series[Any], truth: pd.Series[Any], most: int) -> Callable[[list[int]], float]:
    """MAP@k of cells with up to `most` classes, one true: 1 over the first place that it has in its cell, or 0."""
    places = [cell.split()[:most] for cell in given]
    hits = [1 / (words.index(true) + 1) if true in words else 0.0 for words, true in zip(places, truth, strict=True)]
    return lambda rows: sum(hits[row] for row in rows) / len(rows)


def check(submission: Path, name: str, columns: list[str], ids: list[str]) -> pd.DataFrame:
    """The submission as text. Raises Invalid."""
    try:
        given = _read(submission)
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


def _setup(
    facts: dict[str, Any], outputs: list[str], answers: list[str], solution: pd.DataFrame, labels: set[str]
) -> Setup:
    """What scoring has to know. Classes with a column each (of the solution or the sample) are those columns; `labels`
    are further classes: an answer that no true row has is wrong, and not invalid."""
    classes: tuple[str, ...] = ()
    if facts["task"] in ("binary", "multiclass"):
        one_column = len(answers) == 1
        classes = tuple(sorted(set(solution[answers[0]]) | set(labels))) if one_column else tuple(answers)
        if one_column and len(outputs) > 1:
            classes = tuple(outputs)
    metric = METRICS[facts["metric"]]
    return Setup(
        train="", test="", sample="", id=facts["id"], outputs=tuple(outputs), task=facts["task"], classes=classes,
        targets=tuple(answers) if facts["task"] in ("multilabel", "regression") else ("target",),
        output=metric.needs, metric=metric.name, lower_is_better=metric.lower_is_better,
    )  # fmt: skip


def _truth(setup: Setup, solution: pd.DataFrame, name: str) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    answers = [column for column in solution.columns if column not in (name, "Usage")]
    frame = pd.DataFrame({"id": solution[name]})
    if setup.task in ("multilabel", "regression"):
        return frame.join(solution[answers])
    if len(answers) == 1:
        frame["target"] = solution[answers[0]].to_numpy()
    else:  # one column of 0 and 1 for each class
        hot = solution[answers].astype(np.float64).to_numpy()
        frame["target"] = np.array(answers, dtype=object)[hot.argmax(axis=1)]
    return frame


def _predictions(setup: Setup, given: pd.DataFrame, name: str) -> pd.DataFrame:
    """The submission as a prediction file: labels are certain."""
    import pandas as pd

    frame = pd.DataFrame({"id": given[name]})
    if setup.output == "label" and setup.task in ("binary", "multiclass"):
        try:
            places = codes(setup, given[setup.outputs[0]])
        except UserError as error:
            raise Invalid(str(error)) from None
        for place, label in enumerate(setup.classes):
            frame[label] = (places == place).astype(float)
        return frame
    for output, predicted in zip(_columns_for(setup), setup.predicted, strict=True):
        values = pd.to_numeric(given[output], errors="coerce")
        if values.isna().any():
            raise Invalid(f"'{given[output][values.isna()].iloc[0]}' in column '{output}' is no number")
        frame[predicted] = values
    if setup.task == "binary" and len(setup.outputs) == 1:
        frame[setup.classes[0]] = 1 - frame[setup.classes[1]]
    return frame


def _columns_for(setup: Setup) -> tuple[str, ...]:
    if setup.task == "binary" and len(setup.outputs) == 1:
        return setup.outputs * 2  # the positive class's probability
    return setup.predicted if set(setup.predicted) <= set(setup.outputs) else setup.outputs


def _worded(given: pd.Series[Any], truth: pd.Series[Any]) -> set[str]:
    """The given labels that are none of the truth's, however those are written (1.0 for 1)."""
    words, numbers = set(truth), {_as_number(word) for word in truth}
    return {word for word in set(given) if word not in words and _as_number(word) not in numbers}


def _as_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except OSError as error:
        raise UserError(f"cannot read {path.name}: {error.strerror or error}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is no CSV file ({str(error).splitlines()[0]})") from None


# --- the board --------------------------------------------------------------------------------------------------------


def read_board(path: Path) -> list[float]:
    """The teams' scores; none where there is no file."""
    if not path.exists():
        return []
    frame = _read(path)
    if "score" not in frame.columns:
        raise UserError(f"{path.name} has no column 'score'")
    return [float(value) for value in frame["score"]]


def percentile(value: float, board: list[float], lower_is_better: bool) -> float:
    return 100 - 100 * _ahead(value, board, lower_is_better) / len(board)


def _ahead(value: float, board: list[float], lower_is_better: bool) -> int:
    """Teams that are strictly better. A board shows five digits: a score is compared as the board would show it."""
    shown = round(value, 5)
    return sum(1 for other in board if (other < shown if lower_is_better else other > shown))


def medal(value: float, board: list[float], lower_is_better: bool) -> Medal | None:
    """By rank among N teams. Gold: top 10 % of fewer than 100, 10 teams of 100–249, else 10 + 0.2 %; silver: 20 % of
    fewer than 250, 50 teams of 250–999, else 5 %; bronze: 40 % of fewer than 250, 100 teams of 250–999, else 10 %."""
    rank, teams = _ahead(value, board, lower_is_better) + 1, len(board)
    for name, last in medal_ranks(teams).items():
        if rank <= last:
            return name
    return None


def medal_ranks(teams: int) -> dict[Medal, int]:
    """The last rank that gets each medal; at least the first gets gold."""
    if teams < 100:
        ranks = (max(1, int(teams * 0.1)), int(teams * 0.2), int(teams * 0.4))
    elif teams < 250:
        ranks = (10, int(teams * 0.2), int(teams * 0.4))
    elif teams < 1000:
        ranks = (10 + int(teams * 0.002), 50, 100)
    else:
        ranks = (10 + int(teams * 0.002), int(teams * 0.05), int(teams * 0.1))
    return {"gold": ranks[0], "silver": ranks[1], "bronze": ranks[2]}


def medal_by_thresholds(value: float, thresholds: dict[str, Any], lower_is_better: bool) -> Medal | None:
    names: tuple[Medal, ...] = ("gold", "silver", "bronze")
    for name in names:
        limit = thresholds.get(name)
        if limit is not None and (round(value, 5) <= limit if lower_is_better else round(value, 5) >= limit):
            return name
    return None
