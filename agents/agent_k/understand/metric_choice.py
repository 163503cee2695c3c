"""Choose the metric that a competition is scored by."""

from __future__ import annotations

import re

from agentkd.agents.agent_k.contract import Output, TaskKind
from agentkd.agents.agent_k.scoring.metric_names import find_top_k
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


def pick_metric(names: list[str], task: TaskKind, output: Output, top: int, hints: Hints, doubts: list[str]) -> str:
    """The user's metric, else the first of `names` that fits, else a default and a doubt.

    A user's file stands in for it until the run scores by its function."""
    default = "map@k" if top > 1 else DEFAULTS[task, output]
    if own := hints.fixed.get("metric"):
        if is_file(own):
            return default
        if own not in METRICS:
            raise UserError(f"metric={own} is unknown: choose of {', '.join(METRICS)}, or give a file: metric=FILE.py")
        return str(own)
    if hints.wants_scores and output == "probability":
        names = [name for name in names if METRICS[name].needs != "label"]
    for name in names:
        if can_score(name, task, output):
            return name
    said = f"'{hints.metric_names[0]}' does not fit a {task} task" if names else ""
    if not said and (other := hints.unknown or hints.qualified):
        said = f"the pages speak of '{other}', which is not known"
    form = f"; {_FORMS[output]}" if task == "binary" else ""
    doubts.append(
        f"{said or 'no metric was recognised in the description'}: scored by {default}{form}; set metric=NAME "
        f"({', '.join(METRICS)}) or metric=FILE.py"
    )
    return default


_FORMS = {
    "probability": "probabilities are sent, not labels (metric=accuracy sends labels)",
    "label": "labels are sent (metric=auc sends probabilities)",
    "value": "values are sent",
}


def is_file(metric: str | None) -> bool:
    """Whether the user's `metric=` is a file with a function."""
    return bool(metric) and str(metric).endswith(".py")


def can_score(metric: str, task: TaskKind, output: Output) -> bool:
    """Whether the metric can score a submission of this output."""
    known = METRICS[metric]
    return task in known.tasks and (known.needs != "probability" or (output == "probability") == (metric != "map@k"))


def doubt_metric(metric: str, names: list[str], top: int, hints: Hints) -> list[str]:
    """A line where the pages ask for another metric than the one used."""
    remedy = f"scored by {metric}; set metric=NAME or metric=FILE.py"
    said = hints.unknown
    if metric == "cost" and hints.costs:
        miss, needless = hints.costs
        return [
            f"a missed positive row costs {miss:g} and a needless label {needless:g}, as the pages say: labels are cut "
            f"for the least cost, and scores are its mean over the rows"
        ]
    if said and not (metric == "pinball" and not said.startswith("weighted")):
        return [f"the pages speak of '{said}', which is not known: {remedy}"]
    said = hints.qualified
    mean = metric.endswith("_samples") and " each " in said  # over the rows
    mean |= metric == "pinball" and re.search(r"\b(?:averaged|mean) over\b", said) is not None  # over the quantiles
    if said and not mean:
        return [f"the pages speak of '{said}', of which the words beside the name are not known: {remedy}"]
    if names[:1] == ["map@k"] and top == 1 and (k := find_top_k(hints.text)) > 1:
        return [f"the pages speak of {k} classes a row, the sample submission shows one: one is sent"]
    return []
