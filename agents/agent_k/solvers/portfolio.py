"""Choose the candidates to run, and their order, by data size and time.

Expected seconds are a start-up time (imports) plus core-seconds per thousand rows of a table of usual width, measured
on two slow cores; they decide which candidates are tried. A budget is what a candidate may use: most solvers keep to
it, the others are stopped."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Any

from agentkd.agents.agent_k.contract import Setup

START = 3.0  # seconds until a candidate's first fold
SHARE = 0.8  # share of further cores that parallel folds use
WIDTH = 80  # columns; the cost grows with the columns beyond them
PATIENCE = 4  # times the expected seconds, at least a quarter of the time: budget of a solver that ignores it
MANY = 6_000  # rows from which on trees come first


@dataclass(frozen=True)
class CandidateSpec:
    """A candidate to run: its kind of solver and parameters.

    A solver that keeps to its budget is not expected to need more than half of it."""

    name: str
    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    seconds: float = 10.0  # that it is expected to take
    budget: float | None = None  # seconds that it may take (the spec's `seconds`); None for all that are left


@dataclass(frozen=True)
class _CatalogueRow:
    """A candidate that may be chosen, with its cost."""

    name: str
    kind: str
    cost: float  # core-seconds per thousand rows
    params: dict[str, Any] = field(default_factory=dict)
    by_output: bool = False  # the cost is per output
    most: float = float("inf")  # rows from which on it is not worth its time
    budget: float | None = None  # share of the whole time
    needs: str = ""  # a package that may be absent


_SLOW = {"seeds": 4, "num_leaves": 6, "feature_fraction": 0.25, "learning_rate": 0.02}
_TABLE = [
    _CatalogueRow("lightgbm", "lightgbm", 1.4, by_output=True, budget=0.35),
    _CatalogueRow("linear", "linear", 1.0, most=300_000),
    _CatalogueRow("svm", "svm", 1.5, most=6_000),
    _CatalogueRow("lightgbm-means", "lightgbm", 2.0, {"encode": "means"}, by_output=True, budget=0.4),
    _CatalogueRow("extra-trees", "extra-trees", 5.0, most=60_000),
    _CatalogueRow("hist-gbm", "hist-gbm", 1.2, by_output=True, most=300_000),
    _CatalogueRow("lightgbm-slow", "lightgbm", 7.0, _SLOW, by_output=True, most=6_000, budget=0.4),
    _CatalogueRow("svm-rough", "svm", 1.5, {"C": 1.0, "gamma": 1.0}, most=6_000),
    _CatalogueRow("knn", "knn", 0.5, most=20_000),
    _CatalogueRow("lightgbm-tuned", "lightgbm-tuned", 60.0, by_output=True, budget=0.6),
]
_L1 = {"penalty": "l1"}
_LASSO = _CatalogueRow("lasso", "linear", 1.0, _L1, most=100_000)
_QUANTILES = {"lightgbm": 10**9, "lightgbm-tuned": 10**9, "hist-gbm": 10**9, "linear": 5_000}
"""Kinds that can predict a quantile, and for how many rows."""
_TREND = [_CatalogueRow("trend", "trend", 0.1), _CatalogueRow("trend-trees", "trend-trees", 1.2, by_output=True)]
_SPARSE = _CatalogueRow("sparse", "sparse", 1.2)
_TEXT = [
    _CatalogueRow("bayes-words", "bayes", 0.35, {"letters": False}),
    _CatalogueRow("lightgbm", "lightgbm", 2.8, {"feature_fraction": 0.3}, budget=0.6),
    _CatalogueRow("tfidf", "tfidf", 0.6),
    _CatalogueRow("tfidf-char", "tfidf", 1.8, {"analyzer": "char"}),
    _CatalogueRow("bayes", "bayes", 1.2),
    _CatalogueRow("embeddings", "embeddings", 24.0, needs="sentence_transformers"),
]
_IMAGE = [
    _CatalogueRow("pixels", "pixels", 2.5, most=8_000),
    _CatalogueRow("cnn", "cnn", 60.0, budget=0.7, needs="torch"),
    _CatalogueRow("pixels-knn", "pixels", 0.6, {"model": "knn"}, most=20_000),
    _CatalogueRow("cnn-wide", "cnn", 250.0, {"width": 32, "epochs": 40}, budget=0.6, needs="torch"),
    _CatalogueRow("cnn-mirrored", "cnn", 60.0, {"flip": True}, budget=0.4, needs="torch"),
]


def build_portfolio(setup: Setup, n_train: int, seconds: float, threads: int) -> list[CandidateSpec]:
    """Candidates for `seconds` on `threads` cores: a quick and safe one first, then by expected worth.

    Those that would not fit into a quarter more than the time are left out."""
    plans: list[_CatalogueRow] = []
    if setup.img:
        plans += _IMAGE
    if setup.txt:
        plans += [plan for plan in _TEXT if setup.task != "regression" or plan.kind != "bayes"]
    if setup.tab or not plans:
        table = list(_TABLE)
        if setup.task == "regression":
            table.insert(2, _LASSO)
        if setup.task == "regression" and setup.later:
            table[1:1] = _TREND
        if setup.txt:
            table.insert(1, _SPARSE)
        if n_train > MANY:
            table.sort(key=lambda plan: plan.kind != "lightgbm")
        names = {plan.name for plan in table}
        plans = table + [plan for plan in plans if plan.name not in names]
    rows = n_train / 1000
    cores = 1 + (threads - 1) * SHARE
    wide = max(1.0, len(setup.tab) / WIDTH)
    outputs = max(1, len(setup.predicted) - 1) if setup.task != "regression" else len(setup.targets)
    out: list[CandidateSpec] = []
    for plan in plans:
        if setup.quantiles and (plan.kind not in _QUANTILES or n_train > _QUANTILES[plan.kind] or plan.params == _L1):
            continue
        if n_train > plan.most or (plan.needs and importlib.util.find_spec(plan.needs) is None):
            continue
        expected = START + plan.cost * rows * wide * (max(1.0, outputs * 0.4) if plan.by_output else 1.0) / cores
        if plan.budget is None:
            budget = min(max(PATIENCE * expected, seconds / 4), seconds)
        else:
            budget = plan.budget * seconds
            expected = min(expected, budget / 2)
        if expected <= 1.25 * seconds or not out:
            out.append(CandidateSpec(plan.name, plan.kind, plan.params, round(expected, 1), budget))
    return out
