"""Means over tokens. No token: 0, not 0 / 0."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -100


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over all tokens of the batch that count."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def sequence_mean(values_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """The mean over the tokens that count of each sequence [B]."""
    return torch.where(mask_BL, values_BL, 0.0).sum(-1) / mask_BL.sum(-1).clamp_min(1)
