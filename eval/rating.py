"""Elo-MMR ratings over contests (Ebtekar and Liu 2021, arXiv 2101.00400), by the package `elommr`.

Agent K's paper rates its agent so among the teams of Kaggle's competitions. New players have 1500 ± 350; a contest's
standings give each player's first and last rank (0-based, a tie shares the interval). The authors' Rust code and the
Python port agree, but for contests that say nothing: with one contestant, or where all tie, the Rust code rates nobody
(`ignore_empty`), and the port does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from agentkd.errors import UserError


class Contest(NamedTuple):
    """`standings`: (name, first rank, last rank), in any order; `time` in seconds, `weight` relative to others."""

    standings: Sequence[tuple[str, int, int]]
    time: float = 0.0
    weight: float = 1.0


class Rating(NamedTuple):
    """A player's skill in rating points, its standard deviation, and the performance in the last contest."""

    mean: float
    deviation: float
    last_performance: int


def rate_players(contests: Sequence[Contest], *, ignore_empty: bool = True) -> dict[str, Rating]:
    """Rate the players of a sequence of contests, in its order."""
    try:
        from elommr import EloMMR, Player
    except ImportError:
        raise UserError("ratings need the package elommr: pip install 'agentkd[kaggle]'") from None
    system = EloMMR()
    players: dict[str, Any] = {}
    for number, contest in enumerate(contests):
        _check(number, contest)
        if ignore_empty and all(last - first + 1 == len(contest.standings) for _, first, last in contest.standings):
            continue
        ordered = sorted(contest.standings, key=lambda standing: standing[1])
        for name, _, _ in ordered:
            players.setdefault(name, Player())
        standings = [(players[name], first, last) for name, first, last in ordered]
        system.round_update(standings, contest_time=contest.time, weight=contest.weight)
    return {name: _rating(player) for name, player in players.items()}


def _rating(player: Any) -> Rating:
    posterior, history = player.approx_posterior, player.event_history
    return Rating(float(posterior.mu), float(posterior.sig), int(history[-1].perf_score))


def _check(number: int, contest: Contest) -> None:
    """Refuse standings in which ranks do not add up, and weights that rate nobody."""
    if contest.weight <= 0:
        raise UserError(f"contest {number} has the weight {contest.weight}: give a number above 0, or leave it out")
    places = len(contest.standings)
    if len({name for name, _, _ in contest.standings}) < places:
        raise UserError(f"contest {number} names a player twice: give each one standing")
    for name, first, last in contest.standings:
        if sum(first <= other[1] and other[2] <= last for other in contest.standings) != last - first + 1:
            raise UserError(
                f"contest {number} puts '{name}' on ranks {first} to {last}, where {last - first + 1} players should "
                "stand: give the same interval to all that tie"
            )
