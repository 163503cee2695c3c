"""Solve with one sparse linear model of words, category levels and numbers.

It suits targets that add up: a price is the sum of what brand, category and each word of a description are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, cross_fit
from agentkd.agents.agent_k.solvers.ngrams import count_character_ngrams, count_word_ngrams, mark_present, weigh_tf_idf
from agentkd.agents.agent_k.solvers.table_features import FeatureTable, describe_columns
from agentkd.agents.agent_k.solvers.text import fit_logistic, fit_ridge, join_texts, lacks_spaces
from agentkd.agents.agent_k.workspace.arrays import CompetitionData

Array = npt.NDArray[Any]
CLIP = 3.0  # standard deviations


def solve_sparse_linear(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: a linear model of word presence, TF-IDF of words and pairs, category levels and numbers."""
    from scipy.sparse import csr_matrix, hstack

    texts = join_texts(data)
    table = describe_columns(data.inputs("tab"))
    if lacks_spaces(texts):
        few, many = count_character_ngrams(texts, 1, 2), count_character_ngrams(texts, 1, 4)
    else:
        few, many = count_word_ngrams(texts, 1, 1), count_word_ngrams(texts, 1, 2)
    blocks = [mark_present(few), weigh_tf_idf(many), encode_levels(table), csr_matrix(standardise(table.numbers))]
    x = hstack(blocks).tocsr().astype(np.float32)

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        if problem.classes:
            return fit_logistic(x, problem.y, train, rest, 1.0, 100)
        return fit_ridge(x, problem.y, train, rest)

    return cross_fit(data, learn, run)


def encode_levels(table: FeatureTable, least: int = 2) -> Any:
    """Encode categories and groups as zeros and ones `(N, levels)`.

    Missing is a level; levels of fewer than `least` rows are left out."""
    from scipy.sparse import csr_matrix, hstack

    rows = len(table.numbers)
    blocks = [csr_matrix((rows, 0))]
    for codes in np.hstack([table.categories, table.groups]).T:
        hot = csr_matrix((np.ones(rows), (np.arange(rows), codes + 1)))
        blocks.append(hot[:, np.flatnonzero(np.bincount(codes + 1) >= least)])
    return hstack(blocks).tocsr()


def standardise(numbers: Array) -> Array:
    """Standardise signed logarithms; gaps become medians, constant columns are dropped."""
    bent = np.sign(numbers) * np.log1p(np.abs(numbers))
    gone = np.isnan(bent)
    bent[gone] = np.broadcast_to(np.nanmedian(bent, axis=0), bent.shape)[gone]
    bent = bent[:, np.ptp(bent, axis=0) > 0]
    spread = np.maximum(bent.std(axis=0), 1e-9)
    return np.asarray(((bent - bent.mean(axis=0)) / spread).clip(-CLIP, CLIP))
