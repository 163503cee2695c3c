"""Which of the executed paths answers the question: the retriever's ranking, the model's vote and the answers' own
agreement, in one decision.

- The retriever's scores are logits (its cosines at the scale it was trained with), so a softmax over the shown paths
  is its belief p_i.
- The model votes for paths; a path that gets all votes gains `trust` nats, one that gets a share of them less, in
  the logarithm of its share (a product of experts, with the shares smoothed). A 135M model deserves about one nat, a
  strong one more.
- The path is chosen by minimum Bayes risk (Kumar and Byrne, HLT-NAACL 2004): the one whose answers have the highest
  expected F1, sum_j p_j F1(answers_i, answers_j). Paths that lead to the same answers by different facts support each
  other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agentkd.agents.base import Option
from agentkd.matching import strict_f1

SMOOTHING = 0.1  # added to every path's share of the votes: eight votes do not exclude the ninth path


def beliefs(options: Sequence[Option], votes: Sequence[Option], trust: float) -> list[float]:
    """The probability of each option; they sum to one. An option may hold several votes."""

    def gain(option: Option) -> float:
        share = sum(vote is option for vote in votes) / max(1, len(votes))
        return trust * math.log(1 + share / SMOOTHING) / math.log(1 + 1 / SMOOTHING)

    logits = [option.logit + gain(option) for option in options]
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def decide(options: Sequence[Option], votes: Sequence[Option], trust: float, rank: int = 0) -> tuple[Option, float]:
    """The option of least risk and its expected F1 under the beliefs; of equal ones the first.

    A higher `rank` gives the next best option with other answers, for samples that are to differ; past the last one
    it is the best again."""
    probabilities = beliefs(options, votes, trust)
    expected = [
        sum(p * strict_f1(option.answers, other.answers) for p, other in zip(probabilities, options, strict=True))
        for option in options
    ]
    order = sorted(range(len(options)), key=lambda i: -expected[i])
    distinct = list({frozenset(options[i].answers): i for i in reversed(order)}.values())[::-1]
    best = distinct[rank] if rank < len(distinct) else distinct[0]
    return options[best], expected[best]
