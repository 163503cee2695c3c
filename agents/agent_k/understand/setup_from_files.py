"""Read a set-up off the files and the pages, without a model.

It holds ids, targets, task, metric, submission form and modalities. All rules are about files in general (what a sample
submission's columns say about a training table), none about one competition. A question that the files leave open is a
UserError that names the option which settles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metric_names import find_top_k
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.understand.cells import clean_targets, is_text
from agentkd.agents.agent_k.understand.class_names import name_classes
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.demands import Demands, find_levels, read_demands
from agentkd.agents.agent_k.understand.file_roles import find_labels_table
from agentkd.agents.agent_k.understand.headers import (
    describe_counters,
    describe_headers,
    describe_only,
    find_counters,
    match_headers,
)
from agentkd.agents.agent_k.understand.images import IMAGE_COLUMN, LABEL_COLUMN, match_images
from agentkd.agents.agent_k.understand.main_tables import read_main_tables
from agentkd.agents.agent_k.understand.metric_choice import doubt_metric, pick_metric
from agentkd.agents.agent_k.understand.own_split import read_own_split
from agentkd.agents.agent_k.understand.tables import read_training_table
from agentkd.agents.agent_k.understand.tags import expand_tags, find_tags, name_targets
from agentkd.agents.agent_k.understand.target_columns import (
    find_outputs,
    find_targets,
    list_empty_columns,
    read_settled_targets,
)
from agentkd.agents.agent_k.understand.target_hints import Hints, TargetColumns, split_list
from agentkd.agents.agent_k.understand.task_kind import count_classes_per_cell, read_task
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SetupGuess:
    """A set-up, and one line for each thing about it that is uncertain."""

    setup: Setup
    doubts: list[str] = field(default_factory=list)


def guess_setup(data: Path, text: str, hint: str, fixed: Mapping[str, Any]) -> SetupGuess:
    """Read the set-up off the files in `data` and the pages' `text`.

    `hint` is Kaggle's name of the metric. `fixed` holds what the user has settled (KaggleConfig.FACTS).
    Raises UserError for what is missing or undecided."""
    files = DataFiles(data)
    hints = Hints(text, hint, fixed)
    tables = read_main_tables(files, fixed)
    roles, key, test = tables.roles, tables.key, tables.test
    unsure: list[str] = [*roles.notes]
    empty = list_empty_columns(test, key)
    outputs = find_outputs(tables.sample, test, key, read_settled_targets(fixed))
    if (data / roles.train).is_dir():  # of images that are named or sorted by their class
        fixed = {"target": LABEL_COLUMN} | dict(fixed)
    train = tables.train
    labels = find_labels_table(files, roles, train, key, read_settled_targets(fixed) or outputs)
    if labels:
        train = read_training_table(data, str(roles.train), labels, key, tables.called)
    renamed = match_headers(train.columns, list(test.columns))
    train = train.rename(columns=renamed)
    columns = find_targets(train, test, empty, outputs, key, fixed)
    targets = columns.targets
    test = test.drop(columns=empty)
    if key in targets:
        raise UserError(f"column '{key}' cannot be both the id and the target: set id=COLUMN, or target=COLUMN")
    if "id" in targets and key != "id":
        raise UserError(f"a target cannot be called id where '{key}' names the rows: rename it in all tables")
    tags, mark = find_tags(train[targets[0]], text) if len(targets) == len(outputs) == 1 else ((), "")
    tagged = targets[0] if tags and fixed.get("task") in (None, "multilabel") else ""
    if tagged:
        targets = name_targets(tagged, tags)
        train = expand_tags(train, tagged, targets, mark)
        columns = TargetColumns(targets, outputs, by_class=False)
        unsure.append(
            f"a cell of '{tagged}' holds several tags, so each of the {len(tags)} tags is predicted: set "
            f"task=multiclass if whole cells are the classes"
        )
    train = clean_targets(train, targets)
    task, output = read_task(train, tables.sample, columns, hints)
    output = "label" if tagged else output
    demands = read_demands(train, tables.sample, columns, text) if task == "regression" else Demands()
    unsure += demands.lines
    quantiles = find_levels(train, columns, text) if task == "regression" else ()
    classes: tuple[str, ...] = ()
    spelling: tuple[str, ...] = ()
    if task in ("binary", "multiclass"):
        classes, spelling = name_classes(files, tables, train, columns, hints, output, unsure)
    if fixed.get("positive") and len(classes) != 2:
        raise UserError(
            f"positive={fixed['positive']} chooses of two classes, and this is a {task} task with "
            f"{len(classes) or 'none'}: leave it out"
        )
    costs = hints.costs if (task, output) == ("binary", "label") else None
    names = ["pinball"] * bool(quantiles) + ["cost"] * bool(costs) + hints.metric_names
    top = 1
    if task == "multiclass" and output == "label":
        page_top = find_top_k(text) if names[:1] == ["map@k"] else 1
        top = count_classes_per_cell(tables.sample, outputs, classes, page_top)
    if task == "multilabel" and not _has_one_positive(train, targets):
        names = [name for name in names if name != "multiclass_logloss"]
    doubts: list[str] = []  # about the metric
    metric = pick_metric(names, task, output, top, hints, doubts)
    if not doubts and not fixed.get("metric"):
        doubts += doubt_metric(metric, names, top, hints)
    inputs, lines = _choose_inputs(train, test, (key, *targets, tagged, *empty), hints)
    unsure += describe_headers(renamed) + lines
    unsure += [
        f"column '{name}' has no value in the test rows, so it is no input"
        for name in empty
        if name in train.columns and name not in targets
    ]
    txt = tuple(name for name in inputs if is_text(train[name]))
    img = (IMAGE_COLUMN,) if match_images(files, train, key, "train") else ()
    setup = Setup(
        train=str(roles.train),
        labels=labels,
        test=str(roles.test or roles.sample),
        sample=str(roles.sample),
        id=key,
        called=tables.called,
        targets=targets,
        outputs=outputs,
        task=task,
        classes=classes,
        spelling=spelling,
        renamed=renamed,
        tags=tagged,
        mark=mark or " ",
        sums=demands.sums,
        whole=demands.whole,
        low=demands.low,
        high=demands.high,
        quantiles=quantiles,
        costs=costs if metric == "cost" else None,
        output=output,
        top=top,
        metric=metric,
        lower_is_better=METRICS[metric].lower_is_better,
        tab=tuple(name for name in inputs if name not in txt),
        txt=txt,
        img=img,
        **read_own_split(train, targets, fixed),
    )
    return SetupGuess(setup, [*unsure, *doubts])


def _choose_inputs(
    train: pd.DataFrame, test: pd.DataFrame, others: Sequence[str], hints: Hints
) -> tuple[list[str], list[str]]:
    """The input columns, and a line for those that are left out.

    `others` are columns that are no inputs anyway. Raises UserError for a column to be dropped that is not there."""
    held, asked = set(test.columns), split_list(hints.fixed.get("drop"))
    known, given = set(others), {*others, *train.columns}  # sets: tables may be wide
    rest = [str(name) for name in train.columns if name not in known]
    inputs = [name for name in rest if name in held]
    if absent := [name for name in asked if name not in rest]:
        raise UserError(f"drop={absent[0]} is no input: choose of {', '.join(inputs)}")
    counters = find_counters(train, test, [name for name in inputs if name not in asked])
    lines = describe_only("training", [name for name in rest if name not in held])
    lines += describe_only("test", [name for name in test.columns if name not in given])
    lines += describe_counters(counters)
    lines += [f"column {', '.join(asked)}: left out, as drop= says"] if asked else []
    return [name for name in inputs if name not in (*counters, *asked)], lines


def _has_one_positive(train: pd.DataFrame, targets: Sequence[str]) -> bool:
    """Whether exactly one target is 1 in each row: then the targets are classes in columns of their own."""
    cells = train[list(targets)].apply(lambda column: column.str.lower())
    return bool(((cells != "").all(axis=1) & (cells.isin(["1", "1.0", "true"]).sum(axis=1) == 1)).all())
