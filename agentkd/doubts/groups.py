"""Groups the proven traces of a run by what is asked and by path, and doubts the groups that answer something else.

A systematic fault of an agent is a group: every "Which films were directed by …?" answered with the films' actors. The
checks are rules about kinds of answers. They see no gold, and a trace that was checked against gold is not doubted.

- `several kinds`: two of the answers have no relation in common
- `no date`, `no number`, `a date`: when, how many, who or where is asked, and the answers are of another form
- `another kind`: the knowledge base calls other entities by the noun that is asked for
- `a named kind`: it has no name for what is asked for, the answers are of a kind that it has a name for, and a shorter
  path, or another one of one step, leads to entities without one (mutual exclusivity: a new word means a thing that
  has none yet; Markman and Wachtel, Cognitive Psychology 1988)
- `samples`: another answer was found more often, or earlier, for the same question
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.doubts.asked import DATES, HOW_MANY, WHEN, WHERE, WHO, Asked, mark_topics, read_asked, read_words
from agentkd.doubts.kinds import SAME, Kinds, cosine, known_entities
from agentkd.errors import UserError
from agentkd.matching import strict_set
from agentkd.proof import Derivation, Proof
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small
from agentkd.trace import Frozen, Trace

FILE = "groups.json"
SHOWN = 5  # answers of an example
LOOKED_AT = 30  # traces of a group
WORDED_ALIKE = 3  # questions that differ in their topics alone are a group of their own
SAMPLES = "another sample of the same question gives other answers"
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(rf"\b\d{{4}}\b|\b({_MONTHS})\w*\b.*\d|\d.*\b({_MONTHS})\w*\b", re.IGNORECASE)
_BARE_DATE = re.compile(r"\d{1,4}([-/.]\d{1,2}){0,2}(T.*)?")
_PERSONS = read_words("persons")
_AGENT = re.compile(r"(er|or|ist|ian|ant|ent|man|woman|ess|eer)$")  # actor, writer, scientist, musician


class Group(Frozen):
    """The proven traces of a run that ask alike and follow the same path.

    `asked` is their wording without topics, or the kind of answer that they ask for. `traces` are (question id,
    sample). `doubt` says why their answers may not be what was asked for, empty where nothing does. `question` and
    `answers` (the first, of `total`) are an example."""

    asked: str
    path: str
    traces: tuple[tuple[str, int], ...]
    question: str
    answers: tuple[str, ...]
    total: int
    doubt: str = ""

    @property
    def example(self) -> str:
        """The example in one line: question and answers."""
        more = f" … ({self.total})" if self.total > len(self.answers) else ""
        return f"{self.question} → {'; '.join(self.answers)}{more}"


class Grouped:
    """A proven trace with what the checks look at."""

    def __init__(self, trace: Trace, kb: Graph) -> None:
        self.trace, self.proof = trace, Proof.of(trace)
        self.wording = " ".join(mark_topics(trace.question, self.proof.topics).split())
        self.asked: Asked = read_asked(trace.question, self.proof.topics)
        self.path = label_proof(kb, self.proof)
        self.answers = known_entities(kb, trace.answers) if isinstance(kb, KnowledgeBase) else list(trace.answers)


def is_checked(trace: Trace) -> bool:
    """Whether gold was known for a trace's question."""
    return any(step.kind == "gold" for step in trace.steps)


def find_groups(traces: Iterable[Trace], kb: Graph) -> list[Group]:
    """Group the proven traces of a run, the doubtful groups first, then the largest."""
    proven = [Grouped(trace, kb) for trace in traces if trace.verified]
    wordings = Counter(item.wording for item in proven)
    members: dict[tuple[str, str, str, str], list[Grouped]] = defaultdict(list)
    contradicted = find_contradicted([item.trace for item in proven])
    for item in proven:
        doubt = SAMPLES if (item.trace.id, item.trace.sample) in contradicted else ""
        wording = item.wording if wordings[item.wording] >= WORDED_ALIKE else ""
        members[wording, item.asked.kind, item.path, doubt].append(item)
    checks = Checks(proven, kb)
    found = []
    for (wording, _, path, doubt), items in members.items():
        if not doubt and not all(is_checked(item.trace) for item in items):
            doubt = checks.doubt(items[:LOOKED_AT])
        first = min(items, key=lambda item: (item.trace.id, item.trace.sample))
        found.append(
            Group(
                asked=wording or first.asked.words,
                path=path,
                traces=tuple((item.trace.id, item.trace.sample) for item in items),
                question=first.trace.question,
                answers=first.trace.answers[:SHOWN],
                total=len(first.trace.answers),
                doubt=doubt,
            )
        )
    return sorted(found, key=lambda group: (not group.doubt, -len(group.traces), group.asked, group.path))


def find_contradicted(traces: Sequence[Trace]) -> set[tuple[str, int]]:
    """The proven traces whose answers another sample contradicts: of several answers to a question at most one is
    right. The most frequent counts, of equally frequent ones the earliest (self-consistency, Wang et al., ICLR 2023).

    Questions with gold are left out."""
    by_question: dict[str, list[Trace]] = defaultdict(list)
    for trace in sorted(traces, key=lambda trace: trace.sample):
        if not is_checked(trace):
            by_question[trace.id].append(trace)
    found = set()
    for some in by_question.values():
        kept = Counter(strict_set(trace.answers) for trace in some).most_common(1)[0][0]
        found |= {(trace.id, trace.sample) for trace in some if strict_set(trace.answers) != kept}
    return found


