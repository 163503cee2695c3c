"""The share of a question's gold proof that the evidence of a trace holds.

A gold proof is the facts that whoever made the question says lead to its answer (KGQAGen, PathQuestion, some of CWQ).
Evidence is compared by clean names, either way round. Where a proof states a fact and its inverse, both are one fact.
The verifier asks whether evidence leads to the answers; this asks whether it is the evidence that was meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from agentkd.matching import clean_name

Fact = tuple[str, str, str]


def share_held(proof: Sequence[Fact], evidence: Iterable[Fact]) -> float | None:
    """The share (0..1) of a gold proof's facts that the evidence holds; None without a gold proof."""
    facts = _group_inverses(proof)
    if not facts:
        return None
    held = {_clean(fact) for fact in evidence}
    held |= {(tail, relation, head) for head, relation, tail in held}
    return sum(not held.isdisjoint(group) for group in facts) / len(facts)


def _group_inverses(proof: Sequence[Fact]) -> list[set[Fact]]:
    """The distinct facts of a proof; those that join two entities in both directions are one."""
    pairs: dict[tuple[str, ...], set[Fact]] = defaultdict(set)
    for fact in map(_clean, proof):
        pairs[tuple(sorted((fact[0], fact[2])))].add(fact)
    groups: list[set[Fact]] = []
    for facts in pairs.values():
        both = len({fact[0] for fact in facts}) > 1
        groups += [facts] if both else [{fact} for fact in facts]
    return groups


def _clean(fact: Sequence[str]) -> Fact:
    head, relation, tail = map(clean_name, fact)
    return head, relation, tail
