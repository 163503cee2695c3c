"""Which of the executed paths answers the question: the retriever's ranking, the model's vote and the answers' own
agreement, in one decision.

- The retriever's scores are logits (its cosines at the scale it was trained with), so a softmax over the shown paths
  is its belief p_i.
- The model names one path; that adds `trust` nats to its logit. A 135M model deserves about one, a strong one more.
- The path is chosen by minimum Bayes risk (Kumar and Byrne, HLT-NAACL 2004): the one whose answers have the highest
  expected F1, sum_j p_j F1(answers_i, answers_j). Paths that lead to the same answers by different facts support each
  other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agentkd.agents.base import Option
from agentkd.matching import strict_f1


def beliefs(options: Sequence[Option], choice: Option | None, trust: float) -> list[float]:
    """The probability of each option; they sum to one."""
    logits = [option.logit + (trust if option is choice else 0.0) for option in options]
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def decide(options: Sequence[Option], choice: Option | None, trust: float, rank: int = 0) -> tuple[Option, float]:
    """The option of least risk and its expected F1 under the beliefs; of equal ones the first.

    A higher `rank` gives the next best option with other answers, for samples that are to differ; past the last one
    it is the best again."""
    probabilities = beliefs(options, choice, trust)
    expected = [
        sum(p * strict_f1(option.answers, other.answers) for p, other in zip(probabilities, options, strict=True))
        for option in options
    ]
    order = sorted(range(len(options)), key=lambda i: -expected[i])
    distinct = list({frozenset(options[i].answers): i for i in reversed(order)}.values())[::-1]
    best = distinct[rank] if rank < len(distinct) else distinct[0]
    return options[best], expected[best]
