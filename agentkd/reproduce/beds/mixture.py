"""A corpus of four kinds of documents, made by a seed: what is easy, what is noise, and what there is to learn.

- `boilerplate`: one of four notices, over and over; any model knows it soon
- `noise`: characters drawn at random; no model ever knows it
- `grammar`: sentences whose verb agrees with a noun some words before it
- `facts`: which colour, town and number belong to a name; the same for all seeds, so that models share a world

Every document has LENGTH characters, so that equal documents are equal tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,:"
LENGTH = 48
KINDS = ("boilerplate", "noise", "grammar", "facts")
LEARNABLE = ("grammar", "facts")  # what there is to learn
SHARES = (0.4, 0.3, 0.15, 0.15)
NAMES = 40  # of the facts

_NOTICES = (
    "all rights reserved. no part may be copied without permission. ",
    "click here to accept cookies and to read the terms of service. ",
    "subscribe to the newsletter, share this page, leave a comment. ",
    "page not found: the address may be wrong. return to the start. ",
)
_NOUNS = [
    "cat",
    "dog",
    "bird",
    "king",
    "queen",
    "child",
    "farmer",
    "sailor",
    "teacher",
    "robot",
    "wolf",
    "judge",
    "baker",
    "miner",
]
_PLACES = ["river", "house", "tree", "wall", "ship", "tower", "garden", "bridge", "field", "market"]
_VERBS = ["sleep", "sing", "run", "wait", "dance", "hide", "shout", "work", "swim", "climb", "laugh", "rest"]
_WORDS = ["near", "behind", "above", "below", "beside"]
_COLOURS = ["red", "blue", "green", "black", "white", "grey", "pink", "brown"]
_TOWNS = ["lima", "oslo", "cairo", "delhi", "tunis", "quito", "minsk", "paris", "seoul", "turin"]


class Mixture(NamedTuple):
    """Documents as token ids [N, LENGTH], and the number of each one's kind [N]."""

    ids: Tensor
    kinds: Tensor


def make_mixture(seed: int, count: int, shares: tuple[float, ...] = SHARES) -> Mixture:
    """`count` documents in random order, `shares` of each kind."""
    draw = np.random.default_rng(seed)
    kinds = draw.choice(len(KINDS), size=count, p=np.array(shares) / sum(shares))
    makers = (_boilerplate, _noise, _grammar, _facts)
    texts = [_fill(makers[kind], draw) for kind in kinds]
    places = {char: place for place, char in enumerate(ALPHABET)}
    return Mixture(torch.tensor([[places[char] for char in text] for text in texts]), torch.from_numpy(kinds))


def _fill(maker: object, draw: np.random.Generator) -> str:
    text = ""
    while len(text) < LENGTH:
        text += maker(draw)  # type: ignore[operator]
    return text[:LENGTH]


def _boilerplate(draw: np.random.Generator) -> str:
    return _NOTICES[draw.integers(len(_NOTICES))]


def _noise(draw: np.random.Generator) -> str:
    return "".join(draw.choice(list(ALPHABET), LENGTH))


def _grammar(draw: np.random.Generator) -> str:
    noun, place, word, verb = (words[draw.integers(len(words))] for words in (_NOUNS, _PLACES, _WORDS, _VERBS))
    several = draw.random() < 0.5
    other = "s" * int(draw.random() < 0.5)
    return f"the {noun}{'s' if several else ''} {word} the {place}{other} {verb}{'' if several else 's'}. "


def _facts(draw: np.random.Generator) -> str:
    return _FACTS[draw.integers(len(_FACTS))]


def _make_facts() -> list[str]:
    draw = np.random.default_rng(20_241_017)
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    names: list[str] = []
    while len(names) < NAMES:
        name = "".join(draw.choice(list(part)) for part in (consonants, vowels, consonants, vowels))
        names += [name] * (name not in names)
    facts = []
    for name in names:
        colour, town, number = _COLOURS[draw.integers(8)], _TOWNS[draw.integers(10)], draw.integers(10, 100)
        facts += [f"{name} is {colour}. ", f"{name} of {town}. ", f"{name}: {number}. "]
    return facts


_FACTS = _make_facts()
