"""Score predictions under a competition's metric."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metrics import METRICS, cost, map_at, pinball
from agentkd.agents.agent_k.scoring.predictions import align_predictions, decide_codes
from agentkd.agents.agent_k.scoring.truth import class_numbers, encode_targets, is_known
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


class Scorer:
    """The score of predictions as a function: the truth is prepared once.

    Predictions are `(N, len(setup.predicted))`. Rows without a true value are left out. Raises UserError for an unknown
    metric, one that does not fit the task, and a true value that is none of the classes."""

    def __init__(self, setup: Setup, truth: pd.DataFrame, metric: str | None = None) -> None:
        name = metric or setup.metric
        if name not in METRICS:
            raise UserError(f"unknown metric '{name}': the metrics are {', '.join(METRICS)}")
        self.metric = METRICS[name]
        if setup.task not in self.metric.tasks:
            raise UserError(f"metric '{name}' is for {' and '.join(self.metric.tasks)}, not for a {setup.task} task")
        self.setup = setup
        self.truth = encode_targets(setup, truth)
        self.known = is_known(self.truth)
        if not self.known.any():
            raise UserError(f"no row of {len(truth)} has a true value of {', '.join(setup.targets)}")

    def on_rows(self, rows: Array) -> Scorer:
        """A scorer of these rows alone."""
        other = copy.copy(self)
        other.truth, other.known = self.truth[rows], self.known[rows]
        return other

    def __call__(self, predictions: Array, thresholds: Sequence[float] | None = None) -> float:
        """The score; `thresholds` as in `decide_labels`. Raises UserError where the metric is undefined."""
        metric, setup, truth, known = self.metric, self.setup, self.truth, self.known
        if setup.task == "regression":
            value = np.rint(predictions) if metric.needs == "label" else predictions
            columns = [c for c in range(truth.shape[1]) if known[:, c].any()]
            if not columns:
                raise UserError(f"{metric.name} is undefined on {len(truth)} rows without a true value")
            scores = [self._function(c)(truth[k, c], value[k, c]) for c in columns for k in [known[:, c]]]
            return float(np.mean(scores))
        if metric.needs == "label":
            return self.score_decisions(decide_codes(setup, predictions, thresholds))
        if self._has_gaps():
            return self._score_by_label(predictions)
        truth, predictions = self._keep_known(predictions)
        return map_at(truth, predictions, setup.top) if metric.name == "map@k" else metric.function(truth, predictions)

    def _function(self, column: int) -> Callable[[Array, Array], float]:
        """The metric of one target; the pinball loss is that of its level."""
        if self.metric.name == "pinball" and self.setup.quantiles:
            return partial(pinball, level=self.setup.quantiles[column])
        return self.metric.function

    def score_decisions(self, guess: Array) -> float:
        """The score of decisions as `decide_codes` makes them."""
        if self._has_gaps():  # an unknown label counts as one that is rightly not given
            if self.metric.name == "hamming":
                return self._score_by_label(guess)
            return self.metric.function(np.where(self.known, self.truth, 0), np.where(self.known, guess, 0))
        truth, guess = self._keep_known(guess)
        if self.metric.name == "qwk":  # of the classes' numbers, not of their alphabetical places
            numbers = class_numbers(self.setup)
            return self.metric.function(numbers[truth], numbers[guess])
        if self.metric.name == "cost":
            miss, alarm = self.setup.costs or (1.0, 1.0)
            return cost(truth, guess, miss, alarm)
        return self.metric.function(truth, guess)

    def _has_gaps(self) -> bool:
        return self.setup.task == "multilabel" and bool(self.known.any()) and not self.known.all()

    def _keep_known(self, given: Array) -> tuple[Array, Array]:
        """The rows with a true value: the truth, and the predictions of it."""
        if not self.known.any():
            raise UserError(f"{self.metric.name} is undefined on {len(self.known)} rows without a true value")
        if self.known.all():
            return self.truth, given
        return self.truth[self.known], given[self.known]

    def _score_by_label(self, given: Array) -> float:
        """The mean over the labels, each on the rows where it is known."""
        metric, truth = self.metric, self.truth
        found = []
        for c in range(truth.shape[1]):
            here = self.known[:, c]
            if here.any() and (metric.lower_is_better or np.ptp(truth[here, c]) > 0):  # areas need both classes
                found.append(metric.function(truth[here, c : c + 1], given[here, c : c + 1]))
        if not found:
            raise UserError(f"{metric.name} is undefined on {len(truth)} rows: no column has both classes")
        return float(np.mean(found))

    def is_better(self, one: float, other: float) -> bool:
        """Whether `one` is a better score than `other`."""
        return one < other if self.metric.lower_is_better else one > other


def score(
    setup: Setup, truth: pd.DataFrame, predictions: pd.DataFrame, thresholds: Sequence[float] | None = None
) -> float:
    """Score a prediction file on a target map; rows are matched by `id`.

    Raises UserError for missing ids or columns, for values that are not finite, and where the metric is undefined (AUC
    of one class, RMSLE of a negative truth)."""
    return Scorer(setup, truth)(align_predictions(setup, predictions, truth["id"]), thresholds)
