"""A small knowledge base of music, and traces over it without gold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import RelationPath
from agentkd.trace import Step, Trace, Verdict

ALBUMS = {  # name → band, label, year, producer
    "Amber Door": ("Anchors", "Polar", "1971", "Vera Novak"),
    "Late Echo": ("Anchors", "Nightjar", "1974", "Hugo Weber"),
    "Pale River": ("Lanterns", "Polar", "1980", "Vera Novak"),
    "Open Yard": ("Lanterns", "Tin Roof", "1983", "Ines Rossi"),
    "Kind Night": ("Keys", "Nightjar", "1990", "Hugo Weber"),
}
BANDS = ("Anchors", "Lanterns", "Keys")


@pytest.fixture(scope="session")
def music() -> KnowledgeBase:
    rows = []
    for name, (band, label, year, producer) in ALBUMS.items():
        rows += [(name, "performed by", band), (name, "record label", label)]
        rows += [(name, "release year", year), (name, "produced by", producer)]
    return KnowledgeBase.from_triples(rows)


MakeTrace = Callable[..., Trace]


@pytest.fixture
def trace(music: KnowledgeBase) -> MakeTrace:
    """Make a proven trace: the answers are the ends of the path, or of several together."""

    def make(question: str, topic: str, *paths: RelationPath, sample: int = 0, gold: bool = False) -> Trace:
        ends = [end for path in paths for end in music.follow([topic], path)]
        steps = (Step(kind="gold", verdict=Verdict(ok=True, rung="gold"), reward=1.0),) if gold else ()
        proof = {"path": paths[0], "topics": [topic], "others": [(path, (), None) for path in paths[1:]]}
        return Trace.close(
            id=question,
            sample=sample,
            task="music",
            question=question,
            steps=steps,
            answers=tuple(dict.fromkeys(ends)),
            verified=True,
            verdict=Verdict(ok=True, rung="gold" if gold else "complete"),
            teacher="t",
            provenance=proof,
        )

    return make
