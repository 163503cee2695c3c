"""Made-up opinions as token sequences: words of a polarity, negators that turn the next word, and noise.

The class is the sign of what a text says in sum: against, neutral, for. A bag of words is wrong wherever a negator
stands.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PAD, BEGIN, END = 0, 1, 2
POLARITIES = {1.0: 12, -1.0: 12, 0.0: 12}  # polarity → number of words
NEGATORS = 4
FIRST = 3  # the number of the first word; the last ones are the negators
WORDS = range(FIRST, FIRST + sum(POLARITIES.values()) + NEGATORS)
VOCABULARY, CLASSES, LENGTH = WORDS.stop, 3, 6


class Opinions(NamedTuple):
    """Token numbers [N, LENGTH + 2] and classes [N] of four parts; the student has no labels of the teacher's part."""

    teacher: tuple[Tensor, Tensor]
    student: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def make_opinions(seed: int, sizes: tuple[int, int, int, int]) -> Opinions:
    """Draw the four parts."""
    generator = torch.Generator().manual_seed(seed)
    return Opinions(*(draw(size, generator) for size in sizes))


def draw(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Texts and their classes."""
    negator = torch.rand(count, LENGTH, generator=generator) < 0.1
    plain = torch.randint(FIRST, WORDS.stop - NEGATORS, (count, LENGTH), generator=generator)
    turning = torch.randint(WORDS.stop - NEGATORS, WORDS.stop, (count, LENGTH), generator=generator)
    words = torch.where(negator, turning, plain)
    edge = torch.ones(count, 1, dtype=torch.int64)
    return torch.cat([BEGIN * edge, words, END * edge], 1), classify(words)


def classify(words_NL: Tensor) -> Tensor:
    """0 against, 1 neutral, 2 for."""
    polarities = [value for value, number in POLARITIES.items() for _ in range(number)] + [0.0] * NEGATORS
    own = torch.tensor(polarities)[words_NL - FIRST]
    negator = words_NL >= WORDS.stop - NEGATORS
    turned = torch.cat([torch.zeros_like(negator[:, :1]), negator[:, :-1]], 1)
    return torch.where(turned, -own, own).sum(1).sign().long() + 1
