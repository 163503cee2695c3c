"""MLPs and CNNs for images and signals."""

from __future__ import annotations

import itertools

from torch import nn


def make_mlp(inputs: int, hidden: tuple[int, ...], classes: int) -> nn.Sequential:
    """Flattened inputs through layers of `hidden` units to logits."""
    sizes = (inputs, *hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


def make_cnn(channels: int, classes: int, *, width: int, stages: int = 2) -> nn.Sequential:
    """Images [B, channels, H, W]: `stages` of 3 × 3 convolution, batch norm and ReLU, each with stride 2 but the first,
    then the mean over positions, and logits."""
    layers: list[nn.Module] = []
    for stage in range(stages):
        before, after = (channels if not stage else width * 2 ** (stage - 1)), width * 2**stage
        layers += [nn.Conv2d(before, after, 3, 1 + (stage > 0), 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width * 2 ** (stages - 1), classes))
