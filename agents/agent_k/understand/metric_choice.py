"""Choose the metric that a competition is scored by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkd.agents.agent_k.contract import Output, TaskKind
from agentkd.agents.agent_k.scoring.metric_names import find_top_k, find_unknown_metric
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.understand.target_hints import Hints
from agentkd.errors import UserError

DEFAULTS: dict[tuple[TaskKind, Output], str] = {
    ("binary", "label"): "accuracy",
    ("binary", "probability"): "auc",
    ("multiclass", "label"): "accuracy",
    ("multiclass", "probability"): "multiclass_logloss",
    ("multilabel", "probability"): "mean_columnwise_auc",
    ("multilabel", "label"): "accuracy",
    ("regression", "value"): "rmse",
}


def pick_metric(
    names: list[str], task: TaskKind, output: Output, top: int, fixed: Mapping[str, Any], doubts: list[str]
) -> str:
    """The user's metric, else the first of `names` that fits, else a default and a doubt."""
    if own := fixed.get("metric"):
        if own not in METRICS:
            raise UserError(f"metric={own} is unknown: choose of {', '.join(METRICS)}")
        return str(own)
    for name in names:
        if can_score(name, task, output):
            return name
    default = "map@k" if top > 1 else DEFAULTS[task, output]
    said = f"'{names[0]}' does not fit a {task} task" if names else "no metric was recognised in the description"
    doubts.append(f"{said}: scored by {default}; set metric=NAME ({', '.join(METRICS)})")
    return default


def can_score(metric: str, task: TaskKind, output: Output) -> bool:
    """Whether the metric can score a submission of this output."""
    known = METRICS[metric]
    return task in known.tasks and (known.needs != "probability" or (output == "probability") == (metric != "map@k"))


def doubt_metric(metric: str, names: list[str], top: int, hints: Hints) -> list[str]:
    """A line where the pages ask for another metric than the one used."""
    if said := find_unknown_metric(hints.text, hints.host_metric):
        return [f"the pages speak of '{said}', which is not known: scored by {metric}; set metric=NAME"]
    if names[:1] == ["map@k"] and top == 1 and (k := find_top_k(hints.text)) > 1:
        return [f"the pages speak of {k} classes a row, the sample submission shows one: one is sent"]
    return []
