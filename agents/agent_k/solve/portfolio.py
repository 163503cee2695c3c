"""What to run, in which order, within a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agentkd.agents.agent_k.setup import Setup


@dataclass(frozen=True)
class Candidate:
    """`seconds` is what it is expected to take; `budget`, where given, is the spec's `seconds`."""

    name: str
    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    seconds: float = 10.0
    budget: float | None = None


def portfolio(setup: Setup, n_train: int, seconds: float, threads: int) -> list[Candidate]:
    """Candidates for `seconds` on `threads` cores: a sure one first, then by what they are worth."""
    return [Candidate("linear", "linear", seconds=5), Candidate("lightgbm", "lightgbm", seconds=10)]
