"""Agreement of samples: the answer that most samples of an item give (self-consistency, Wang et al., ICLR 2023)."""

from __future__ import annotations

from collections import Counter

from agentkd.errors import UserError
from agentkd.matching import split_prediction, strict_set
from agentkd.trace import Check
from agentkd.verifiers.contract import Item


class Majority:
    """Check that the answer is the one that most of the item's `samples` give, and at least the share `at_least`.

    `samples` are the answers of all samples of the item, this one included; the score is the answer's share of them.
    Of equally frequent answers none passes."""

    name = "majority"

    def __init__(self, at_least: float = 0.5) -> None:
        self.at_least = at_least

    def __call__(self, item: Item, answer: str) -> Check:
        samples = item.get("samples")
        if not isinstance(samples, list) or not samples:
            raise UserError("majority needs the samples of a finished run: agentkd verify RUN --verify majority")
        counts = Counter(strict_set(split_prediction(str(sample))) for sample in samples)
        own = counts[strict_set(split_prediction(answer))]
        score = own / len(samples)
        rivals = [count for key, count in counts.items() if key != strict_set(split_prediction(answer))]
        most = max(rivals, default=0)
        passed = bool(answer.strip()) and len(samples) > 1 and own > most and score >= self.at_least
        detail = "" if passed else f"{own} of {len(samples)} samples agree, the next answer has {most}"
        return Check(name=self.name, passed=passed, detail=detail, score=score)
