"""The ceiling of a score: what the best single path would be worth that retrieval offered.

`shown`: the best of the paths that the agent chose from, as its trace's survey has them. `wide`: the best of those and
of the first WIDE paths. A choice can lose what retrieval has found, and no choice can win what it has not; the answers
of several paths together may be above the ceiling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agentkd.agents.path_search import PathSearch
from agentkd.agents.survey import read_survey, surveyed_derivations
from agentkd.retrievers.joins import find_endpoints
from agentkd.runs.progress import Progress
from agentkd.trace import Trace, Usage

if TYPE_CHECKING:
    from agentkd.retrievers.graph import Graph
    from agentkd.tasks.question import Question
    from agentkd.world import TaskWorld

WIDE = 50
Names = tuple[str, ...]
Worth = Callable[[Sequence[str]], float | None]
"""The F1 of some answers, 0..1; None where the matcher skips the question."""


class Ceiling(NamedTuple):
    """The F1 of the best path of each set, 0..1; None for an agent that was shown no paths."""

    shown: float | None = None
    wide: float | None = None


def count_ceiling(world: TaskWorld, asked: int | None) -> int:
    """The number of paths of the wide ceiling: as asked for, else WIDE, and none where each would be a query, or where
    no paths are searched."""
    if world.tool:
        return 0
    if asked is not None:
        return asked
    return WIDE if world.task.source.endpoint is None else 0


def shown_answers(kb: Graph, trace: Trace) -> list[Names] | None:
    """The answers of each path that a trace's survey shows, executed again; None without a survey."""
    survey = read_survey(trace)
    if survey is None:
        return None
    return [tuple(find_endpoints(kb, survey["topics"], *each)) for each in surveyed_derivations(trace)]


def wide_answers(world: TaskWorld, questions: Sequence[Question], count: int) -> Iterator[tuple[str, list[Names]]]:
    """Yield each question's id and the answers of its first `count` paths, with progress."""
    hops = world.config.hops or world.task.max_hops
    search = PathSearch(world.kb, world.retriever, count, hops, asyncio.Lock())
    with Progress("ceilings", total=len(questions), unit="") as progress:
        for question in questions:
            options = search.search(question.question, search.topics(question))
            yield question.id, [option.answers for option in options]
            progress.advance(Usage(), good=True)


def best_worth(answers: Iterable[Sequence[str]], worth: Worth) -> float | None:
    """The highest F1 of several lists of answers; 0 for no list, None where the matcher skips the question."""
    values = [value for some in dict.fromkeys(map(tuple, answers)) if (value := worth(some)) is not None]
    return max(values) if values else worth(())


def mean_ceiling(ceilings: Mapping[str, Ceiling]) -> dict[str, float | None]:
    """The mean over the questions, in percent, as the fields of a row; None where a question has none."""
    rows = list(ceilings.values())

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return 100 * sum(known) / len(known) if known and len(known) == len(values) else None

    return {"best_shown": mean([one.shown for one in rows]), "best_wide": mean([one.wide for one in rows])}
