"""The beds of small images by name: each gives a `Split` for a seed, with a border of empty pixels."""

from __future__ import annotations

from agentkd.reproduce.beds.digits import Split, make_digits
from agentkd.reproduce.beds.mnist import make_mnist


def make_images(bed: str, seed: int, *, border: int = 0) -> Split:
    """The images of `digits` (8 × 8, 1,200 for training) or `mnist` (14 × 14, 3,000 for training)."""
    return {"digits": make_digits, "mnist": make_mnist}[bed](seed, border=border)
