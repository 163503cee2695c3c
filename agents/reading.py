"""The decision between executed paths, by ranking, memory, the model's votes, and agreement.

- The retriever's scores are logits (its cosines at the scale it was trained with), so a softmax over the shown paths
  is its belief p_i. It is too sure of itself: its logits are divided by CALIBRATION.
- The memory knows which paths answered similar questions; the model votes for paths. A path that has all of either
  gains MEMORY or `trust` nats; one with a share gains less, in the logarithm of its smoothed share (a product of
  experts). A 135M model deserves about one nat, a strong one more.
- A student is far too sure of the paths it was taught, for questions that it was not taught too. Its log-likelihoods
  count as far as the question is like one of its lessons.
- The answers given have the least expected loss (minimum Bayes risk, Kumar and Byrne, HLT-NAACL 2004): the highest
  expected F1, sum_j p_j F1(answers, answers_j). Paths that lead to the same answers by different facts support each
  other. Where the belief is divided, the answers of two or three paths together promise more than those of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from agentkd.agents.option import Option
from agentkd.matching import strict_set

SMOOTHING = 0.1  # added to every path's share of the votes: eight votes do not exclude the ninth path
CALIBRATION = 1.5
MEMORY = 2.0  # nats; chosen with CALIBRATION and UNION on WebQSP training questions (docs/log.md)
LIKELIHOOD = 0.2  # weight of a model's log-likelihood, where nobody knows what it was taught
UNION = 3  # paths whose answers are given together, at most


def compute_beliefs(
    options: Sequence[Option],
    votes: Sequence[Option],
    trust: float,
    memory: Mapping[str, float] | None = None,
    likelihood: Mapping[str, float] | None = None,
    familiarity: float | None = None,
) -> list[float]:
    """The probability of each option; they sum to one.

    An option may hold several votes. `memory` has the shares of labels among similar proven questions. `likelihood`,
    in place of votes, has a student's log-likelihood of each label, in nats. `familiarity`, from 0 to 1, says how much
    the question is like one that the student was taught, and weighs what it says."""

    def gain(share: float) -> float:
        return math.log(1 + share / SMOOTHING) / math.log(1 + 1 / SMOOTHING)

    def logit(option: Option) -> float:
        remembered = (memory or {}).get(option.label, 0.0)
        prior = option.logit / CALIBRATION + MEMORY * gain(remembered)
        if likelihood is not None:
            return prior + (LIKELIHOOD if familiarity is None else familiarity) * likelihood[option.label]
        voted = sum(vote is option for vote in votes) / max(1, len(votes))
        return prior + trust * (1.0 if familiarity is None else familiarity) * gain(voted)

    logits = [logit(option) for option in options]
    highest = max(logits)
    weights = [math.exp(one - highest) for one in logits]
    return [weight / sum(weights) for weight in weights]


def choose_options(
    options: Sequence[Option],
    votes: Sequence[Option],
    trust: float,
    memory: Mapping[str, float] | None = None,
    *,
    likelihood: Mapping[str, float] | None = None,
    familiarity: float | None = None,
    rank: int = 0,
    union: int = UNION,
) -> tuple[list[Option], float]:
    """Choose the options whose answers together have the least risk, and give their expected F1.

    At most `union` options are chosen. The most probable one is first; of equally good choices the smallest wins. A
    higher `rank` gives the next best single option with other answers, for samples that are to differ; past the last
    one it is the best again."""
    chances = compute_beliefs(options, votes, trust, memory, likelihood, familiarity)
    answers = [strict_set(option.answers) for option in options]

    def expected(some: Sequence[int]) -> float:
        given = frozenset[str]().union(*(answers[i] for i in some))
        return sum(
            p * 2 * len(given & each) / ((len(given) + len(each)) or 1)
            for p, each in zip(chances, answers, strict=True)
        )

    distinct = list({each: i for i, each in reversed(list(enumerate(answers)))}.values())[::-1]
    sets = [some for size in range(1, union + 1) for some in combinations(distinct, size)]
    best = max(sets, key=expected)
    if rank:
        singles = sorted(((i,) for i in distinct), key=lambda some: -expected(some))
        others = [some for some in singles if some != best]
        best = others[rank - 1] if rank <= len(others) else best
    return sorted((options[i] for i in best), key=lambda one: -chances[options.index(one)]), expected(best)
