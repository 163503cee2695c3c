"""Segmentation: canvases with one or two digits of scikit-learn on noise; each pixel is a digit or background."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SIDE, DIGIT, CLASSES = 16, 8, 5  # digits 0 to 3, and background
INK = 0.3  # a pixel is the digit's above this value


class Canvases(NamedTuple):
    """Images [N, 1, 16, 16] and labels [N, 16, 16], for training and for testing."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


def make_canvases(seed: int, *, train: int = 200, test: int = 100) -> Canvases:
    """Canvases of a seed. Digits of test canvases are in no training canvas."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(n_class=CLASSES - 1, return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    images, labels = images[order].reshape(-1, DIGIT, DIGIT) / 16.0, labels[order]
    cut = len(labels) * 2 // 3
    x, y = np.empty((train + test, SIDE, SIDE), np.float32), np.empty((train + test, SIDE, SIDE), np.int64)
    for place in range(train + test):
        pool = np.arange(cut) if place < train else np.arange(cut, len(labels))
        x[place], y[place] = draw_canvas(images, labels, pool, rng)
    a, b = torch.from_numpy(x)[:, None], torch.from_numpy(y)
    return Canvases(a[:train], b[:train], a[train:], b[train:])


def draw_canvas(
    images: np.ndarray, labels: np.ndarray, pool: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One canvas; a later digit covers an earlier one."""
    canvas, truth = rng.uniform(0, 0.2, (SIDE, SIDE)), np.full((SIDE, SIDE), CLASSES - 1)
    for pick in rng.choice(pool, rng.integers(1, 3), replace=False):
        top, left = rng.integers(0, SIDE - DIGIT + 1, 2)
        ink = images[pick] > INK
        window = (slice(top, top + DIGIT), slice(left, left + DIGIT))
        canvas[window] = np.where(ink, images[pick], canvas[window])
        truth[window] = np.where(ink, labels[pick], truth[window])
    return canvas, truth
