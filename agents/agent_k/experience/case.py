"""A finished run as a case: what the competition looked like, and what each candidate earned in it.

No row, no name of a column and no text of the competition goes into it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.results import CODE, Result, Scored, gain
from agentkd.trace import Frozen, content_hash

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
CONSTANT = "constant"  # the kind of the candidate of last resort


class Fingerprint(Frozen):
    """The shape of a competition: what one knows of it before anything is trained."""

    task: Name
    metric: Name
    output: Name
    rows: Annotated[int, Field(ge=1, le=10**12)]
    tab: Annotated[int, Field(ge=0, le=10**7)]  # input columns by modality
    txt: Annotated[int, Field(ge=0, le=10**7)]
    img: Annotated[int, Field(ge=0, le=10**7)]
    predicted: Annotated[int, Field(ge=1, le=10**7)]  # classes, or targets
    later: bool = False  # all test rows are later than the training rows

    @classmethod
    def of(cls, setup: Setup, rows: int) -> Fingerprint:
        return cls(
            task=setup.task,
            metric=setup.metric,
            output=setup.output,
            rows=rows,
            tab=len(setup.tab),
            txt=len(setup.txt),
            img=len(setup.img),
            predicted=max(1, len(setup.predicted)),
            later=bool(setup.later),
        )

    def likeness(self, other: Fingerprint) -> float:
        """How alike two competitions are, from 0 to 1: exp(-distance).

        A modality that one of them lacks is a distance of 3, another task one of 1 or 2, ten times the rows one of 0.7.
        """
        far = 0.0 if self.task == other.task else (1.0 if "regression" not in (self.task, other.task) else 2.0)
        far += 0.2 * (self.metric != other.metric) + 0.5 * (self.later != other.later)
        for mine, its in ((self.tab, other.tab), (self.txt, other.txt), (self.img, other.img)):
            far += 3.0 if bool(mine) != bool(its) else 0.3 * abs(math.log10(1 + mine) - math.log10(1 + its))
        far += 0.7 * abs(math.log10(self.rows) - math.log10(other.rows))
        far += 0.3 * abs(math.log10(self.predicted) - math.log10(other.predicted))
        return math.exp(-far)


class Trial(Frozen):
    """A candidate in a case: its place among the scored ones, its share of the final blend, and what it cost.

    `quality` is 1 for the best score and 0 for the worst; a candidate that failed has 0, and `error` says why."""

    name: Name
    kind: Name
    quality: Share
    share: Share  # of the weights of the final file; a single best candidate has 1
    seconds: Seconds
    error: Annotated[str, Field(max_length=500)] = ""


class Case(Frozen):
    """A finished run. `competition` is a hash of the data, so that a run of the same data can be told."""

    key: Name
    competition: Name
    title: Annotated[str, Field(max_length=200)]
    source: Annotated[str, Field(max_length=500)]  # the name of the run's directory
    date: Annotated[str, Field(max_length=10)]
    fingerprint: Fingerprint
    trials: Annotated[tuple[Trial, ...], Field(max_length=500)]
    seconds: Seconds


def list_trials(setup: Setup, results: Mapping[str, Result], weights: Mapping[str, float], best: str) -> list[Trial]:
    """The deterministic candidates of a run; those that a model wrote belong to their competition alone.

    `weights` are those of the final blend; where it has none, `best` alone is what was sent."""
    own = {name: item for name, item in results.items() if item.author == CODE and item.kind != CONSTANT}
    scores = {name: item.score for name, item in own.items() if isinstance(item, Scored)}
    first = next(iter(scores.values()), 0.0)
    gains = {name: gain(setup, score, first) for name, score in scores.items()}
    order = sorted(gains, key=lambda name: -gains[name])
    shares = {name: weights.get(name, 0.0) for name in order} if best == "blend" else {best: 1.0}
    total = sum(max(value, 0.0) for value in shares.values())
    if best == "blend" and not total:  # a stack has no weights: the better half shares
        shares = {name: 0.5**place for place, name in enumerate(order)}
        total = sum(shares.values())
    return [
        Trial(
            name=name.removesuffix("+features"),
            kind=item.kind,
            quality=1 - order.index(name) / max(1, len(order) - 1) if name in scores else 0.0,
            share=max(shares.get(name, 0.0), 0.0) / total if total else 0.0,
            seconds=min(max(item.seconds or 0.0, 0.0), 1e9),
            error="" if isinstance(item, Scored) else item.error[:500],
        )
        for name, item in own.items()
    ]


def make_key(competition: str, source: str) -> str:
    """The key of a case: a run that goes on replaces its own."""
    return content_hash([competition, source])[:16]
