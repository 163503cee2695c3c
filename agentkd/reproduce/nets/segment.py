"""Two small networks for segmentation, of different families; each has `low` and `high` feature maps to be hooked."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from agentkd.reproduce.nets.staged import Patches, make_block


def _convolve(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


class UNet(nn.Module):
    """A U-Net of two levels on [B, 1, H, W]; `low` is at half size, `high` at full size."""

    def __init__(self, classes: int, width: int = 8) -> None:
        super().__init__()
        self.first, self.low = _convolve(1, width), _convolve(width, 2 * width, 2)
        self.deep, self.up = _convolve(2 * width, 4 * width, 2), _convolve(6 * width, 2 * width)
        self.high, self.head = _convolve(3 * width, 2 * width), nn.Conv2d(2 * width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        low = self.low(first)
        up = self.up(torch.cat([interpolate(self.deep(low), scale_factor=2.0), low], 1))
        logits: Tensor = self.head(self.high(torch.cat([interpolate(up, scale_factor=2.0), first], 1)))
        return logits


class _Maps(nn.Module):
    """A transformer block that shows its tokens as maps, too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = make_block(width)

    def forward(self, maps: Tensor) -> Tensor:
        tokens: Tensor = self.block(maps.flatten(2).mT)
        return tokens.mT.reshape(maps.shape)


class VitSegmenter(nn.Module):
    """A vision transformer on [B, 1, S, S]; each token gives the logits of its patch. `low` and `high` are maps of
    tokens."""

    def __init__(self, classes: int, *, side: int = 16, patch: int = 2, width: int = 24) -> None:
        super().__init__()
        self.grid, self.patches = side // patch, Patches(side, patch, width)
        self.low, self.middle, self.high = (_Maps(width) for _ in range(3))
        self.head = nn.Sequential(nn.Conv2d(width, classes * patch**2, 1), nn.PixelShuffle(patch))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patches(x).mT.reshape(len(x), -1, self.grid, self.grid)
        logits: Tensor = self.head(self.high(self.middle(self.low(maps))))
        return logits
