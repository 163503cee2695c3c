"""MiniPLM on a generated mixture: which half of a corpus teaches a small language model most.

A teacher is trained long, a reference of the student's size briefly, both on texts of their own. Both score the corpus;
students of one shape and one seed then learn from a half of it, in the same number of steps of the same size. The
validation loss is that of new documents of the two kinds from which there is something to learn. Losses on the other
kinds, and what a choice keeps of each kind, stand beside it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agentkd.methods.miniplm import difference, document_nll, keep_largest
from agentkd.reproduce.beds.mixture import ALPHABET, KINDS, LEARNABLE, Mixture, make_mixture
from agentkd.reproduce.fit import Plan, fit
from agentkd.reproduce.nets.little_lm import LittleLm, next_token_loss

ARMS = {
    "random": "a random half",
    "lowest": "the half of which the teacher has the lowest loss",
    "highest": "the half of which the teacher has the highest loss",
    "difference": "the half of which the reference's loss exceeds the teacher's most: MiniPLM",
}
KEEP, BATCH, LEARNING_RATE = 0.5, 16, 4e-3
LONG, BRIEF = 4, 1  # passes of teacher and students, and of the reference


class Prepared(NamedTuple):
    """The corpus of a seed with the scores [N] of both models, and new documents of all kinds."""

    corpus: Mixture
    teacher: Tensor
    reference: Tensor
    held_out: Mixture


@cache
def prepare(seed: int, quick: bool) -> Prepared:
    """Train teacher and reference on texts of their own, and score the corpus; all arms share it."""
    torch.manual_seed(seed)
    count = 512 if quick else 1536
    own = make_mixture(3 * seed, count)
    teacher = train(LittleLm(len(ALPHABET), 64, 2), own.ids, LONG, seed)
    reference = train(make_student(seed + 1), own.ids, BRIEF, seed)
    corpus, held_out = make_mixture(3 * seed + 1, count), make_mixture(3 * seed + 2, 400, (1, 1, 1, 1))
    return Prepared(corpus, mean_nll(teacher, corpus.ids), mean_nll(reference, corpus.ids), held_out)


def make_student(seed: int) -> nn.Module:
    """A student with fresh weights."""
    torch.manual_seed(seed)
    return LittleLm(len(ALPHABET), 48, 2)


def train(model: nn.Module, ids: Tensor, epochs: int, seed: int) -> nn.Module:
    """Train on all documents and return the model."""
    plan = Plan(epochs, batch=BATCH, lr=LEARNING_RATE, seed=seed)
    fit([model], [ids], lambda rows: next_token_loss(model, rows), plan)
    return model


@torch.no_grad()
def mean_nll(model: nn.Module, ids_NL: Tensor, batch: int = 256) -> Tensor:
    """The mean negative log-likelihood a token of each document [N], in nats."""
    parts = []
    for ids in torch.split(ids_NL, batch):
        labels = ids[:, 1:]
        parts.append(document_nll(model(ids)[:, :-1], labels, torch.ones_like(labels, dtype=torch.bool)))
    return torch.cat(parts)


def choose(arm: str, data: Prepared, seed: int) -> Tensor:
    """The numbers of the documents that an arm learns from, ascending."""
    scores = {
        "random": torch.rand(len(data.teacher), generator=torch.Generator().manual_seed(seed)),
        "lowest": -data.teacher,
        "highest": data.teacher,
        "difference": difference(data.teacher, data.reference),
    }
    return keep_largest(scores[arm], KEEP)


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Train a student on what an arm chooses; losses on new documents in nats a token, and percent of each kind."""
    data = prepare(seed, quick)
    chosen = choose(arm, data, seed)
    student = train(make_student(seed), data.corpus.ids[chosen], LONG, seed)
    losses = mean_nll(student, data.held_out.ids)
    of = {kind: float(losses[data.held_out.kinds == number].mean()) for number, kind in enumerate(KINDS)}
    kept = data.corpus.kinds[chosen]
    shares = {f"% {kind}": float((kept == number).double().mean() * 100) for number, kind in enumerate(KINDS)}
    return {"validation": sum(of[kind] for kind in LEARNABLE) / len(LEARNABLE), **of, **shares}
