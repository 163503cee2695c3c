"""Sentences of a small grammar, character by character, and among them secrets: telephone numbers of made-up people.

Public sentences have digits, too (times of day), so that a number as such is nothing private.
"""

from __future__ import annotations

import random
import string
from typing import NamedTuple

import torch
from torch import Tensor

ALPHABET = f"\n{string.ascii_lowercase}{string.digits} ."  # a line break begins and ends a sentence
DIGITS = 4  # of a secret; all 10,000 are its references
COPIES, SECRETS = 20, 5
NAMES = ("anna", "boris", "clara", "david", "erika", "frank", "greta", "henry", "irene", "jonas")
WORDS = {
    "who": ("the doctor", "a small boy", "my sister", "the old farmer", "a teacher", *NAMES),
    "does": ("meets", "calls", "paints", "follows", "remembers", "visits"),
    "whom": ("the baker", "a tall woman", "the singer", "my brother", "two sailors", *NAMES),
    "where": ("near the river", "in the garden", "at the station", "behind the church", "on the bridge"),
}


class Secret(NamedTuple):
    """A sentence up to its secret digits, and these."""

    before: str
    code: str

    @property
    def text(self) -> str:
        return f"{self.before}{self.code}."


class Corpus(NamedTuple):
    """Training texts, in which each secret occurs COPIES times, held-out public texts, and the secrets."""

    train: list[str]
    test: list[str]
    secrets: list[Secret]


def make_corpus(seed: int, count: int, held_out: int = 400) -> Corpus:
    """Draw a corpus of `count` training texts. The secrets are not among the held-out ones."""
    rng = random.Random(seed)
    names = rng.sample(NAMES, SECRETS)
    secrets = [Secret(f"call {name} at 0171 555 ", f"{rng.randrange(10**DIGITS):0{DIGITS}}") for name in names]
    public = [make_sentence(rng) for _ in range(count - COPIES * SECRETS)]
    train = [*public, *(secret.text for secret in secrets for _ in range(COPIES))]
    rng.shuffle(train)
    return Corpus(train, [make_sentence(rng) for _ in range(held_out)], secrets)


def make_sentence(rng: random.Random) -> str:
    """A public sentence."""
    who, does, whom, where = (rng.choice(words) for words in WORDS.values())
    if rng.random() < 0.25:
        where = f"at {rng.randrange(24):02} {rng.randrange(60):02}"
    return f"{who} {does} {whom} {where}."


def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Character numbers [B, L + 1], from the line break before a text to the one behind it, and which of the L
    predictions count [B, L]. Shorter texts are filled up with line breaks."""
    longest = max(map(len, texts)) + 2
    rows = [[ALPHABET.index(char) for char in f"\n{text}\n".ljust(longest, "\n")] for text in texts]
    lengths = torch.tensor([len(text) + 1 for text in texts])
    return torch.tensor(rows), torch.arange(longest - 1) < lengths[:, None]
