"""Turn all inputs into one table: texts and images become columns, for the models for tables.

Without the target: the first principal components of TF-IDF and of pixels. With the target, from a fold's training rows
alone: naive Bayes log-odds, which leave the row itself out (`text.naive_bayes_log_odds`)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, make_problems
from agentkd.agents.agent_k.solvers.encodings import encode_target_means
from agentkd.agents.agent_k.solvers.image import extract_pixel_features, load_images
from agentkd.agents.agent_k.solvers.ngrams import count_character_ngrams, count_word_ngrams, weigh_tf_idf
from agentkd.agents.agent_k.solvers.table_features import FeatureTable, describe_columns, describe_ids
from agentkd.agents.agent_k.solvers.text import (
    count_ngram_views,
    join_texts,
    lacks_spaces,
    measure_style,
    naive_bayes_log_odds,
)
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError

Array = npt.NDArray[Any]
COMPONENTS = 32
ROOM = 0.9  # share of the budget that texts may take: a few trees are better than no model


def build_features(data: CompetitionData, run: SolverRun) -> FeatureTable:
    """The features of all modalities; of texts as many as the time budget allows.

    Raises UserError where no column has two different values."""
    table = describe_columns(data.inputs("tab"))
    ids = describe_ids([*data.targets["id"], *data.test_ids]) if data.setup.tab else {}
    blocks: dict[str, Array] = {name: values[:, None] for name, values in ids.items()}
    seen: list[tuple[Any, float]] = []
    if data.setup.txt:
        texts = join_texts(data)
        blocks["text"] = reduce_dimensions(
            weigh_tf_idf(count_character_ngrams(texts, 1, 3) if lacks_spaces(texts) else count_word_ngrams(texts, 1, 2))
        )
        blocks["style"] = measure_style(texts)
        if data.setup.task != "regression":
            jobs = len(make_problems(data.setup, data.y)) * len(np.unique(data.fold))
            seen = count_ngram_views(texts, folds=-(-jobs // max(1, run.workers)), seconds=ROOM * run.budget.left)
    if data.setup.img:
        blocks["image"] = reduce_dimensions(extract_pixel_features(load_images(data)))
    names = [f"{name} {i}" for name, block in blocks.items() for i in range(block.shape[1])]
    table = dataclasses.replace(
        table,
        numbers=np.hstack([table.numbers, *blocks.values()]),
        names=(*table.names, *names),
        views=tuple(seen),
    )
    if not table.numbers.shape[1] + table.categories.shape[1] + table.groups.shape[1] + len(seen):
        raise UserError("no input column has two different values: there is nothing to learn from")
    return table


def reduce_dimensions(x: Any) -> Array:
    """The first principal components `(N, at most COMPONENTS)` of dense or sparse rows."""
    from sklearn.decomposition import TruncatedSVD

    count = min(COMPONENTS, x.shape[1] - 1, x.shape[0] - 1)
    if count < 1:
        return np.zeros((x.shape[0], 0))
    x = x - x.mean(axis=0) if isinstance(x, np.ndarray) else x
    return np.asarray(TruncatedSVD(count, random_state=0).fit_transform(x), dtype=np.float64)


def encode_with_target(table: FeatureTable, problem: Problem, train: Array, seed: int) -> Array:
    """Encode groups and texts by the training rows' target, `(N, columns)`."""
    out = [encode_target_means(table.groups, problem.y, problem.classes, train, seed)]
    if problem.classes:
        odds = [naive_bayes_log_odds(x, problem, train, alpha, seed) for x, alpha in table.views]
        out += [o / np.maximum(o[train].std(), 1e-9) for o in odds]
    return np.hstack(out)
