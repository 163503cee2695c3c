"""Records of the evidence on a target: its columns, and the hints of the pages and the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentkd.agents.agent_k.scoring.costs import find_costs
from agentkd.agents.agent_k.scoring.metric_names import find_metrics, find_unknown_metric
from agentkd.agents.agent_k.scoring.metric_qualifiers import (
    find_other_metric,
    find_qualifier,
    is_cost,
    puts_in_order,
    read_form,
)
from agentkd.agents.agent_k.scoring.metrics import METRICS, Metric


def split_list(said: object) -> tuple[str, ...]:
    """The parts of an option such as `a,b`; () for none."""
    return tuple(part.strip() for part in str(said).split(",")) if said else ()


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
    fixed: Mapping[str, Any]  # settled by the user: the fields KaggleConfig.FACTS

    @cached_property
    def metric_names(self) -> list[str]:
        """The metrics named by host and pages, the likeliest first."""
        return find_metrics(self.text, self.host_metric)

    @cached_property
    def costs(self) -> tuple[float, float] | None:
        """What a missed and a needless positive label cost, where the pages name no other metric, nor the user."""
        if self.fixed.get("metric", "cost") != "cost" or (self.metric_names and self.fixed.get("metric") != "cost"):
            return None
        return find_costs(self.text)

    @property
    def metric(self) -> Metric | None:
        """The likeliest metric; the user's word comes first."""
        return METRICS.get(self.fixed.get("metric") or next(iter(self.metric_names), ""))

    @cached_property
    def unknown(self) -> str:
        """The metric that the pages ask for and METRICS lacks, "" for none, or where the user has chosen one."""
        if self.fixed.get("metric"):
            return ""
        said = find_unknown_metric(self.text, self.host_metric) or find_other_metric(self.text, self.host_metric)
        return "" if self.metric_names and is_cost(said) else said

    @cached_property
    def qualified(self) -> str:
        """The likeliest metric with the words that make it another one; "" where there are none."""
        if self.fixed.get("metric") or not self.metric_names:
            return ""
        return find_qualifier(self.text, self.host_metric, self.metric_names[0])

    @cached_property
    def wants_scores(self) -> bool:
        """Whether probabilities are sent of a target of 0 and 1 whatever the sample shows: labels have no order.

        So it is where the pages speak of scores, or not of labels, and their metric is none of METRICS as it stands.
        """
        form = read_form(self.text)
        if self.costs is not None:
            return False
        if self.metric is None or self.unknown:
            return form != "labels"
        return bool(self.qualified) and (form == "scores" or (form == "" and puts_in_order(self.qualified)))
