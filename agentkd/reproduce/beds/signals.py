"""1-D signals in ten classes, after the idea of MNIST-1D (Greydanus and Kobak 2020, arXiv 2011.14439).

A class is a template of twelve points. A signal is the template, stretched, scaled and sheared, somewhere in 40 samples
of smooth and white noise. The templates are the same for all seeds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from agentkd.reproduce.beds.digits import Split

CLASSES, LENGTH, POINTS = 10, 40, 12
TEMPLATES = np.random.default_rng(7).normal(size=(CLASSES, POINTS)).cumsum(1)
SMOOTH, WHITE = 0.25, 0.1  # standard deviations of noise; the templates' is 1


def make_signals(seed: int, *, train: int = 1000, test: int = 1000) -> Split:
    """Signals [N, 1, 40] and labels [N], drawn with the seed."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=train + test)
    signals = np.stack([draw_signal(int(label), rng) for label in labels])
    x, y = torch.tensor(signals, dtype=torch.float32)[:, None], torch.tensor(labels, dtype=torch.long)
    return Split(x[:train], y[:train], x[train:], y[train:])


def draw_signal(label: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """One signal [40] of a class."""
    template = TEMPLATES[label]
    template = (template - template.mean()) / template.std()
    width = rng.integers(12, 25)
    shape = np.interp(np.linspace(0, POINTS - 1, width), np.arange(POINTS), template) * rng.uniform(0.6, 1.4)
    shape += np.linspace(-1, 1, width) * rng.normal(0, 0.2)
    signal = np.convolve(rng.normal(size=LENGTH + 8), np.ones(9) / 3, "valid") * SMOOTH
    start = rng.integers(0, LENGTH - width + 1)
    signal[start : start + width] += shape
    return np.asarray(signal + rng.normal(0, WHITE, LENGTH))
