"""The methods of the images road by name: what each is called with, and what a method needs."""

from __future__ import annotations

from typing import NamedTuple

from agentkd.recommend.space import Ranges, Span

LR = Span(3e-4, 1e-2, log=True)
HEAT, SHARE = Span(1.0, 8.0, log=True), Span(0.0, 1.0)


class ImageMethod(NamedTuple):
    """One way to learn from a teacher. `live`: the teacher looks at images that are made anew at every step.
    `tunes`: the teacher itself is tuned first. `ranges`: its options, and from where to where `--method auto` looks."""

    text: str
    ranges: Ranges
    live: bool = False
    tunes: bool = False


IMAGE_METHODS: dict[str, ImageMethod] = {
    "kd": ImageMethod(
        "(1 - alpha) CE + alpha T² KL of softened logits", {"lr": LR, "temperature": HEAT, "alpha": SHARE}
    ),
    "dkd": ImageMethod("decoupled KD: target and other classes apart", {"lr": LR, "temperature": HEAT}),
    "dist": ImageMethod("correlations between and within classes", {"lr": LR, "temperature": HEAT}),
    "logit-std": ImageMethod("KD of standardised logits", {"lr": LR, "temperature": HEAT, "alpha": SHARE}),
    "ofa": ImageMethod(
        "stages projected into logit space",
        {"lr": LR, "eps": Span(1.0, 2.0), "stage_weight": Span(0.05, 1.0, log=True)},
    ),
    "mix-kd": ImageMethod("partial mixup, temperature by standard deviation", {"lr": LR, "pure": SHARE}, live=True),
    "hard": ImageMethod(
        "learned augmentations where teacher and student disagree",
        {"lr": LR, "temperature": HEAT, "alpha": SHARE, "keep": Span(0.01, 1.0, log=True)},
        live=True,
    ),
    "mcmi": ImageMethod(
        "a teacher tuned for conditional mutual information, then KD",
        {"lr": LR, "temperature": HEAT, "alpha": SHARE, "cmi_weight": Span(0.1, 1.0)},
        tunes=True,
    ),
}
