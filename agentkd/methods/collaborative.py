"""CNN and transformer learn together (Zhu et al., ICCV 2023, arXiv 2307.12574). A reconstruction.

Claim: two students of different families, that teach each other only where they are the better one, beat mutual
learning everywhere.

- HFD, low layers: each student's first features follow the other's, after a projector; L2-normalised over channels
- BSD by region: the maps are cut into a grid; in each region the student with the lower cross-entropy is the teacher,
  and the other's feature follows it (1 - cosine)
- BSD by pixel: KL(p || q) at the pixels where the other's cross-entropy is lower

The teacher's side is constant throughout. Each term is a mean over what was selected, 0 where nothing was. No public
code was found; forms and weights are our reading of the abstract. `same_size_mask` makes the control: as many places,
chosen at random. The control without selection is `logits.mutual`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, cross_entropy, normalize

from agentkd.errors import UserError
from agentkd.methods.divergences import check_features, check_finite, check_shapes, forward_kl, log_probs
from agentkd.methods.tokens.masked import token_mean


def pixel_losses(logits_BCHW: Tensor, labels_BHW: Tensor, ignore: int = 255) -> Tensor:
    """The cross-entropy of each pixel [B, H, W], constant; 0 where the label is `ignore`."""
    if logits_BCHW.shape[:1] + logits_BCHW.shape[2:] != labels_BHW.shape:
        raise UserError(
            f"logits of shape {list(logits_BCHW.shape)} for labels of {list(labels_BHW.shape)}: give a label a pixel"
        )
    check_finite("logits of pixels", logits_BCHW)
    with torch.no_grad():
        return cross_entropy(logits_BCHW, labels_BHW, ignore_index=ignore, reduction="none")


def feature_loss(own_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """HFD: the squared distance of maps that are L2-normalised over channels, mean over positions and batch."""
    check_features(own_BCHW, other_BCHW, "projected maps")
    apart = normalize(own_BCHW, dim=1) - normalize(other_BCHW.detach(), dim=1)
    return apart.square().sum(1).mean()


def better_pixels(own_loss_BHW: Tensor, other_loss_BHW: Tensor) -> Tensor:
    """Where the other student's loss is lower."""
    return other_loss_BHW < own_loss_BHW


def better_regions(own_loss_BHW: Tensor, other_loss_BHW: Tensor, grid: int) -> Tensor:
    """Where the other student's mean loss is lower, on a grid over the image [B, grid, grid]."""
    if not 1 <= grid <= min(own_loss_BHW.shape[1:]):
        raise UserError(f"{grid} × {grid} regions of an image of {list(own_loss_BHW.shape[1:])}: give 1 to its side")
    own, other = (adaptive_avg_pool2d(loss[:, None], grid)[:, 0] for loss in (own_loss_BHW, other_loss_BHW))
    return other < own


def pixel_distillation(own_BCHW: Tensor, other_BCHW: Tensor, chosen_BHW: Tensor) -> Tensor:
    """BSD by pixel: KL(p || q) over classes at the chosen pixels, their mean."""
    check_shapes(own_BCHW, other_BCHW)
    own, other = (log_probs(logits.movedim(1, -1)) for logits in (own_BCHW, other_BCHW.detach()))
    return token_mean(forward_kl(other, own), chosen_BHW)


def region_distillation(own_BCHW: Tensor, other_BCHW: Tensor, chosen_BGG: Tensor) -> Tensor:
    """BSD by region: 1 - cosine of the maps' averages in the chosen regions, their mean. Channels must agree."""
    grid = chosen_BGG.shape[-1]
    own, other = (adaptive_avg_pool2d(maps, grid) for maps in (own_BCHW, other_BCHW.detach()))
    check_features(own, other, "projected maps")
    return token_mean(1.0 - cosine_similarity(own, other, dim=1), chosen_BGG)


def same_size_mask(chosen: Tensor, generator: torch.Generator) -> Tensor:
    """A random mask with as many places in each sample as `chosen` has: the control for the selection."""
    flat = chosen.flatten(1)
    order = torch.rand(flat.shape, generator=generator).argsort(-1).argsort(-1)
    return (order < flat.sum(-1, keepdim=True).cpu()).reshape(chosen.shape).to(chosen.device)
