"""A run's figures, and what its commands say of traces that nobody has checked."""

from __future__ import annotations

from pathlib import Path

from agentkd.doubts.check import RunCheck, describe_groups, describe_proven
from agentkd.retrievers.kb import KnowledgeBase
from tests.doubts.conftest import ALBUMS, BANDS, MakeTrace
from tests.support.traces import write_run

LABELS = (("performed by", -1), ("record label", 1))
YEAR = (("release year", 1),)


def test_rungs_and_counts_are_of_the_samples_asked_for(tmp_path: Path, music: KnowledgeBase, trace: MakeTrace) -> None:
    names = list(ALBUMS)
    traces = [trace(f"Which albums did {band} record?", band, LABELS) for band in BANDS]
    traces += [trace(f"When was {name} released?", name, YEAR) for name in names[:2]]
    traces += [trace(f"When was {name} released?", name, YEAR, gold=True) for name in names[2:4]]
    traces += [trace(f"When was {names[0]} released?", names[0], YEAR, sample=7)]
    unproven = trace(f"When was {names[4]} released?", names[4], YEAR)
    refused = unproven.verdict.model_copy(update={"ok": False, "rung": "chain"})
    traces.append(unproven.model_copy(update={"verified": False, "verdict": refused}))
    run = write_run(tmp_path / "run", traces)
    check = RunCheck(run, music, {item.id for item in traces})
    assert check.count(samples=1) == {
        "unchecked": 5, "doubtful": 3, "rungs": {"complete": 3, "fits": 2, "gold": 2, "chain": 1}
    }  # fmt: skip
    assert check.count(samples=8)["unchecked"] == 6
    assert RunCheck(run, music, {traces[3].id}).count(samples=1)["unchecked"] == 1
    lines = describe_groups(check.groups, 1)
    assert lines[1].startswith("       doubtful: asks “which albums”") and lines[2].startswith("       and 1 smaller")


def test_what_is_proven_is_not_called_verified() -> None:
    assert describe_proven({"verified": 7, "unchecked": 0}) == "7 verified"
    assert describe_proven({"verified": 7, "unchecked": 7}) == "7 proven, not checked against answers"
    assert describe_proven({"verified": 7, "unchecked": 5}) == "2 verified, 5 proven, not checked against answers"
