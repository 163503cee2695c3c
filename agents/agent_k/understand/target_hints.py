"""Records of the evidence on a target: its columns, and the hints of the pages and the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentkd.agents.agent_k.scoring.metric_names import find_metrics
from agentkd.agents.agent_k.scoring.metrics import METRICS, Metric


@dataclass(frozen=True)
class TargetColumns:
    """The training table's target columns, and the sample submission's columns to be filled."""

    targets: tuple[str, ...]
    outputs: tuple[str, ...]
    by_class: bool  # the outputs are the classes of the one target


@dataclass(frozen=True)
class Hints:
    """The pages of a competition, the host's metric and the facts that the user has settled."""

    text: str  # the pages
    host_metric: str  # the host's own name of the metric, or ""
    fixed: Mapping[str, Any]  # settled by the user: id, target, task, metric, positive

    @cached_property
    def metric_names(self) -> list[str]:
        """The metrics named by host and pages, the likeliest first."""
        return find_metrics(self.text, self.host_metric)

    @property
    def metric(self) -> Metric | None:
        """The likeliest metric; the user's word comes first."""
        return METRICS.get(self.fixed.get("metric") or next(iter(self.metric_names), ""))
