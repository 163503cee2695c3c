"""Golden cases of what is computed without tensors: ratings, medals, exposure, pulses and constellations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agentkd.eval.golden.cases import Case
from agentkd.eval.leaderboard import medal_by_thresholds, medal_thresholds
from agentkd.eval.rating import Contest, rate_players
from agentkd.methods.metrics.exposure import exposure_by_fit, exposure_by_rank
from agentkd.methods.signals import pulses

DIGITS = 15  # of a score: none is rounded away


def _elommr(case: Case) -> dict[str, Any]:
    ignore = {"python": False, "rust": True}[case.variant]
    contests = [
        Contest([(str(name), low, high) for name, low, high in each["standings"]], each["time"], each["weight"])
        for each in case.inputs["contests"]
    ]
    ratings = rate_players(contests, ignore_empty=ignore)
    return {
        "rating": {name: [rating.mean, rating.deviation] for name, rating in ratings.items()},
        "rounded": {name: round(rating.mean) for name, rating in ratings.items()},
        "last_performance": {name: rating.last_performance for name, rating in ratings.items()},
    }


def _medals(case: Case) -> dict[str, Any]:
    board, score = case.inputs["leaderboard"], case.inputs["score"]
    if isinstance(board, dict):
        board = [round(value, 6) for value in np.linspace(board["first"], board["last"], int(board["n"]))]
    lower = board[0] < board[-1]
    limits = medal_thresholds(board, lower)
    medal = None if score is None else medal_by_thresholds(score, limits, lower, digits=DIGITS)
    ahead = score is not None and (score < limits["median"] if lower else score > limits["median"])
    return {
        **{f"{name}_medal": medal == name for name in ("gold", "silver", "bronze")},
        **{f"{name}_threshold": limit for name, limit in limits.items()},
        "above_median": ahead,
    }


def _exposure(case: Case) -> dict[str, Any]:
    measure = {"interpolation": exposure_by_rank, "extrapolation": exposure_by_fit}[case.variant]
    references = case.inputs["references"]
    by_count = case.inputs["perplexities"].items()
    return {"exposure": {count: measure(sorted(values), references).tolist() for count, values in by_count}}


def _signals(case: Case) -> dict[str, Any]:
    p = case.params
    if case.variant == "taps":
        shapes = {
            "rrcosfilter": pulses.root_raised_cosine,
            "rcosfilter": pulses.raised_cosine,
            "gaussianfilter": pulses.gaussian,
        }
        return {"taps": shapes[p["kind"]](int(p["N"]), p["alpha"], p["Ts"], p["Fs"]).tolist()}
    kinds = {"constellation": {"psk": pulses.psk, "qam": pulses.qam, "pam": pulses.pam}}[case.variant]
    order = int(p["M"])
    points = kinds[p["kind"]](order)
    return {
        "bits": pulses.bit_table(order).tolist(),
        "points": np.stack([points.real, points.imag], -1).tolist(),
        "Es": pulses.energy(points),
    }


ADAPTERS: dict[str, Callable[[Case], Any]] = {
    "elommr": _elommr,
    "medals": _medals,
    "exposure": _exposure,
    "signals": _signals,
}