class Checks:
    """The checks of a run's groups. An endpoint's knowledge base is not asked: only the form of answers is checked."""

    def __init__(self, proven: Sequence[Grouped], kb: Graph) -> None:
        self.kb = kb
        words = {item.asked.kind for item in proven} - {"", WHO, WHEN, WHERE, HOW_MANY}
        self.kinds = Kinds(kb, words) if isinstance(kb, KnowledgeBase) and proven else None
        whose = [answer for item in proven if item.asked.kind == WHO for answer in item.answers[:SHOWN]]
        sure = self.kinds is not None and whose and not self.kinds.are_mixed(whose)
        self.persons = self.kinds.vector(whose) if self.kinds is not None and sure else None

    def doubt(self, items: Sequence[Grouped]) -> str:
        """Why the answers of a group may not be what was asked for: what holds for most of its traces."""
        reasons = Counter(reason for item in items if (reason := self._doubt_one(item)))
        reason, count = reasons.most_common(1)[0] if reasons else ("", 0)
        return reason if 2 * count > len(items) else ""

    def _doubt_one(self, item: Grouped) -> str:
        asked, answers = item.asked, item.answers
        if not answers:
            return ""
        if self.kinds is not None and self.kinds.are_mixed(answers):
            return "answers of several kinds together"
        if asked.kind == WHEN or asked.kind in DATES:
            if not mostly(_DATE.search, answers):
                return f"asks for a date ({asked.words}); the answers are none"
        elif asked.kind == HOW_MANY:
            if not mostly(re.compile(r"\d").search, answers):
                return f"asks for a number ({asked.words}); the answers are none"
        elif asked.kind in (WHO, WHERE):
            if mostly(_BARE_DATE.fullmatch, answers):
                return f"asks {asked.words}; the answers are dates or numbers"
        elif asked.kind and self.kinds is not None:
            return self._doubt_noun(item, self.kinds)
        return ""

    def _doubt_noun(self, item: Grouped, kinds: Kinds) -> str:
        asked, answers = item.asked, item.answers
        called = kinds.are_called(asked.kind, answers)
        if called is not None:
            told = "" if called else kinds.name_kind(answers) or "something else"
        else:
            told = self._name(answers, asked.kind)
            named = [self._name(ends, asked.kind) for ends in self._shorter(item)] if told else []
            told = told if "" in named else ""
        return f"asks “{asked.words}”; the knowledge base calls the answers “{told}”" if told else ""

    def _name(self, entities: Sequence[str], asked: str) -> str:
        """The word for most of some entities: the knowledge base's own, or `who` for what who-questions lead to."""
        if not entities or self.kinds is None:
            return "nothing"
        if told := self.kinds.name_kind(entities):
            return told
        may_be_person = asked in _PERSONS or _AGENT.search(asked)
        if self.persons and not may_be_person and cosine(self.kinds.vector(entities), self.persons) > SAME:
            return WHO
        return ""

    def _shorter(self, item: Grouped) -> Iterable[list[str]]:
        """The ends of the path's beginnings; of a path of one step, those of the other steps out of the topics."""
        topics, path = item.proof.topics, item.proof.path or ()
        if item.proof.joins or not isinstance(self.kb, KnowledgeBase):
            return
        if len(path) > 1:
            yield from (self.kb.follow(topics, path[:cut]) for cut in range(1, len(path)))
        else:
            steps = {step for topic in topics for step in self.kb.steps(topic)} - set(path)
            yield from (self.kb.follow(topics, (step,)) for step in sorted(steps))


def mostly(test: Any, texts: Sequence[str]) -> bool:
    """Whether a test holds for more than half of some texts."""
    return 2 * sum(bool(test(text.strip())) for text in texts) > len(texts)


def label_proof(kb: Graph, proof: Proof) -> str:
    """Write a proof's paths as text, those whose answers are given together joined by `+`."""
    return " + ".join(label_derivation(kb, each) for each in (proof.first, *proof.others)) or "no path"


def label_derivation(kb: Graph, derivation: Derivation) -> str:
    ways = [way for _, way in derivation.joins] or [derivation.path]
    text = " and ".join(kb.label(way) for way in ways if way)
    return f"{text}, {derivation.constraint.op}" if derivation.constraint else text


def write_groups(run: Path, groups: Sequence[Group]) -> None:
    """Write the groups of a run into its directory, unless it has them already."""
    if (run / FILE).exists() and read_groups(run) == list(groups):
        return
    rows = [group.model_dump(mode="json") for group in groups]
    write_atomically(run / FILE, json.dumps({"groups": rows}, ensure_ascii=False, indent=1) + "\n")


def read_groups(run: Path) -> list[Group]:
    """Read the groups of a run; none where they were not written, or not whole."""
    try:
        content: Mapping[str, Any] = parse_json(read_small(run / FILE, METRICS_BYTES))
        return [Group.model_validate(row) for row in content["groups"]]
    except (OSError, UserError, ValueError, KeyError, TypeError):
        return []


def doubtful_traces(groups: Iterable[Group]) -> dict[tuple[str, int], str]:
    """The doubted traces, by question id and sample, with the reason."""
    return {trace: group.doubt for group in groups if group.doubt for trace in group.traces}
