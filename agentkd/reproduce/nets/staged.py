"""Networks in stages, of four families, so that a hook finds `stages.0`, `stages.1`, … in each; and heads on them.

Features of a stage: CNN [B, C, H, W], ViT and mixer [B, N, D], MLP [B, D].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agentkd.methods.hooks import pool

STAGES = 3
PATHS = [f"stages.{stage}" for stage in range(STAGES)]


class Staged(nn.Module):
    """A stem, stages, the mean over places, and a classifier."""

    def __init__(self, stem: nn.Module, stages: list[nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.stem, self.stages, self.head = stem, nn.Sequential(*stages), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(pool(self.stages(self.stem(x))))
        return logits


def make_staged_cnn(classes: int, width: int) -> Staged:
    """Images [B, 1, H, W]; stages of width, 2 × width and 4 × width channels, each of half the size but the first."""
    widths = [width * 2**stage for stage in range(STAGES)]
    stages: list[nn.Module] = [
        nn.Sequential(
            nn.Conv2d(before, after, 3, 1 + (stage > 0), 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        )
        for stage, (before, after) in enumerate(zip([1, *widths], widths, strict=False))
    ]  # fmt: skip
    return Staged(nn.Identity(), stages, widths[-1], classes)


class Patches(nn.Module):
    """Images [B, 1, S, S] as tokens [B, N, D]: square patches, projected, with learned places."""

    def __init__(self, side: int, patch: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, width, patch, patch)
        self.place = nn.Parameter(torch.randn((side // patch) ** 2, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.project(x).flatten(2).mT + self.place
        return tokens


def make_block(width: int, heads: int = 4) -> nn.Module:
    """A pre-norm transformer block on [B, N, D]."""
    return nn.TransformerEncoderLayer(
        width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )


def make_staged_vit(classes: int, width: int, *, side: int = 8, patch: int = 2) -> Staged:
    """A vision transformer; a stage is a block."""
    return Staged(Patches(side, patch, width), [make_block(width) for _ in range(STAGES)], width, classes)


class _Mix(nn.Module):
    """A mixer block on [B, N, D]: an MLP over places, then one over channels, each with a norm and a shortcut."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mlps = nn.ModuleList(
            [nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size)) for size in (places, width)]
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.mlps[0](self.norms[0](tokens).mT).mT
        mixed: Tensor = tokens + self.mlps[1](self.norms[1](tokens))
        return mixed


def make_staged_mixer(classes: int, width: int, *, side: int = 14, patch: int = 2) -> Staged:
    """An MLP-mixer; a stage is a block."""
    places = (side // patch) ** 2
    return Staged(Patches(side, patch, width), [_Mix(places, width) for _ in range(STAGES)], width, classes)


def make_staged_mlp(classes: int, width: int, *, inputs: int = 64) -> Staged:
    """A multilayer perceptron; a stage is a layer."""
    stem = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU())
    return Staged(stem, [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(STAGES)], width, classes)


class LogitHead(nn.Module):
    """OFA-KD's projector of a stage's features into logit space, by their shape: a separable convolution for maps, a
    transformer block for tokens, a layer for vectors; then the mean over places, and logits."""

    def __init__(self, features: Tensor, classes: int) -> None:
        super().__init__()
        width = features.shape[1] if features.dim() == 4 else features.shape[-1]
        self.mix: nn.Module
        if features.dim() == 4:
            around = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
            self.mix = nn.Sequential(around, nn.Conv2d(width, 2 * width, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
            width = 2 * width
        elif features.dim() == 3:
            self.mix = make_block(width, heads=math.gcd(4, width))
        else:
            self.mix = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(pool(self.mix(features)))
        return logits
