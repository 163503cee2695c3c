"""Encode categories as numbers: one-hot columns, and means of the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def encode_one_hot(categories: Array, train: Array, least: int = 3) -> Array:
    """Encode codes as zeros and ones `(N, levels)`; missing is a level.

    Levels of fewer than `least` training rows share a column."""
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
    """Encode groups by their mean target `(N, G * outputs)`, shrunk to the overall mean by PRIOR rows.

    A training row's value comes from the other inner folds, so that its own target is not in it; all other rows' values
    come from all training rows. There is one output for values and for two classes, else one per class."""
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


PRIOR = 3.0  # rows


def _means(codes: Array, targets: Array, known: Array, wanted: Array) -> Array:
    size = codes.max() + 2
    count = np.bincount(codes[known] + 1, minlength=size)
    mean = targets[known].mean(axis=0)
    total = np.column_stack([np.bincount(codes[known] + 1, weights=t[known], minlength=size) for t in targets.T])
    return np.asarray((total + PRIOR * mean) / (count[:, None] + PRIOR))[codes[wanted] + 1]
