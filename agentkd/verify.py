"""The ladder of checks that makes a trace verified.

The cheapest check comes first, and a verdict names the highest rung that was passed:

    endpoint   every answer is at the end of the step's evidence, which starts at the topic or at a proven answer
    chain      facts of the KB lead from the topic entity to every answer
    complete   the answers are the full endpoint set of that chain
    judge      (`judge=true`) a model, shown only question and facts, says that they mean what was asked
    gold       (where gold exists; `answering` joins it after the draft is judged) an answer is a strict hit

Of these checks only `join_gold` sees a gold answer, after the draft is closed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from agentkd.matching import strict_hits, strict_set
from agentkd.proof import Derivation, Proof
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.joins import find_endpoints
from agentkd.retrievers.relation_path import RelationPath
from agentkd.trace import Draft, Triple, Verdict

SEARCHED_HOPS = 2  # the longest chain that is searched for an agent that names none (rag)


def check_step(
    kb: Graph, starts: Sequence[str], derivation: Derivation, answers: Sequence[str], evidence: Iterable[Triple]
) -> Verdict:
    """Check rung `endpoint` of a step.

    Each piece of evidence is a KB fact, the evidence touches a start (with joins: each topic), and every answer is at
    its end."""
    facts = list(evidence)
    if not answers:
        return Verdict(ok=False, rung="none", reason="no answer")
    strange = next((fact for fact in facts if not kb.has(fact.head, fact.relation, fact.tail)), None)
    if strange is not None:
        return Verdict(ok=False, rung="none", reason=f"not in the KB: {strange.head} | {strange.relation}")
    ends = set(find_endpoints(kb, starts, *derivation))
    unsupported = [answer for answer in answers if answer not in ends]
    if unsupported:
        return Verdict(ok=False, rung="none", reason=f"not at the end of the path: {', '.join(unsupported[:3])}")
    touched = {name for fact in facts for name in (fact.head, fact.tail)}
    joined = [topic for topic, _ in derivation.joins]
    if not (touched.issuperset(joined) if joined else touched.intersection(starts)):
        return Verdict(ok=False, rung="none", reason="the evidence does not touch the topic")
    return Verdict(ok=True, rung="endpoint")


def check_draft(kb: Graph, draft: Draft) -> Verdict:
    """Climb the ladder up to `complete`, or `judge`, for a closed draft; `ok` only at its top."""
    found = [(text, match) for text in draft.answers if (match := kb.match(text)) is not None]
    answers = [match.name for _, match in found]
    proof = Proof.of(draft)
    topics = proof.topics
    refused = next((step.verdict for step in draft.steps if step.verdict is not None and not step.verdict.ok), None)
    if not draft.answers:
        return Verdict(ok=False, rung="none", reason="no answer")
    if not topics:
        return Verdict(ok=False, rung="none", reason="no topic entity in the KB")
    if len(answers) < len(draft.answers):
        return Verdict(ok=False, rung="none", reason="an answer is no entity of the KB")
    if not draft.triples:
        return Verdict(ok=False, rung="none", reason=refused.reason if refused else "no evidence")
    reached = reachable_entities(draft.triples, topics)
    lost = [answer for answer in answers if answer not in reached]
    if lost:
        return Verdict(ok=False, rung="endpoint", reason=f"no chain of evidence to {', '.join(lost[:3])}")
    first, others = proof.first, proof.others
    strangers = [topic for each in (first, *others) for topic, _ in each.joins if topic not in topics]
    if strangers:
        return Verdict(ok=False, rung="endpoint", reason=f"joined from {', '.join(strangers)}, which is no topic")
    if not first.path and not first.joins:  # the agent has named none
        first = first._replace(path=find_explaining_path(kb, topics, answers) or ())
    ends = {end for each in (first, *others) for end in find_endpoints(kb, topics, *each)}
    if ends != set(answers):
        return Verdict(ok=False, rung="chain", reason="the answers are not the full endpoint set of the named paths")
    judged = next((step.verdict for step in draft.steps if step.kind == "judge" and step.verdict is not None), None)
    loose = [f"{text!r} is read as {match.name!r}" for text, match in found if match.loose]
    return judged or Verdict(ok=True, rung="complete", reason=", ".join(loose[:3]))


def join_gold(verdict: Verdict, answers: Sequence[str], gold: Sequence[str] | None) -> Verdict:
    """Check the last rung: at least one answer is a strict hit. Without gold the verdict stays."""
    if gold is None or not verdict.ok:
        return verdict
    if strict_hits(answers, gold):
        return Verdict(ok=True, rung="gold", reason=verdict.reason)
    return Verdict(ok=False, rung=verdict.rung, reason="proven, but not the answer that gold asks for")


def reachable_entities(facts: Iterable[Triple], topics: Collection[str]) -> set[str]:
    """All entities that walks over the facts, in either direction, reach from the topics."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        neighbours[fact.head].add(fact.tail)
        neighbours[fact.tail].add(fact.head)
    seen, frontier = set(topics), list(topics)
    while frontier:
        fresh = neighbours[frontier.pop()] - seen
        seen |= fresh
        frontier += fresh
    return seen


def find_explaining_path(kb: Graph, topics: Sequence[str], answers: Collection[str]) -> RelationPath | None:
    """The shortest relation path whose full endpoint set is exactly the answers, or None."""
    wanted = strict_set(answers)
    sizes = kb.relation_paths(topics, SEARCHED_HOPS)
    for path in sorted((path for path, size in sizes.items() if size == len(answers)), key=len):
        if strict_set(kb.follow(topics, path)) == wanted:
            return path
    return None
