"""Elicitation on `geo`: data that were verified against data that were not, and a round of self-improvement.

The teacher is BM25, whose first path is right for about half of the questions. Its data are labels of training
questions (labeling). Verified data hold the first of its four best paths that the knowledge base proves and gold
confirms. The student is a small language model of random weights that writes paths; it chooses the likeliest of twelve
candidates, without the retriever's scores.

Self-improvement (STaR, arXiv 2203.14465; self-knowledge in the survey): a student that has learned from a few verified
labels chooses paths for the other questions, which are verified the same way. It begins anew from random weights with
both, as STaR does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import torch

from agentkd.reproduce.beds.geo_paths import Item, make_items
from agentkd.reproduce.fit import Plan
from agentkd.reproduce.nets.path_model import PathModel

ARMS = {
    "unverified": "the teacher's first path, of random questions",
    "same questions": "the teacher's first path, of the questions of `verified`",
    "verified": "as many verified labels",
    "seed": "100 verified labels",
    "seed, longer": "the same, for the steps of `star`",
    "self, unverified": "the same, and its student's first choices for as many questions as in `star`",
    "star": "the same, and its student's verified choices for the other questions",
}
QUESTIONS, SIZE, SEED_SIZE = 800, 400, 100
TRIED = 4  # paths of a question that are verified, the best first
STEPS = 400  # for SIZE labels
Chosen = tuple[Item, int]  # a question and the place of the candidate that is learned


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Train a student; strict F1 on the test questions, and the share of its labels that gold confirms, in percent."""
    labels = choose_labels(arm, seed, quick)
    steps = count_steps(len(choose_labels("star", seed, quick))) if arm == "seed, longer" else count_steps(len(labels))
    student = train(labels, seed, steps // 4 if quick else steps)
    test = make_items("test", 60 if quick else 300)
    first = [ranked[0] for ranked in rank(student, test)]
    return {
        "strict F1": sum(item.f1(choice) for item, choice in zip(test, first, strict=True)) / len(test),
        "right labels": 100 * sum(item.f1(choice) > 0 for item, choice in labels) / len(labels),
        "labels": float(len(labels)),
    }


@cache
def choose_labels(arm: str, seed: int, quick: bool) -> tuple[Chosen, ...]:
    """The labels of an arm; those of a seed's arms come from one order of the training questions."""
    items = shuffle_items(seed, quick)
    verified = find_verified(seed, quick)
    some = verified[:SEED_SIZE]
    if arm in ("seed", "seed, longer"):
        return some
    if arm in ("verified", "same questions", "unverified"):
        chosen = verified[:SIZE]
        first = [item for item, _ in chosen] if arm == "same questions" else items[: len(chosen)]
        return chosen if arm == "verified" else tuple((item, 0) for item in first)
    taught = {id(item) for item, _ in some}
    others = [item for item in items if id(item) not in taught]
    choices = rank(train(some, seed, count_steps(len(some)) // (4 if quick else 1)), others)
    own = [pair for item, ranked in zip(others, choices, strict=True) if (pair := first_verified(item, ranked))]
    if arm == "star":
        return (*some, *own)
    return (*some, *((item, ranked[0]) for item, ranked in zip(others[: len(own)], choices, strict=False)))


@cache
def shuffle_items(seed: int, quick: bool) -> tuple[Item, ...]:
    """The training questions in an order of the seed's."""
    items = list(make_items("train", 240 if quick else QUESTIONS))
    random.Random(seed).shuffle(items)
    return tuple(items)


@cache
def find_verified(seed: int, quick: bool) -> tuple[Chosen, ...]:
    """The verified labels of the teacher, in the seed's order of questions, as many as an arm needs."""
    found: list[Chosen] = []
    for item in shuffle_items(seed, quick):
        if len(found) < SIZE and (pair := first_verified(item, range(len(item.options)))):
            found.append(pair)
    return tuple(found)


def first_verified(item: Item, ranked: Sequence[int]) -> Chosen | None:
    """A question with the first of its TRIED best candidates that is verified; None where there is none."""
    return next(((item, choice) for choice in ranked[:TRIED] if item.verify(choice)), None)


def count_steps(labels: int) -> int:
    """The steps that a student trains on so many labels: as many passes over them, with a floor for few."""
    return max(STEPS // 2, STEPS * labels // SIZE)


def train(labels: Sequence[Chosen], seed: int, steps: int) -> PathModel:
    """A student of the seed's random weights that has learned the labels."""
    torch.manual_seed(seed)
    items = make_items("train", QUESTIONS)
    student = PathModel([text for item in items for text in (item.text, *(one.label for one in item.options))])
    batch = min(32, len(labels))
    plan = Plan(epochs=max(1, steps // (len(labels) // batch)), batch=batch, lr=2e-3, weight_decay=0.1, seed=seed)
    student.learn([(item.text, item.options[choice].label) for item, choice in labels], plan)
    return student


def rank(student: PathModel, items: Sequence[Item]) -> list[list[int]]:
    """The candidates of each question in the order of the student's likelihood."""
    weights = iter(student.weigh([(item.text, option.label) for item in items for option in item.options]))
    scores = [[next(weights) for _ in item.options] for item in items]
    return [sorted(range(len(some)), key=lambda choice: -some[choice]) for some in scores]
