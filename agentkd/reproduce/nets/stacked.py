"""Many MLPs of one shape as one module: copies that are trained at once, each on rows of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StackedMlp(nn.Module):
    """K independent MLPs of one hidden layer: [N, K, inputs] to logits [N, K, classes]. Copies start
    differently, unless `alike`."""

    def __init__(self, copies: int, inputs: int, hidden: int, classes: int, *, alike: bool = False) -> None:
        super().__init__()
        self.first, self.first_bias = _draw(copies, inputs, hidden, alike)
        self.second, self.second_bias = _draw(copies, hidden, classes, alike)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.baddbmm(self.first_bias, x.transpose(0, 1), self.first).relu()
        return torch.baddbmm(self.second_bias, hidden, self.second).transpose(0, 1)

    @torch.no_grad()
    def average(self) -> None:
        """Give all copies the mean of their weights."""
        for parameter in self.parameters():
            parameter.copy_(parameter.mean(0, keepdim=True).expand_as(parameter))


def _draw(copies: int, before: int, after: int, alike: bool) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights and biases as `nn.Linear` draws them."""
    bound = before**-0.5
    drawn = 1 if alike else copies
    weight = torch.empty(drawn, before, after).uniform_(-bound, bound).expand(copies, -1, -1).clone()
    bias = torch.empty(drawn, 1, after).uniform_(-bound, bound).expand(copies, -1, -1).clone()
    return nn.Parameter(weight), nn.Parameter(bias)
