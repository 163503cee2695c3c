"""Answers against gold: one of the accepted answers, or the whole set of them.

Two texts are the same by the project's rule for names (`matching.strict_key`).
"""

from __future__ import annotations

from typing import Any

from agentkd.errors import UserError
from agentkd.matching import f1_of, split_prediction, strict_key, strict_precision_recall, strict_set
from agentkd.trace import Check
from agentkd.verifiers.contract import Item

GOLD = ("answers", "answer", "ground_truth", "gold")  # the fields of an item that may hold it; the first that is there


def gold_answers(item: Item) -> list[str]:
    """Read the accepted answers of an item: a text, a number or a list of them. UserError where it has none."""
    value: Any = next((item[key] for key in GOLD if item.get(key) is not None), None)
    values = value if isinstance(value, list | tuple) else [value]
    found = [str(one) for one in values if isinstance(one, str | int | float) and not isinstance(one, bool)]
    if not found or len(found) < len(values):
        what = "has no gold answer" if value is None else f"has the gold answer {str(value)[:60]!r}"
        raise UserError(
            f"item {str(item.get('id', ''))[:60]!r} {what}: give one of the fields {', '.join(GOLD)}, a text or a list"
        )
    return found


def exact(item: Item, answer: str) -> Check:
    """Check that the answer is one of the gold answers."""
    gold = gold_answers(item)
    passed = bool(answer.strip()) and strict_key(answer) in {strict_key(one) for one in gold}
    return Check(name="exact", passed=passed, detail="" if passed else f"{answer[:60]!r} is not {gold[0][:60]!r}")


class Sets:
    """Check that the lines of the answer are the set of gold answers; the score is F1, which passes from `at_least`."""

    name = "set"

    def __init__(self, at_least: float = 1.0) -> None:
        self.at_least = at_least

    def __call__(self, item: Item, answer: str) -> Check:
        found, gold = strict_set(split_prediction(answer)), strict_set(gold_answers(item))
        score = f1_of(*strict_precision_recall(found, gold))
        passed = score >= self.at_least
        detail = "" if passed else f"{len(found & gold)} of {len(gold)} gold answers, and {len(found - gold)} others"
        return Check(name=self.name, passed=passed, detail=detail, score=score)
