"""In which order to try candidates: those first that earned most in similar competitions for the time they took.

Nothing is left out and nothing is taken on trust: a case counts by its likeness, by what later runs said of it, and
less where the other cases contradict it. So a forged or strange case costs an order, never a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from agentkd.agents.agent_k.experience.case import Case, Fingerprint, Trial
from agentkd.agents.agent_k.experience.store import Known

LEAST_LIKE = 0.05  # likeness from which on a case says something
PENDING = 0.5  # weight of a case that later runs have not borne out yet
CONTRADICTED = 0.1  # weight of one whose order the other cases contradict
PEERS = 3  # cases with common candidates that it takes to contradict one
PRIOR = 0.3  # cases' worth of belief that all candidates earn the same
AGREES, CONTRADICTS = 0.2, -0.1  # rank correlations


@dataclass(frozen=True)
class Advisor:
    """A case with the weight of its advice."""

    known: Known
    weight: float


def find_advisors(known: Sequence[Known], fingerprint: Fingerprint, competition: str = "") -> list[Advisor]:
    """The cases that say something of a competition, the weightiest first.

    Cases of the same data (`competition`) count like any other: a user may run it again."""
    able = [item for item in known if item.status != "off" and item.case.trials]
    near = [(item, item.case.fingerprint.likeness(fingerprint)) for item in able]
    near = [(item, like) for item, like in near if like >= LEAST_LIKE]
    advisors = []
    for item, like in near:
        weight = like * (1.0 if item.status == "trusted" else PENDING)
        others = [(agreement(item.case.trials, other.case.trials), its) for other, its in near if other is not item]
        heard = [(value, its) for value, its in others if value is not None]
        if len(heard) >= PEERS and sum(v * w for v, w in heard) / sum(w for _, w in heard) < CONTRADICTS:
            weight *= CONTRADICTED
        advisors.append(Advisor(item, weight))
    return sorted(advisors, key=lambda advisor: -advisor.weight)


def expected_shares(advisors: Sequence[Advisor], names: Sequence[str]) -> dict[str, float]:
    """The share of the final file that each candidate is expected to earn; all alike without advisors."""
    prior = 1 / max(1, len(names))
    out = {}
    for name in names:
        heard = [(a.weight, trial.share) for a in advisors for trial in a.known.case.trials if trial.name == name]
        total = PRIOR + sum(weight for weight, _ in heard)
        out[name] = (PRIOR * prior + sum(weight * share for weight, share in heard)) / total
    return out


def order_by_experience(advisors: Sequence[Advisor], seconds: Mapping[str, float], first: int = 1) -> list[str]:
    """Order candidates, given as name → expected seconds, by what they earn a second.

    The `first` ones stay in front: they are safe, and the first valid file comes from them. Without advisors the order
    stays as it is."""
    names = list(seconds)
    if not advisors:
        return names
    shares = expected_shares(advisors, names)
    return names[:first] + sorted(names[first:], key=lambda name: -shares[name] / max(seconds[name], 0.1))


def agreement(trials: Sequence[Trial], others: Sequence[Trial]) -> float | None:
    """Kendall's rank correlation of the qualities of common candidates, from -1 to 1; None for fewer than three."""
    mine = {trial.name: trial.quality for trial in trials}
    pairs = [(mine[trial.name], trial.quality) for trial in others if trial.name in mine]
    if len(pairs) < 3:
        return None
    signs = [((a > b) - (a < b)) * ((c > d) - (c < d)) for (a, c), (b, d) in combinations(pairs, 2)]
    return sum(signs) / len(signs)


def judge_advisors(advisors: Sequence[Advisor], case: Case) -> list[tuple[str, bool]]:
    """What a finished run says of the cases that advised it: key, and whether they were borne out.

    In between, or with too few common candidates, it says nothing."""
    found = []
    for advisor in advisors:
        value = agreement(advisor.known.case.trials, case.trials)
        if advisor.known.case.key != case.key and value is not None and (value >= AGREES or value <= CONTRADICTS):
            found.append((advisor.known.case.key, value >= AGREES))
    return found


def describe_advice(advisors: Sequence[Advisor], before: Sequence[str], after: Sequence[str]) -> str:
    """The line of a run: what its order rests on."""
    count = len(advisors)
    moved = [name for name, old in zip(after, before, strict=True) if name != old]
    titles = ", ".join(advisor.known.case.title or advisor.known.case.key for advisor in advisors[:3])
    basis = f"{count} similar competition{'s' * (count != 1)} ({titles}{' …' if count > 3 else ''})"
    if not moved:
        return f"experience of {basis}: the order of candidates stays"
    return f"experience of {basis}: tries {', '.join(after[:4])}{' …' if len(after) > 4 else ''} (experience=off: not)"
