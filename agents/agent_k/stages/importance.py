"""Which input columns matter: permutation importance (Breiman 2001, section 10; Fisher, Rudin and Dominici 2019).

The winner may be a blend of many models, so a stand-in is asked: boosted trees on one fold, which take a second. Its
own score is given, too: importances of a model that is much worse say little."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.agents.agent_k.scoring.blend import proper_metric
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.sampling import sample_rows
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.agents.agent_k.solvers.cross_fit import Problem, join_predictions, make_problems
from agentkd.agents.agent_k.understand.cells import as_dates, as_numbers
from agentkd.agents.agent_k.workspace.arrays import Array, CompetitionData
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FITTED, HELD = 3000, 1500  # rows at most
MOST_COLUMNS, MOST_TARGETS = 500, 8
REPEATS = 5  # shuffles of a column
SHOWN = 20  # columns
WORDS, PARTS = 2000, 12  # of a text column: words that are counted, and components of them
LEVELS = 250  # of a category; the rest is one


def measure_importance(data: CompetitionData, seed: int, seconds: float) -> dict[str, Any]:
    """How much worse the score of a held-out fold is where a column is shuffled.

    Returns `metric`, the stand-in's `score`, `rows` (learned, held out) and `columns`: name, mean loss of the score,
    and its standard deviation over the shuffles. Empty for images alone, for too many columns or targets, and
    where it would take longer than so many seconds."""
    setup, end = data.setup, time.monotonic() + seconds
    blocks = encode_columns(data)
    problems = make_problems(setup, data.y)
    if not 2 <= len(blocks) <= MOST_COLUMNS or len(problems) > MOST_TARGETS:
        return {}
    scorer = Scorer(setup, data.targets, setup.metric if setup.metric in METRICS else proper_metric(setup))
    y = data.y if setup.task in ("binary", "multiclass") else None
    fold = int(np.bincount(data.fold).argmax())
    held = sample_rows(np.flatnonzero(data.fold == fold), HELD, seed, y)
    rest = sample_rows(np.flatnonzero(data.fold != fold), FITTED, seed, y)
    names = list(blocks)
    places = np.repeat(np.arange(len(names)), [block.shape[1] for block in blocks.values()])
    x = np.hstack(list(blocks.values()))
    here = scorer.on_rows(held)
    models = [(problem, fit(problem, x, rest, seed)) for problem in problems]

    def score(inputs: Array) -> float:
        parts = [(problem, predict(problem, model, inputs)) for problem, model in models]
        return here(join_predictions(setup, parts))

    try:
        base = score(x[held])
    except UserError:  # undefined on these rows
        return {}
    sign = 1.0 if scorer.metric.lower_is_better else -1.0
    random = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        if time.monotonic() > end:
            return {}
        lost = []
        for _ in range(REPEATS):
            inputs = x[held].copy()
            columns = places == place
            inputs[:, columns] = inputs[random.permutation(len(held))][:, columns]
            lost.append(sign * (score(inputs) - base))
        found.append({"name": name, "loss": round(float(np.mean(lost)), 6), "spread": round(float(np.std(lost)), 6)})
    found.sort(key=lambda item: -item["loss"])
    return {
        "metric": scorer.metric.name,
        "score": round(base, 6),
        "rows": [len(rest), len(held)],
        "columns": found[:SHOWN],
        "of": len(found),
    }


def encode_columns(data: CompetitionData) -> dict[str, Array]:
    """Each input column of training rows as numbers `(N, parts)`: categories by their place, texts by components."""
    found: dict[str, Array] = {}
    frame = data.inputs("tab").head(data.n_train)
    if frame.shape[1] > MOST_COLUMNS:
        return {}
    for name in frame.columns:
        if frame[name].nunique() > 1:
            found[str(name)] = encode_column(frame[name])[:, None]
    texts = data.inputs("txt").head(data.n_train)
    for name in texts.columns if found or texts.shape[1] > 1 else ():
        found[str(name)] = encode_text(texts[name])
    return found


def encode_column(column: pd.Series[Any]) -> Array:
    """A column as numbers; words by how frequent they are, the rarest as one."""
    numbers = as_numbers(column)
    if numbers is not None:
        return np.asarray(numbers, dtype=np.float64)
    dates = as_dates(column)
    if dates is not None:
        return np.asarray((dates - dates.min()).dt.total_seconds() / 86400, dtype=np.float64)
    rank = {value: place for place, value in enumerate(column.value_counts().index[:LEVELS])}
    return np.asarray(column.map(rank).fillna(LEVELS), dtype=np.float64)


def encode_text(column: pd.Series[str]) -> Array:
    """A column of texts as its first components, and its length."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    length = column.str.len().to_numpy(dtype=np.float64)[:, None]
    try:
        counts = TfidfVectorizer(max_features=WORDS).fit_transform(column)
    except ValueError:  # no words
        return length
    parts = min(PARTS, min(counts.shape) - 1)
    if parts < 1:
        return length
    return np.hstack([TruncatedSVD(parts, random_state=0).fit_transform(counts), length])


def fit(problem: Problem, x: Array, rows: Array, seed: int) -> Any:
    """Boosted trees of the rows that have a true value."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    known = rows[problem.y[rows] >= 0] if problem.classes else rows[np.isfinite(problem.y[rows])]
    kind = HistGradientBoostingClassifier if problem.classes else HistGradientBoostingRegressor
    model = kind(max_iter=60, max_leaf_nodes=15, min_samples_leaf=10, early_stopping=False, random_state=seed)
    return model.fit(x[known], problem.y[known])


def predict(problem: Problem, model: Any, x: Array) -> Array:
    """Probabilities `(N, classes)` or values `(N, 1)`."""
    if not problem.classes:
        return np.asarray(model.predict(x))[:, None]
    out = np.zeros((len(x), problem.classes))
    out[:, model.classes_] = model.predict_proba(x)
    return out
