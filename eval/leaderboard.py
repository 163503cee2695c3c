"""Percentiles and medals: the place of a score on a competition's leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from agentkd.errors import UserError
from agentkd.eval.competition_answers import read_table

Medal = Literal["gold", "silver", "bronze"]


def read_board(path: Path) -> list[float]:
    """Read the teams' scores; empty where there is no file."""
    if not path.exists():
        return []
    frame = read_table(path)
    if "score" not in frame.columns:
        raise UserError(f"{path.name} has no column 'score'")
    return [float(value) for value in frame["score"]]


def percentile(value: float, board: list[float], lower_is_better: bool) -> float:
    """Return 100 - 100 times the share of teams that are strictly better (arXiv:2411.03562, appendix)."""
    return 100 - 100 * count_teams_ahead(value, board, lower_is_better) / len(board)


def count_teams_ahead(value: float, board: list[float], lower_is_better: bool) -> int:
    """Count the teams that are strictly better, with the score rounded to five digits, as a board shows it."""
    shown = round(value, 5)
    return sum(1 for other in board if (other < shown if lower_is_better else other > shown))


def medal_by_rank(value: float, board: list[float], lower_is_better: bool) -> Medal | None:
    """Return the medal of a score by its rank among the teams."""
    rank, teams = count_teams_ahead(value, board, lower_is_better) + 1, len(board)
    for name, last in medal_ranks(teams).items():
        if rank <= last:
            return name
    return None


def medal_ranks(teams: int) -> dict[Medal, int]:
    """Return the last rank that gets each medal; at least the first rank has one.

    Kaggle's rule as in MLE-bench (arXiv:2410.07095, table 1), by number of teams:

    - gold: 10 % of fewer than 100, 10 teams of 100-249, else 10 + 0.2 %
    - silver: 20 % of fewer than 250, 50 teams of 250-999, else 5 %
    - bronze: 40 % of fewer than 250, 100 teams of 250-999, else 10 %
    """
    if teams < 100:
        ranks = (max(1, int(teams * 0.1)), max(1, int(teams * 0.2)), max(1, int(teams * 0.4)))
    elif teams < 250:
        ranks = (10, int(teams * 0.2), int(teams * 0.4))
    elif teams < 1000:
        ranks = (10 + int(teams * 0.002), 50, 100)
    else:
        ranks = (10 + int(teams * 0.002), int(teams * 0.05), int(teams * 0.1))
    return {"gold": ranks[0], "silver": ranks[1], "bronze": ranks[2]}


def medal_thresholds(board: list[float], lower_is_better: bool) -> dict[str, float]:
    """Return the score at the last rank of each medal, and the median. UserError for a board without teams."""
    if not board:
        raise UserError("a leaderboard without teams has no medals: give the teams' scores")
    ordered = sorted(board, reverse=not lower_is_better)
    scores = {str(name): ordered[last - 1] for name, last in medal_ranks(len(board)).items()}
    return scores | {"median": float(np.median(ordered))}


def medal_by_thresholds(
    value: float, thresholds: dict[str, Any], lower_is_better: bool, *, digits: int = 5
) -> Medal | None:
    """Return the medal of a score by the scores that competition.json states for each medal; a tie gets the medal."""
    names: tuple[Medal, ...] = ("gold", "silver", "bronze")
    for name in names:
        limit = thresholds.get(name)
        shown = round(value, digits)
        if limit is not None and (shown <= limit if lower_is_better else shown >= limit):
            return name
    return None
