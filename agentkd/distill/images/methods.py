"""The methods of the images road by name: what each is called with, and what a method needs."""

from __future__ import annotations

from typing import NamedTuple


class ImageMethod(NamedTuple):
    """One way to learn from a teacher. `live`: the teacher looks at images that are made anew at every step.
    `tunes`: the teacher itself is tuned first."""

    text: str
    live: bool = False
    tunes: bool = False


IMAGE_METHODS: dict[str, ImageMethod] = {
    "kd": ImageMethod("(1 - alpha) CE + alpha T² KL of softened logits"),
    "dkd": ImageMethod("decoupled KD: target and other classes apart"),
    "dist": ImageMethod("correlations between and within classes"),
    "logit-std": ImageMethod("KD of standardised logits"),
    "ofa": ImageMethod("stages projected into logit space"),
    "mix-kd": ImageMethod("partial mixup, temperature by standard deviation", live=True),
    "hard": ImageMethod("learned augmentations where teacher and student disagree", live=True),
    "mcmi": ImageMethod("a teacher tuned for conditional mutual information, then KD", tunes=True),
}
