"""Overlap of two sets of questions: by text, and by the root of their ids."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from agentkd.matching import normalize
from agentkd.tasks.question import Question


class Overlap(NamedTuple):
    """Ids of training questions to leave out, and of test questions to report apart."""

    train: frozenset[str]
    test: frozenset[str]


def id_root(question_id: str) -> str:
    """Return the id that an id derives from.

    CWQ's `WebQTest-832_c33450…` is composed from WebQSP's `WebQTest-832`.
    """
    return re.sub(r"_[0-9a-f]{16,}$", "", question_id)


def find_overlaps(train: Iterable[Question], test: Iterable[Question]) -> Overlap:
    """Find the questions of each set that share their normalised text or id root with the other set."""
    train, test = list(train), list(test)

    def shared(questions: list[Question], others: list[Question]) -> frozenset[str]:
        texts = {normalize(other.question) for other in others}
        roots = {id_root(other.id) for other in others}
        return frozenset(q.id for q in questions if normalize(q.question) in texts or id_root(q.id) in roots)

    return Overlap(shared(train, test), shared(test, train))
