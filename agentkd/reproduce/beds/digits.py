"""Real images: the 1,797 handwritten digits of scikit-learn, 8 × 8, values 0 to 1, ten classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

TEST = 597  # images held out


class Split(NamedTuple):
    """Inputs and labels for training and for testing."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


def make_digits(seed: int, *, border: int = 0) -> Split:
    """Images [N, 1, 8 + 2 border, 8 + 2 border] and labels [N], split by the seed."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x = torch.tensor(images[order] / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    x, y = pad(x, (border,) * 4), torch.tensor(labels[order], dtype=torch.long)
    return Split(x[TEST:], y[TEST:], x[:TEST], y[:TEST])
