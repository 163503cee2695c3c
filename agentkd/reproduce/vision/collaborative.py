"""CNN and transformer on segmentation canvases: should each student follow the other only where the other is better?

Two students train together in every arm, a U-Net and a ViT, both on labels. `random masks` follows as many pixels and
regions as `bsd`, chosen at random: what it lacks is the choice. On the bed `scratch` both start untrained; on `trained`
they start from weights that each has learned alone from the labels, the same in all arms, as the paper's networks start
from trained ones: from the first step on there is something to follow. `strong` is `trained` with three times the
weight of all that is followed.
"""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from agentkd.methods.collaborative import (
    better_pixels,
    better_regions,
    feature_loss,
    pixel_distillation,
    pixel_losses,
    region_distillation,
    same_size_mask,
)
from agentkd.methods.hooks import Outputs
from agentkd.methods.metrics.miou import measure_segments
from agentkd.reproduce.beds.canvases import CLASSES, Canvases, make_canvases
from agentkd.reproduce.fit import Plan, fit, predict
from agentkd.reproduce.nets.segment import UNet, VitSegmenter

ARMS = {
    "independent": "labels alone",
    "mutual": "each follows the other at all pixels",
    "random masks": "each follows the other at random pixels and in random regions, as many as in bsd",
    "bsd": "each follows the other at the pixels and in the regions where the other's loss is lower",
    "bsd, hfd": "as bsd, and the low features of both are brought together",
}
PIXEL, REGION, FEATURE, GRID, CHANNELS = 1.0, 0.1, 0.1, 4, 16
BATCH, LR = 20, 5e-3
BEDS = {"scratch": (18, 1.0), "trained": (12, 1.0), "strong": (12, 3.0)}  # epochs together, share of the weights
ALONE = 12  # epochs before, unless from scratch


@cache
def prepare(bed: str, seed: int, quick: bool) -> tuple[Canvases, list[nn.Module]]:
    """The canvases, and both students before they meet."""
    data = make_canvases(seed, test=100 if bed == "scratch" else 300)
    torch.manual_seed(seed)
    students: list[nn.Module] = [UNet(CLASSES), VitSegmenter(CLASSES)]
    if bed != "scratch":
        plan = Plan(epochs=1 if quick else ALONE, batch=BATCH, lr=LR, seed=seed)
        for student in students:
            fit([student], data[:2], lambda x, y, model=student: cross_entropy(model(x), y), plan)
    return data, students


def one(arm: str, seed: int, quick: bool, bed: str = "scratch") -> dict[str, float]:
    """The mean IoU of both students, in percent, and of each."""
    data, start = prepare(bed, seed, quick)
    students, (epochs, share) = copy.deepcopy(start), BEDS[bed]
    if bed != "scratch":
        torch.manual_seed(seed)
    projectors = nn.ModuleList([nn.Conv2d(width, CHANNELS, 1) for width in (16, 24, 16, 24)])
    generator = torch.Generator().manual_seed(seed)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        with Outputs(students[0], ["low", "high"]) as a, Outputs(students[1], ["low", "high"]) as b:
            logits = [student(x) for student in students]
        total = cross_entropy(logits[0], y) + cross_entropy(logits[1], y)
        if arm == "independent":
            return total
        losses = [pixel_losses(each, y) for each in logits]
        high = [project(maps) for project, maps in zip(projectors[:2], (a["high"], b["high"]), strict=True)]
        for own, other in ((0, 1), (1, 0)):
            pixels = better_pixels(losses[own], losses[other])
            regions = better_regions(losses[own], losses[other], GRID)
            if arm == "mutual":
                pixels, regions = torch.ones_like(pixels), torch.ones_like(regions)
            elif arm == "random masks":
                pixels, regions = same_size_mask(pixels, generator), same_size_mask(regions, generator)
            total = total + share * PIXEL * pixel_distillation(logits[own], logits[other], pixels)
            if arm != "mutual" or bed != "scratch":
                total = total + share * REGION * region_distillation(high[own], high[other], regions)
        if arm == "bsd, hfd":
            low = [
                project(adaptive_avg_pool2d(maps, 8))
                for project, maps in zip(projectors[2:], (a["low"], b["low"]), strict=True)
            ]
            total = total + share * FEATURE * (feature_loss(low[0], low[1]) + feature_loss(low[1], low[0]))
        return total

    plan = Plan(epochs=1 if quick else epochs, batch=BATCH, lr=LR if bed == "scratch" else LR * 0.6, seed=seed)
    fit([*students, projectors], data[:2], loss, plan)
    scores = [measure(student, data.x_test, data.y_test) for student in students]
    return {"mIoU": sum(scores) / 2, "mIoU, U-Net": scores[0], "mIoU, ViT": scores[1]}


def measure(student: nn.Module, x: Tensor, y: Tensor) -> float:
    """The mean IoU over classes in percent."""
    return measure_segments(predict(student, x, batch=50).argmax(1), y, CLASSES).mean_iou * 100
