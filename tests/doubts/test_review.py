"""A person's review: a fair choice of traces, verdicts that survive, an error rate, and what it does to training."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from agentkd.doubts.checks import Checks, Proven
from agentkd.doubts.groups import Group, find_groups, write_groups
from agentkd.doubts.review import (
    Answer,
    choose_sample,
    describe_review,
    make_trust_check,
    read_summary,
    review_run,
    wilson_interval,
)
from agentkd.errors import UserError
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.trace import Trace
from tests.doubts.conftest import ALBUMS, BANDS, MakeTrace
from tests.support.traces import write_run

LABELS = (("performed by", -1), ("record label", 1))
YEAR = (("release year", 1),)


def group(path: str, count: int) -> Group:
    keys = tuple((f"{path}{number}", 0) for number in range(count))
    return Group(asked="", path=path, traces=keys, question="?", answers=(), total=0)


@pytest.fixture
def run(tmp_path: Path, music: KnowledgeBase, trace: MakeTrace) -> Path:
    """Eight proven traces in two groups; the one of three is doubtful."""
    traces = [trace(f"When was {name} released?", name, YEAR) for name in ALBUMS]
    traces += [trace(f"Which albums did {band} record?", band, LABELS) for band in BANDS]
    path = write_run(tmp_path / "run", traces)
    proven = [Proven(one, music) for one in traces]
    write_groups(path, find_groups(proven, Checks(proven, music)))
    return path


def answer(**words: Answer) -> object:
    """Answer by the first word of the question."""
    return lambda trace, group, place, total: words[trace.question.split()[0]]


def test_every_trace_has_the_same_chance_and_groups_come_by_their_size() -> None:
    groups = [group("a", 30), group("b", 10), group("c", 1), group("d", 1)]
    drawn = Counter(key for seed in range(2000) for key in choose_sample(groups, 21, seed))
    assert len(drawn) == 42 and max(drawn.values()) < 1.15 * min(drawn.values())
    for seed in range(20):
        chosen = choose_sample(groups, 21, seed)
        assert chosen == choose_sample(groups, 21, seed) and len(set(chosen)) == 21
        by_path = Counter(name[0] for name, _ in chosen)
        assert 14 <= by_path["a"] <= 16 and 4 <= by_path["b"] <= 6
    assert len(choose_sample(groups, 100, 0)) == 42 and choose_sample([], 20, 0) == []


def test_a_review_goes_on_where_it_was_left(run: Path) -> None:
    shown: list[tuple[str, int, int]] = []

    def ask(trace: Trace, group: Group, place: int, total: int) -> Answer | None:
        if len(shown) == 3:
            return None
        shown.append((trace.id, place, total))
        return "right"

    first = review_run(run, count=20, seed=0, ask=ask)
    assert (first["right"], first["left"]) == (3, 5) and [place for _, place, _ in shown] == [1, 2, 3]
    (run / "review.jsonl").open("a").write('{"id": "torn')  # a crash while a verdict was written
    again = review_run(run, count=20, seed=0, ask=lambda trace, *rest: "wrong")
    assert (again["right"], again["wrong"], again["left"]) == (3, 5, 0)
    assert json.loads((run / "review.json").read_text()) == again
    review_run(run, count=20, seed=0, ask=lambda *_: pytest.fail("all are reviewed"))


def test_the_error_rate_has_an_interval(run: Path) -> None:
    assert read_summary(run) == {}
    review_run(run, count=20, seed=0, ask=answer(When="right", Which="wrong"))  # type: ignore[arg-type]
    assert describe_review(read_summary(run)) == "3 of 8 reviewed traces are wrong: 38 % [14, 69]"
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(3, 20) == pytest.approx((0.0524, 0.3604), abs=1e-4)  # as statsmodels gives it


def reasons(run: Path, traces: list[Trace], **options: bool) -> dict[str, int]:
    check = make_trust_check(run, **{"doubtful": False, **options})
    return dict(Counter(check(trace) for trace in traces))


def test_doubtful_traces_are_not_learned_from_unless_a_person_says_they_are_right(run: Path) -> None:
    from agentkd.runs.read import read_traces

    traces = list(read_traces(run))
    assert reasons(run, traces) == {"": 5, "doubtful (answers may not be what was asked)": 3}
    assert reasons(run, traces, doubtful=True) == {"": 8}
    review_run(run, count=20, seed=0, ask=answer(When="right", Which="right"))  # type: ignore[arg-type]
    assert reasons(run, traces) == {"": 8}


def test_a_group_that_a_person_calls_wrong_goes_as_a_whole(run: Path) -> None:
    from agentkd.runs.read import read_traces

    traces = list(read_traces(run))
    said: list[str] = []

    def ask(trace: Trace, group: Group, place: int, total: int) -> Answer | None:
        said.append(trace.question.split()[0])
        return "wrong" if said.count("When") <= 2 and said[-1] == "When" else None if said[-1] == "When" else "skip"

    review_run(run, count=20, seed=0, ask=ask)
    found = reasons(run, traces)
    assert found["called wrong in the review"] == 2 and found["of a path that the review calls wrong"] == 3


def test_a_verdict_on_another_trace_of_that_name_does_not_count(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "traces-0.jsonl").read_text().splitlines()]
    (run / "review.jsonl").write_text(
        "".join(json.dumps({"id": row["id"], "sample": 0, "hash": "old", "answer": "wrong"}) + "\n" for row in lines)
    )
    asked: list[str] = []
    review_run(run, count=20, seed=0, ask=lambda trace, *rest: asked.append(trace.id) or "right")  # type: ignore[func-returns-value]
    assert len(asked) == 8 and read_summary(run)["right"] == 8


def test_a_run_without_groups_cannot_be_reviewed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no proven traces to review"):
        review_run(write_run(tmp_path / "run", []), count=20, seed=0, ask=lambda *_: None)
