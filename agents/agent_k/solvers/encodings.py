"""Encode categories as numbers: one-hot columns, and means of the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def encode_one_hot(categories: Array, train: Array, least: int = 3) -> Array:
    """Zeros and ones `(N, levels)`: a level that fewer than `least` training rows have shares a column with the other
    rare ones, missing is a level."""
    out = []
    for codes in categories.T:
        shifted = codes + 1
        count = np.bincount(shifted[train], minlength=shifted.max() + 1)
        kept = np.flatnonzero(count >= least)
        place = np.full(len(count), len(kept))
        place[kept] = np.arange(len(kept))
        hot = np.eye(len(kept) + 1)[place[shifted]]
        out.append(hot[:, hot[train].any(axis=0)])
    return np.hstack(out) if out else np.zeros((len(categories), 0))


def encode_target_means(groups: Array, y: Array, classes: int, train: Array, seed: int, inner: int = 5) -> Array:
    """Mean target of each group `(N, G * outputs)`, shrunk to the mean of all by a prior of `PRIOR` rows.

    A training row's value comes from the other inner folds (no row's own target is in its feature); all other rows'
    from all training rows. Two classes and values give one output, more classes one each."""
    targets = y[:, None].astype(np.float64) if classes <= 2 else np.eye(classes)[np.maximum(y, 0)]
    fold = np.random.default_rng(seed).integers(0, inner, len(train))
    out = []
    for codes in groups.T:
        values = _means(codes, targets, train, np.arange(len(codes)))
        for number in range(inner):
            held, rest = train[fold == number], train[fold != number]
            if len(held) and len(rest):
                values[held] = _means(codes, targets, rest, held)
        out.append(values)
    return np.hstack(out) if out else np.zeros((len(groups), 0))


PRIOR = 3.0


def _means(codes: Array, targets: Array, known: Array, wanted: Array) -> Array:
    size = codes.max() + 2
    count = np.bincount(codes[known] + 1, minlength=size)
    mean = targets[known].mean(axis=0)
    total = np.column_stack([np.bincount(codes[known] + 1, weights=t[known], minlength=size) for t in targets.T])
    return np.asarray((total + PRIOR * mean) / (count[:, None] + PRIOR))[codes[wanted] + 1]
