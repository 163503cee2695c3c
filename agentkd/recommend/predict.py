"""AutoDistiller's recommender: what score to expect of a distillation that was not tried yet.

After He et al. 2021 (arXiv 2109.11105, section 5): a regressor from features of task, models and configuration to the
score, fitted on earlier runs. The level of a task (how hard it is) is unknown for a new one and does not change which
configuration is best. So it is fitted as an effect of each group, in turns with a random forest for the rest (Hajjem,
Bellavance and Larocque 2014, mixed-effects random forests), and what is predicted is points above the group's level.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from agentkd.errors import UserError
from agentkd.recommend.table import Candidate, Row, Values, name_candidate

TREES, ROUNDS, LEAF = 100, 3, 1
LEAST = 4  # rows: fewer say nothing


class Expected(NamedTuple):
    """A candidate, the points that are expected of it above the level of its task, and the standard deviation of the
    trees' opinions."""

    candidate: Candidate
    gain: float
    spread: float


class Regret(NamedTuple):
    """Mean points below the best configuration of a task that was left out: of the recommended one, of the one that is
    best on average over the other tasks, and of a random one."""

    recommended: float
    average: float
    random: float
    tasks: int


class TooFewRows(UserError):
    """The table holds nothing to learn from."""


class Recommender:
    """A forest fitted on rows with a score. Raises TooFewRows for fewer than LEAST, or where no group has two."""

    def __init__(self, rows: Sequence[Row], seed: int = 0) -> None:
        self.rows = [row for row in rows if row.score is not None]
        groups = [row.group for row in self.rows]
        if len(self.rows) < LEAST or len(set(groups)) == len(groups):
            raise TooFewRows(
                f"{len(self.rows)} earlier distillations with a score are too few to learn from: it takes {LEAST}, two "
                f"of them on one task; run agentkd distill with two methods on one task"
            )
        try:
            from sklearn.ensemble import RandomForestRegressor
            from sklearn.feature_extraction import DictVectorizer
        except ImportError:
            raise UserError("advice from the table needs scikit-learn: pip install 'agentkd[auto]'") from None

        self._encoder = DictVectorizer(sparse=False)
        x_RF = self._encoder.fit_transform([_features(row.facts, row.method, row.options) for row in self.rows])
        score_R = np.array([row.score for row in self.rows], dtype=np.float64)
        self._forest = RandomForestRegressor(
            TREES, min_samples_leaf=LEAF, max_features=0.5, oob_score=True, random_state=seed
        )
        fit_R = np.zeros(len(score_R))
        for _ in range(ROUNDS):
            gain_R = score_R - _group_means(groups, score_R - fit_R)
            self._forest.fit(x_RF, gain_R)
            fit_R = np.nan_to_num(self._forest.oob_prediction_)

    def expect(self, facts: Values, candidates: Iterable[Candidate]) -> list[Expected]:
        """What is expected of each candidate on a task with these facts, the best first."""
        some = list(candidates)
        x_RF = self._encoder.transform([_features(facts, *each) for each in some])
        trees_TR = np.stack([tree.predict(x_RF) for tree in self._forest.estimators_])
        found = zip(some, trees_TR.mean(0).tolist(), trees_TR.std(0).tolist(), strict=True)
        return sorted((Expected(*each) for each in found), key=lambda each: -each.gain)

    def basis(self) -> dict[str, Any]:
        """What the opinions rest on: numbers of rows, groups and tasks, and of rows by method."""
        counts: dict[str, int] = defaultdict(int)
        for row in self.rows:
            counts[row.method] += 1
        return {
            "rows": len(self.rows),
            "groups": len({row.group for row in self.rows}),
            "tasks": len({row.task for row in self.rows}),
            "by_method": dict(sorted(counts.items())),
        }


def leave_one_task_out(rows: Sequence[Row], seed: int = 0) -> Regret | None:
    """The recommender's regret on tasks that it has not seen. None where fewer than three tasks have a choice.

    Of a group only configurations are chosen that were tried in it; where one was tried more often, its mean counts."""
    scored = [row for row in rows if row.score is not None]
    chosen: list[tuple[float, float, float]] = []
    judged: set[str] = set()
    for group in dict.fromkeys(row.group for row in scored):
        own = [row for row in scored if row.group == group]
        others = [row for row in scored if row.task != own[0].task]
        candidates = {name_row(row): Candidate(row.method, row.options) for row in own}
        scores = {name: fmean(float(row.score or 0) for row in own if name_row(row) == name) for name in candidates}
        if len(scores) < 2 or len({row.task for row in others}) < 2:
            continue
        try:
            recommender = Recommender(others, seed)
        except TooFewRows:  # the other tasks were tried once each
            continue
        first = recommender.expect(own[0].facts, candidates.values())[0].candidate
        usual = best_on_average(others, list(candidates.values()))
        best = max(scores.values())
        picks = scores[name_candidate(first)], scores[name_candidate(usual)], fmean(scores.values())
        chosen.append((best - picks[0], best - picks[1], best - picks[2]))
        judged.add(own[0].task)
    if len(judged) < 3:
        return None
    recommended, average, random = (fmean(values) for values in zip(*chosen, strict=True))
    return Regret(recommended, average, random, len(judged))


def best_on_average(rows: Sequence[Row], candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the highest mean of scores above their group's mean; one that was never tried counts as 0."""
    groups = [row.group for row in rows]
    score_R = np.array([row.score for row in rows], dtype=np.float64)
    gain_R = score_R - _group_means(groups, score_R)
    gains: dict[str, list[float]] = defaultdict(list)
    for row, gain in zip(rows, gain_R.tolist(), strict=True):
        gains[name_row(row)].append(gain)
    return max(candidates, key=lambda candidate: fmean(gains.get(name_candidate(candidate), [0.0])))


def name_row(row: Row) -> str:
    """The name of a row's configuration."""
    return name_candidate(Candidate(row.method, row.options))


def _features(facts: Values, method: str, options: Values) -> dict[str, Any]:
    """A row's features: words become one column each, and an option that a method lacks is 0."""
    return {**facts, "method": method, **{f"option {name}": value for name, value in options.items()}}


def _group_means(groups: Sequence[str], values_R: np.ndarray) -> np.ndarray:
    means: Mapping[str, list[float]] = defaultdict(list)
    for group, value in zip(groups, values_R.tolist(), strict=True):
        means[group].append(value)
    return np.array([fmean(means[group]) for group in groups])
