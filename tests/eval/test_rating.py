"""Ratings over contests, and the scores that medals take."""

from __future__ import annotations

import pytest

from agentkd.errors import UserError
from agentkd.eval.leaderboard import medal_by_rank, medal_by_thresholds, medal_thresholds
from tests.support.lazy import Lazy, require

require("elommr")
rating = Lazy("agentkd.eval.rating")


def test_who_wins_rises_and_the_sum_of_two_stays() -> None:
    found = rating.rate_players([rating.Contest([("a", 0, 0), ("b", 1, 1)])])
    assert found["a"].mean > 1500 > found["b"].mean and found["a"].deviation < 350
    assert found["a"].mean + found["b"].mean == pytest.approx(3000)
    tie = rating.rate_players([rating.Contest([("b", 0, 1), ("a", 0, 1), ("c", 2, 2)])])
    assert tie["a"].mean == pytest.approx(tie["b"].mean) and tie["c"].mean < tie["a"].mean
    again = rating.rate_players([rating.Contest([("c", 2, 2), ("a", 0, 1), ("b", 0, 1)])])
    assert again["a"].mean == pytest.approx(tie["a"].mean)  # the order of the list does not matter
    light = rating.rate_players([rating.Contest([("a", 0, 0), ("b", 1, 1)], weight=0.5)])
    assert 1500 < light["a"].mean < found["a"].mean


def test_contests_that_say_nothing() -> None:
    alone, tied = rating.Contest([("a", 0, 0)]), rating.Contest([("a", 0, 1), ("b", 0, 1)])
    assert rating.rate_players([alone, tied]) == {}
    rated = rating.rate_players([alone, tied], ignore_empty=False)
    assert rated["a"].mean == pytest.approx(1500) and rated["b"].deviation < 350


@pytest.mark.parametrize(
    ("standings", "weight", "words"),
    [
        ([("a", 0, 0), ("b", 0, 0)], 1.0, "puts 'a' on ranks 0 to 0"),
        ([("a", 0, 0), ("a", 1, 1)], 1.0, "names a player twice"),
        ([("a", 0, 0), ("b", 1, 1)], 0.0, "weight 0.0"),
    ],
)
def test_standings_that_do_not_add_up(standings: list[tuple[str, int, int]], weight: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        rating.rate_players([rating.Contest(standings, weight=weight)])


@pytest.mark.parametrize("teams", [1, 2, 8, 99, 100, 249, 250, 999, 1000, 3456])
@pytest.mark.parametrize("lower", [True, False])
def test_a_medal_by_rank_is_the_medal_by_score(teams: int, lower: bool) -> None:
    board = [place / 8 for place in range(teams)]
    limits = medal_thresholds(board, lower)
    assert limits["median"] == pytest.approx((teams - 1) / 16)
    for score in {*board[:30], *board[-30:], -1.0, teams + 1.0}:
        assert medal_by_thresholds(score, limits, lower) == medal_by_rank(score, board, lower)


def test_a_board_without_teams_has_no_medals() -> None:
    with pytest.raises(UserError, match="without teams"):
        medal_thresholds([], True)
