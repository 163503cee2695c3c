"""Relation paths: their types, and readable labels of their steps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

Step = tuple[str, int]
"""(relation, +1) goes from head to tail, (relation, -1) from tail to head."""
RelationPath = tuple[Step, ...]
Triple = tuple[str, str, str]
"""(head, relation, tail)"""


def label_steps(relations: Sequence[str]) -> list[str]:
    """Return a distinct text for each step: relation r forward is number 2 r, backward 2 r + 1.

    A text is the relation's short name; where that is taken, its full name; where that is taken too, with a number."""
    labels: list[str] = []
    short = Counter(shorten_relation(relation) for relation in relations)
    for relation in relations:
        text = shorten_relation(relation)
        labels.append(text if text and short[text] == 1 else space_relation(relation) or "relation")
    taken: set[str] = set()
    result: list[str] = []
    for label in labels:
        text, number = label, 1
        while text in taken or f"inverse {text}" in taken:
            number += 1
            text = f"{label} ({number})"
        taken |= {text, f"inverse {text}"}
        result += [text, f"inverse {text}"]
    return result


def shorten_relation(relation: str) -> str:
    """Return the last two parts of a Freebase name: `people.person.place_of_birth` -> `person place of birth`."""
    return " ".join(space_relation(".".join(part.split(".")[-2:])) for part in relation.split(".."))


def space_relation(relation: str) -> str:
    """Return a relation's name as words."""
    return " ".join(re.sub(r"[._>]", " ", relation).split())
