"""What a student answers to a question, with everything that one needs to check it."""

from __future__ import annotations

from agentkd.agents.option import AND
from agentkd.agents.survey import followed_label
from agentkd.proof import Derivation, Proof
from agentkd.retrievers.graph import Graph
from agentkd.trace import Frozen, Trace, Triple, Usage

SHOWN = 10  # facts that a reader is shown; the record has all


class Answer(Frozen):
    """The answers to a question, and how they came about. Nothing of it is gold: nobody has told the right answer.

    `topics` are the entities that the search began at, as the knowledge base names them; `linked` says that they were
    found in the question, not given. `path` is the relation path in words, None where the student has found none;
    several paths, whose answers are given together, are joined by " + ". `evidence` is the facts that lead from topic
    to answers, at most some 200. `proven`: every answer is at the end of the path, and the path has no other end; else
    `reason` says what is missing. `read_by` says how the student's opinion was read: "weighed", "8 votes" or "one
    answer" (docs/distill.md); `form` is what it reads and writes. `usage` has calls, tokens and seconds."""

    question: str
    answers: tuple[str, ...]
    topics: tuple[str, ...]
    linked: bool
    path: str | None
    evidence: tuple[Triple, ...]
    proven: bool
    reason: str
    student: str
    form: str
    read_by: str
    usage: Usage

    @classmethod
    def of_trace(cls, kb: Graph, trace: Trace, **facts: object) -> Answer:
        """Make it of a judged trace. `facts` are the fields that a trace does not have."""
        values = {
            "question": trace.question,
            "answers": trace.answers,
            "path": describe_path(kb, trace) if trace.answers else None,
            "evidence": tuple(trace.triples),
            "proven": trace.verified,
            "reason": trace.verdict.reason,
            "usage": trace.usage,
        }
        return cls.model_validate({**values, **facts})

    @property
    def text(self) -> str:
        """The answers, one per line; empty where there is none."""
        return "\n".join(self.answers)

    def describe(self) -> list[str]:
        """Lines for a reader: from where, along which path, how read, and the first facts."""
        topics = ", ".join(self.topics)
        proof = "proven" if self.proven else f"not proven ({self.reason})"
        cost = f"{self.usage.tokens} tokens, {self.usage.seconds:.1f} s"
        lines = [f"{topics} → {self.path or 'no path'} · {proof} · {self.student}, {self.read_by} · {cost}"]
        lines += [f"  {fact.head} | {fact.relation} | {fact.tail}" for fact in self.evidence[:SHOWN]]
        if len(self.evidence) > SHOWN:
            lines.append(f"  … and {len(self.evidence) - SHOWN} more facts")
        return lines


def describe_path(kb: Graph, trace: Trace) -> str | None:
    """The path of a trace's proof in words: as its survey shows it, else as the knowledge base spells its relations."""
    proof = Proof.of(trace)
    if proof.first == Derivation():
        return None
    if label := followed_label(trace):
        return label
    labels = []
    for each in (proof.first, *proof.others):
        ways = [way for _, way in each.joins] or [each.path]
        labels += [kb.label(way) for way in ways]
    return AND.join(labels)
