"""Groups the proven traces of a run by what is asked and by path, and doubts the groups that answer something else.

A systematic fault of an agent is a group: every "Which films were directed by …?" answered with the films' actors. What
most of a group's traces are doubted for (`checks.py`) is the group's doubt. Of the samples that are left and contradict
each other, at most one is right; the others are doubted, too. A trace that was checked against gold is not doubted.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.doubts.checks import Checks, Proven, is_checked
from agentkd.errors import UserError
from agentkd.matching import strict_set
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small
from agentkd.trace import Frozen, Trace

FILE = "groups.json"
SHOWN = 5  # answers of an example
LOOKED_AT = 30  # traces of a group
WORDED_ALIKE = 3  # questions that differ in their topics alone are a group of their own
SAMPLES = "another sample of the same question gives other answers"


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


def find_groups(proven: Sequence[Proven], checks: Checks) -> list[Group]:
    """Group the proven traces of a run, the doubtful groups first, then the largest."""
    wordings = Counter(item.wording for item in proven)
    alike: dict[tuple[str, str, str], list[Proven]] = defaultdict(list)
    for item in proven:
        wording = item.wording if wordings[item.wording] >= WORDED_ALIKE else ""
        alike[wording, item.asked.kind, item.path].append(item)
    doubts = {
        key: "" if all(is_checked(item.trace) for item in items) else checks.doubt(items[:LOOKED_AT])
        for key, items in alike.items()
    }
    contradicted = find_contradicted([item for key, items in alike.items() if not doubts[key] for item in items])
    found = []
    for key, items in alike.items():
        parts: dict[str, list[Proven]] = defaultdict(list)
        for item in items:
            parts[SAMPLES if (item.trace.id, item.trace.sample) in contradicted else doubts[key]].append(item)
        for doubt, some in parts.items():
            found.append(make_group(some, asked=key[0] or some[0].asked.words, doubt=doubt))
    return sorted(found, key=lambda group: (not group.doubt, -len(group.traces), group.asked, group.path))


def make_group(items: Sequence[Proven], *, asked: str, doubt: str) -> Group:
    """Make the record of some traces of one path; the first by its id is the example."""
    first = min(items, key=lambda item: (item.trace.id, item.trace.sample))
    return Group(
        asked=asked,
        path=first.path,
        traces=tuple((item.trace.id, item.trace.sample) for item in items),
        question=first.trace.question,
        answers=first.trace.answers[:SHOWN],
        total=len(first.trace.answers),
        doubt=doubt,
    )


def find_contradicted(proven: Sequence[Proven]) -> set[tuple[str, int]]:
    """The traces whose answers another sample contradicts: of several answers to a question at most one is right. The
    most frequent counts, of equally frequent ones the earliest (self-consistency, Wang et al., ICLR 2023).

    Questions with gold, and second choices, are left out."""
    by_question: dict[str, list[Trace]] = defaultdict(list)
    for item in sorted(proven, key=lambda item: item.trace.sample):
        if not is_checked(item.trace) and not item.proof.second_choice:
            by_question[item.trace.id].append(item.trace)
    found = set()
    for some in by_question.values():
        kept = Counter(strict_set(trace.answers) for trace in some).most_common(1)[0][0]
        found |= {(trace.id, trace.sample) for trace in some if strict_set(trace.answers) != kept}
    return found


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
