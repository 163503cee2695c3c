"""Networks for I/Q signals [B, 2, samples]: the teacher ClST, and the students KD-CNN and KD-MobileNet.

Hou et al., TWC 2024, arXiv 2312.17446, sections III and IV. A reconstruction from the abstract: sizes are ours.

- PSCA, parallel spatial-channel attention: a gate for each channel beside a gate for each place, added to the input
- CTP, convolutional transformer projection: queries, keys and values come from depth-wise convolutions, and keys and
  values are at every second place only
- ClST: convolutions make tokens, stage by stage half as many and wider; each stage has CTP blocks and a PSCA gate
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from agentkd.errors import UserError


class Psca(nn.Module):
    """x · (1 + channel gate + place gate), for maps [B, C, N]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(4, channels // 4)
        self.channel = nn.Sequential(nn.Conv1d(channels, narrow, 1), nn.ReLU(), nn.Conv1d(narrow, channels, 1))
        self.place = nn.Conv1d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        by_channel = self.channel(x.mean(-1, keepdim=True)).sigmoid()
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        gated: Tensor = x * (1.0 + by_channel + self.place(pooled).sigmoid())
        return gated


class Ctp(nn.Module):
    """A transformer block on maps [B, C, N], whose attention projects by convolutions."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise UserError(f"{channels} channels for {heads} heads: give a multiple of the heads")
        self.heads = heads
        self.norms = nn.ModuleList([nn.GroupNorm(1, channels) for _ in range(2)])
        self.queries = self._projection(channels, 1)
        self.keys, self.values = self._projection(channels, 2), self._projection(channels, 2)
        self.out = nn.Conv1d(channels, channels, 1)
        self.mlp = nn.Sequential(nn.Conv1d(channels, 2 * channels, 1), nn.GELU(), nn.Conv1d(2 * channels, channels, 1))

    @staticmethod
    def _projection(channels: int, stride: int) -> nn.Module:
        around = nn.Conv1d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        return nn.Sequential(around, nn.BatchNorm1d(channels), nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[0](x)
        q, k, v = (part(y).unflatten(1, (self.heads, -1)).mT for part in (self.queries, self.keys, self.values))
        x = x + self.out(scaled_dot_product_attention(q, k, v).mT.flatten(1, 2))
        out: Tensor = x + self.mlp(self.norms[1](x))
        return out


class ClST(nn.Module):
    """The teacher; `widths` are the channels of its stages."""

    def __init__(self, classes: int, widths: Sequence[int] = (32, 64, 96), heads: int = 4, blocks: int = 1) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 2
        for width in widths:
            stages += [nn.Conv1d(before, width, 5, stride=2, padding=2), nn.BatchNorm1d(width), nn.GELU()]
            stages += [*(Ctp(width, heads) for _ in range(blocks)), Psca(width)]
            before = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(before, classes)

    def forward(self, iq: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(iq).mean(-1))
        return logits


class KdCnn(nn.Module):
    """The small student: plain convolutions."""

    def __init__(self, classes: int, width: int = 12) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((2, width), (width, 2 * width), (2 * width, 2 * width)):
            layers += [nn.Conv1d(before, after, 5, stride=2, padding=2), nn.BatchNorm1d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, iq: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(iq).mean(-1))
        return logits


class KdMobileNet(nn.Module):
    """The smallest student: depth-wise separable convolutions, in the manner of MobileNet (arXiv 1704.04861)."""

    def __init__(self, classes: int, width: int = 12) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(2, width, 5, stride=2, padding=2), nn.BatchNorm1d(width), nn.ReLU()]
        for before, after in ((width, 2 * width), (2 * width, 4 * width)):
            layers += [
                nn.Conv1d(before, before, 5, stride=2, padding=2, groups=before),
                nn.BatchNorm1d(before),
                nn.ReLU(),
            ]
            layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, iq: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(iq).mean(-1))
        return logits


def count_parameters(model: nn.Module) -> int:
    """The number of trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count_flops(model: nn.Module, *inputs: Tensor) -> int:
    """The floating-point operations of one forward pass, by torch's own counter (products and sums counted apart)."""
    from torch.utils.flop_counter import FlopCounterMode

    training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    model.train(training)
    return int(counter.get_total_flops())
