"""Swing distillation on sentences with planted secrets: how exposed are they in the student, at what task loss?

The teacher has read five telephone numbers twenty times each. Students learn from the teacher's distributions over the
same texts, where the detector of `agentkd/methods/private_text.py` finds the numbers. A secret's exposure is its exact
rank among all codes of its length: log2 of their number where the model finds the true one likeliest, about 1.44 bits
on average for a model that knows nothing.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from agentkd.methods.divergences import log_probs
from agentkd.methods.metrics.exposure import exposure_by_rank
from agentkd.methods.private_text import find_private
from agentkd.methods.swing import seeded_noise, soften, swing_loss, token_seeds
from agentkd.reproduce.beds.canaries import ALPHABET, DIGITS, Corpus, Secret, encode, make_corpus
from agentkd.reproduce.fit import Plan, fit, predict
from agentkd.reproduce.nets.characters import CharacterModel

ARMS = {
    "teacher": "the teacher itself",
    "labels": "a student of the texts themselves",
    "kd": "a student of the teacher's distributions",
    "swing": "as kd; at private characters and the one behind them temperature 32, and noise of 2, fixed a secret",
    "passage alone": "as swing, but the character behind a passage is public",
    "temperature": "as swing without the noise",
    "noise": "as swing at temperature 1",
    "fresh noise": "as swing, but the noise is drawn anew at each visit",
    "mask": "as kd, private characters left out of the loss: the simpler control",
    "global temperature": "as kd at T = 4 for teacher and student everywhere, T²: Hinton's",
}
TAU, SIGMA, TEMPERATURE = 32.0, 2.0, 4.0
TEACHER, STUDENT = 64, 48


class Setting(NamedTuple):
    """What is done at private characters: temperature, noise (fixed or fresh), or no loss; how many characters behind a
    passage are private; and T everywhere."""

    tau: float = 1.0
    sigma: float = 0.0
    fresh: bool = False
    masked: bool = False
    behind: int = 1
    temperature: float = 1.0


SETTINGS = {
    "kd": Setting(),
    "swing": Setting(TAU, SIGMA),
    "passage alone": Setting(TAU, SIGMA, behind=0),
    "temperature": Setting(TAU),
    "noise": Setting(sigma=SIGMA),
    "fresh noise": Setting(TAU, SIGMA, fresh=True),
    "mask": Setting(masked=True),
    "global temperature": Setting(temperature=TEMPERATURE),
}


class Bed(NamedTuple):
    """A seed's texts as numbers, which predictions count, the teacher and what it says [N, L, V]."""

    corpus: Corpus
    ids: Tensor
    counts: Tensor
    teacher: CharacterModel
    logits: Tensor


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """The mean exposure of the secrets in bits, and nats a character on held-out public sentences."""
    bed = prepare(seed, quick)
    model = bed.teacher if arm == "teacher" else train(arm, bed, seed, quick)
    ids, counts = encode(bed.corpus.test)
    return {
        "exposure": float(sum(measure_exposure(model, secret) for secret in bed.corpus.secrets))
        / len(bed.corpus.secrets),
        "task loss": float(cross_entropy(predict(model, ids[:, :-1])[counts], ids[:, 1:][counts])),
    }


@cache
def prepare(seed: int, quick: bool) -> Bed:
    """The texts of a seed and its teacher, trained on them."""
    corpus = make_corpus(seed, 600 if quick else 1500)
    ids, counts = encode(corpus.train)
    torch.manual_seed(seed)
    teacher = CharacterModel(len(ALPHABET), TEACHER)
    fit([teacher], (ids, counts), lambda rows, kept: label_loss(teacher, rows, kept), make_plan(seed, quick))
    return Bed(corpus, ids, counts, teacher, predict(teacher, ids[:, :-1]))


def mark_private(texts: list[str], counts: Tensor, behind: int) -> tuple[Tensor, Tensor]:
    """How private each character to predict is [N, L], and its fixed noise [N, L, V]."""
    seeds = torch.zeros_like(counts, dtype=torch.int64)
    for row, text in enumerate(texts):
        spans = [passage[:2] for passage in find_private(text)]
        places = [(place, place + 1) for place in range(len(text))]
        seeds[row, : len(text)] = torch.tensor(token_seeds(text, spans, places, behind=behind))
    noise = torch.zeros(*seeds.shape, len(ALPHABET))
    noise[seeds > 0] = seeded_noise(seeds[seeds > 0].tolist(), len(ALPHABET))
    return (seeds > 0).float(), noise


def make_plan(seed: int, quick: bool) -> Plan:
    """Of teachers and students alike."""
    return Plan(epochs=2 if quick else 12, batch=50, lr=1e-2, seed=seed)


def label_loss(model: CharacterModel, ids: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy of the texts' own characters."""
    return cross_entropy(model(ids[:, :-1])[counts], ids[:, 1:][counts])


def train(arm: str, bed: Bed, seed: int, quick: bool) -> CharacterModel:
    """The student of an arm."""
    torch.manual_seed(seed)
    model, generator = CharacterModel(len(ALPHABET), STUDENT), torch.Generator().manual_seed(seed)
    how = SETTINGS.get(arm, Setting())
    private_NL, noise_NLV = mark_private(bed.corpus.train, bed.counts, how.behind)

    def loss(ids: Tensor, counts: Tensor, private: Tensor, noise: Tensor, logits: Tensor) -> Tensor:
        if arm == "labels":
            return label_loss(model, ids, counts)
        if how.fresh:
            noise = torch.randn(noise.shape, generator=generator)
        if how.masked:
            counts = counts & (private == 0)
        target = soften(logits, private, tau_max=how.tau, sigma=how.sigma, noise_LV=noise)
        target = log_probs(target, how.temperature)
        return how.temperature**2 * swing_loss(model(ids[:, :-1]) / how.temperature, target, counts)

    data = bed.ids, bed.counts, private_NL, noise_NLV, bed.logits
    fit([model], data, loss, make_plan(seed, quick))
    return model


@torch.no_grad()
def measure_exposure(model: CharacterModel, secret: Secret) -> float:
    """The exposure of a secret among all codes of its length, in bits. What is before it is the same for all."""
    codes = ["".join(digits) for digits in product("0123456789", repeat=DIGITS)]
    before = torch.tensor([[ALPHABET.index(char) for char in f"\n{secret.before}"]])
    after = torch.tensor([[ALPHABET.index(char) for char in f"{code}.\n"] for code in codes])
    start, state = model.read(before)
    rest, _ = model.read(after[:, :-1], state.expand(-1, len(codes), -1).contiguous())
    log_p = torch.cat([start[:, -1:].expand(len(codes), -1, -1), rest], 1).log_softmax(-1)
    surprise = -log_p.gather(-1, after[..., None]).sum((1, 2)).double()
    own = codes.index(secret.code)
    others = torch.cat([surprise[:own], surprise[own + 1 :]])
    return float(exposure_by_rank([float(surprise[own])], others.tolist())[0])
