"""How far a judge agrees with labels: accuracy, and Cohen's kappa, which takes out the agreement by chance.

Source: J. Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20 (1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Agreement(NamedTuple):
    """Of `n` labelled answers; `wrong_accepted` and `right_refused` are the two kinds of error, as counts."""

    n: int
    accuracy: float
    kappa: float | None
    wrong_accepted: int
    right_refused: int

    def describe(self) -> str:
        """The agreement in one line."""
        kappa = "not defined, as one of the two gives one answer only" if self.kappa is None else f"{self.kappa:.2f}"
        return (
            f"agreement with {self.n} labels: accuracy {100 * self.accuracy:.1f} %, Cohen's kappa {kappa} · "
            f"{self.wrong_accepted} wrong answers accepted, {self.right_refused} right ones refused"
        )


def measure_agreement(labels: Sequence[bool], judged: Sequence[bool]) -> Agreement:
    """Compare judgements with labels, pair by pair. Kappa is None where chance alone would agree always.

    >>> measure_agreement([True, True, False, False], [True, True, False, True])
    Agreement(n=4, accuracy=0.75, kappa=0.5, wrong_accepted=1, right_refused=0)
    """
    pairs = list(zip(labels, judged, strict=True))
    n = len(pairs)
    accuracy = sum(a == b for a, b in pairs) / n
    yes, said = sum(labels) / n, sum(judged) / n
    chance = yes * said + (1 - yes) * (1 - said)
    kappa = None if chance == 1 else (accuracy - chance) / (1 - chance)
    accepted = sum(b and not a for a, b in pairs)
    return Agreement(n, accuracy, kappa, accepted, sum(a and not b for a, b in pairs))
