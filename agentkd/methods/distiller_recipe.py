"""Distiller's components as one flat recipe, and what joins two networks' layers (He et al. 2021, arXiv 2109.11105).

loss = kd_weight x prediction loss + hidden_weight x mean over pairs of layers of the intermediate loss. The paper's
scripts have both weights 1 and no labels, skip, alpha 0.9 and 30 % of the words replaced. Its EMD mapping,
back-translation and mixup are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from agentkd.errors import UserError
from agentkd.methods.bounds import Critic, interpolated
from agentkd.methods.distiller import hidden_ce, hidden_cosine, hidden_mse, logits_ce, logits_mse, map_layers

Augmentation = Literal["none", "replace"]
Mapping = Literal["skip", "last"]
Hidden = Literal["none", "mse", "ce", "cosine", "mi-alpha"]
Prediction = Literal["ce", "mse"]

BETWEEN_STATES = {"mse": hidden_mse, "ce": hidden_ce, "cosine": hidden_cosine}
BETWEEN_LOGITS = {"ce": logits_ce, "mse": logits_mse}


@dataclass(frozen=True)
class Recipe:
    """One choice of each component. `alpha` weighs InfoNCE's baseline in MI-alpha; `replaced` is a share of tokens."""

    augmentation: Augmentation = "none"
    mapping: Mapping = "skip"
    hidden: Hidden = "mi-alpha"
    prediction: Prediction = "mse"
    alpha: float = 0.9
    replaced: float = 0.3
    temperature: float = 1.0
    kd_weight: float = 1.0
    hidden_weight: float = 1.0


class LayerLoss(nn.Module):
    """The intermediate loss of a recipe between a student's and a teacher's layers, mean over the pairs.

    Its parameters are trained with the student: a projection for each pair to the teacher's width (bias-free, and for
    equal widths, too), or MI-alpha's critics. MI-alpha compares samples, each the mean of its tokens that count, where
    the paper takes the first token: a decoder's first token has seen nothing."""

    def __init__(self, recipe: Recipe, widths: tuple[int, int], layers: tuple[int, int]) -> None:
        super().__init__()
        if recipe.hidden not in (*BETWEEN_STATES, "mi-alpha"):
            raise UserError(f"the intermediate loss is {recipe.hidden!r}: choose {', '.join(BETWEEN_STATES)}, mi-alpha")
        self.recipe = recipe
        self.pairs = map_layers(*layers, recipe.mapping)
        critics = recipe.hidden == "mi-alpha"
        self.join = nn.ModuleList(Critic(*widths) if critics else nn.Linear(*widths, bias=False) for _ in self.pairs)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], mask_BL: Tensor) -> Tensor:
        """The loss of states [B, L, D] and [B, L, E], one tensor a layer of each model, the embedding's left out."""
        parts = [
            self.compare(join, student[own], teacher[other], mask_BL)
            for join, (own, other) in zip(self.join, self.pairs, strict=True)
        ]
        return torch.stack(parts).mean()

    def compare(self, join: nn.Module, own: Tensor, other: Tensor, mask_BL: Tensor) -> Tensor:
        """The loss of one pair of layers."""
        if self.recipe.hidden in BETWEEN_STATES:
            return BETWEEN_STATES[self.recipe.hidden](join(own), other, mask_BL)
        scores_KK, baseline_K = join(mean_of_tokens(own, mask_BL), mean_of_tokens(other, mask_BL))
        return -interpolated(scores_KK, baseline_K, self.recipe.alpha)


def mean_of_tokens(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """The mean [B, D] of the tokens that count."""
    counts = mask_BL.to(states_BLD.dtype)[..., None]
    return (states_BLD * counts).sum(1) / counts.sum(1).clamp_min(1.0)


def replace_tokens(ids_BL: Tensor, share: float, words: Sequence[int], generator: torch.Generator) -> Tensor:
    """Replace each token that is one of `words` with probability `share` by one of them, drawn evenly."""
    choices = torch.tensor(words)
    drawn = choices[torch.randint(len(choices), ids_BL.shape, generator=generator)]
    chosen = torch.rand(ids_BL.shape, generator=generator) < share
    return torch.where(chosen & torch.isin(ids_BL, choices), drawn, ids_BL)
