"""Intersection over union of segmentations, over a whole set (as in mmsegmentation).

Intersections, predictions and labels of each class are summed over all images: IoU = I / (P + L - I), Acc = I / L,
Dice = 2 I / (P + L). It is not the mean of the images' IoU. A class that occurs in neither is NaN and left out of the
mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from agentkd.errors import UserError


class Segmentation(NamedTuple):
    """Shares in [0, 1] or NaN: of all pixels, of each class [C], and means over the classes that occur."""

    pixel_accuracy: float
    iou: Tensor
    accuracy: Tensor
    dice: Tensor
    mean_iou: float
    mean_accuracy: float
    mean_dice: float


def measure_segments(
    predictions: Iterable[Tensor],
    labels: Iterable[Tensor],
    classes: int,
    *,
    ignore: int = 255,
    absent: float | None = None,
) -> Segmentation:
    """Measure images of class numbers; sizes may differ between images.

    Pixels whose label is `ignore` are left out. `absent` replaces NaN, and then counts in the means."""
    both, predicted, true = (torch.zeros(classes, dtype=torch.float64) for _ in range(3))
    for prediction, label in zip(predictions, labels, strict=True):
        if prediction.shape != label.shape:
            raise UserError(f"a prediction of {list(prediction.shape)} for a label of {list(label.shape)} pixels")
        kept = label != ignore
        guess, truth = prediction[kept], label[kept]
        both += _count(guess[guess == truth], classes)
        predicted += _count(guess, classes)
        true += _count(truth, classes)
    shares = [both / (predicted + true - both), both / true, 2.0 * both / (predicted + true), both.sum() / true.sum()]
    if absent is not None:
        shares = [share.nan_to_num(nan=absent) for share in shares]
    iou, accuracy, dice, pixels = shares
    means = [float(share.nanmean()) for share in (iou, accuracy, dice)]
    return Segmentation(float(pixels), iou, accuracy, dice, *means)


def _count(values: Tensor, classes: int) -> Tensor:
    """The number of pixels of each class; other numbers are of no class."""
    known = values[(values >= 0) & (values < classes)]
    return torch.bincount(known.flatten().long().cpu(), minlength=classes).double()
