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

from agentkd.agents.agent_k.contract import Output, Setup, TaskKind
from agentkd.agents.agent_k.scoring.metric_names import find_top_k, find_unknown_metric
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.understand.cells import clean_targets, distinct_values, is_gap, is_text
from agentkd.agents.agent_k.understand.classes import each_names_one, read_classes
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.evidence import Hints, TargetColumns
from agentkd.agents.agent_k.understand.file_roles import FileRoles, find_file_roles, find_labels_table
from agentkd.agents.agent_k.understand.images import IMAGE_COLUMN, LABEL_COLUMN, match_images
from agentkd.agents.agent_k.understand.tables import read_table, read_training_table, rename_id_column
from agentkd.agents.agent_k.understand.task_kind import count_classes_per_cell, read_task
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

DEFAULTS: dict[tuple[TaskKind, Output], str] = {
    ("binary", "label"): "accuracy",
    ("binary", "probability"): "auc",
    ("multiclass", "label"): "accuracy",
    ("multiclass", "probability"): "multiclass_logloss",
    ("multilabel", "probability"): "mean_columnwise_auc",
    ("multilabel", "label"): "accuracy",
    ("regression", "value"): "rmse",
}


@dataclass(frozen=True)
class SetupGuess:
    """A set-up, and one line for each thing about it that is uncertain."""

    setup: Setup
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Tables:
    """The three tables as text; the column of ids has one name in all of them."""

    roles: FileRoles
    key: str  # the column of ids
    called: str  # what test and training table call it, where that differs
    sample: pd.DataFrame
    train: pd.DataFrame
    test: pd.DataFrame


def guess_setup(data: Path, text: str, hint: str, fixed: Mapping[str, Any]) -> SetupGuess:
    """Read the set-up off the files in `data` and the pages' `text`.

    `hint` is Kaggle's name of the metric. `fixed` holds what the user has settled: id, target, task, metric, positive.
    Raises UserError for what is missing or undecided."""
    files = DataFiles(data)
    hints = Hints(text, hint, fixed)
    tables = _read_tables(files, fixed)
    roles, key, test = tables.roles, tables.key, tables.test
    unsure: list[str] = [*roles.notes]
    empty = _list_empty_columns(test, key)
    outputs = _find_outputs(tables.sample, test, key, _settled_targets(fixed))
    if (data / roles.train).is_dir():  # of images that are named or sorted by their class
        fixed = {"target": LABEL_COLUMN} | dict(fixed)
    train = tables.train
    labels = find_labels_table(files, roles, train, key, _settled_targets(fixed) or outputs)
    if labels:
        train = read_training_table(data, str(roles.train), labels, key, tables.called)
    columns = _find_targets(train, test, empty, outputs, key, fixed)
    targets = columns.targets
    test = test.drop(columns=empty)
    if "id" in targets and key != "id":
        raise UserError(f"a target cannot be called id where '{key}' names the rows: rename it in all tables")
    train = clean_targets(train, targets)
    task, output = read_task(train, tables.sample, columns, hints)
    classes: tuple[str, ...] = ()
    if task in ("binary", "multiclass"):
        classes = read_classes(train, columns, hints, output == "probability", unsure)
    if fixed.get("positive") and len(classes) != 2:
        raise UserError(
            f"positive={fixed['positive']} chooses of two classes, and this is a {task} task with "
            f"{len(classes) or 'none'}: leave it out"
        )
    names = hints.metric_names
    top = 1
    if task == "multiclass" and output == "label":
        page_top = find_top_k(text) if names[:1] == ["map@k"] else 1
        top = count_classes_per_cell(tables.sample, outputs, classes, page_top)
    if task == "multilabel" and not _has_one_positive(train, targets):
        names = [name for name in names if name != "multiclass_logloss"]
    doubts: list[str] = []  # about the metric
    metric = _choose_metric(names, task, output, top, fixed, doubts)
    if not doubts and not fixed.get("metric"):
        doubts += _doubt_metric(metric, names, top, hints)
    inputs = [name for name in train.columns if name in set(test.columns) and name not in (key, *targets)]
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
        output=output,
        top=top,
        metric=metric,
        lower_is_better=METRICS[metric].lower_is_better,
        tab=tuple(name for name in inputs if name not in txt),
        txt=txt,
        img=img,
    )
    return SetupGuess(setup, [*unsure, *doubts])


def _read_tables(files: DataFiles, fixed: Mapping[str, Any]) -> _Tables:
    """The three tables. Raises UserError for an empty one, and for ids that do not match."""
    data = files.data
    roles = find_file_roles(files)
    sample = read_table(data / roles.sample, text=True)
    train = read_table(data / roles.train, text=True)
    test = read_table(data / roles.test, text=True) if roles.test else sample.iloc[:, :1]
    for name, frame in (("train", train), ("sample", sample), ("test", test)):
        if frame.empty:
            raise UserError(f"{data / (getattr(roles, name) or '')} has no rows: download it again")
    key = _find_id(sample, test, fixed)
    called = _find_called(key, sample, test)
    train, test = rename_id_column(train, key, called), rename_id_column(test, key, called)
    _check_id(key, sample, test)
    return _Tables(roles, key, called, sample, train, test)


def _find_id(sample: pd.DataFrame, test: pd.DataFrame, fixed: Mapping[str, Any]) -> str:
    """The sample submission's column that names a row."""
    if (own := fixed.get("id")) is not None:
        if own not in sample.columns:
            raise UserError(f"id={own} is no column of the sample submission: choose of {', '.join(sample.columns)}")
        return str(own)
    unique = [str(name) for name in sample.columns if sample[name].is_unique]
    shared = [name for name in unique if name in test.columns]
    alike = [name for name in unique if _find_called(name, sample, test)]
    return str([*shared, *alike, sample.columns[0]][0])


def _find_called(key: str, sample: pd.DataFrame, test: pd.DataFrame) -> str:
    """The test table's name for the sample's column of ids, "" where it is the same or there is none.

    It is a column of the same values, or of the same name but for case."""
    if key in test.columns:
        return ""
    ids = set(sample[key])
    spelt = [str(name) for name in test.columns if str(name).lower() == key.lower()]
    same = [
        str(name)
        for name in test.columns
        if len(test) == len(ids) and test[name].iloc[0] in ids and set(test[name]) == ids
    ]
    return next((name for name in [*same, *spelt]), "")


def _list_empty_columns(test: pd.DataFrame, key: str) -> list[str]:
    """Columns of the test table without a value: no input, but a target may be there without its values."""
    columns = (name for name in test.columns if name != key and is_gap(test[name].head(100)).all())
    return [str(name) for name in columns if is_gap(test[name]).all()]


def _has_one_positive(train: pd.DataFrame, targets: Sequence[str]) -> bool:
    """Whether exactly one target is 1 in each row: then the targets are classes in columns of their own."""
    cells = train[list(targets)].apply(lambda column: column.str.lower())
    return bool(((cells != "").all(axis=1) & (cells.isin(["1", "1.0", "true"]).sum(axis=1) == 1)).all())


def _check_id(key: str, sample: pd.DataFrame, test: pd.DataFrame) -> None:
    """Raise UserError unless the sample submission has each test row once."""
    if len(sample.columns) < 2:
        raise UserError(f"the sample submission has one column, '{key}': add the ids of the test rows as its first")
    if not sample[key].is_unique:
        raise UserError(f"the ids in column '{key}' of the sample submission repeat: set id=COLUMN")
    if key in test.columns:
        missing = set(sample[key]) ^ set(test[key])
        if missing:
            raise UserError(
                f"{len(missing)} ids of column '{key}' stand in only one of test table and sample submission "
                f"(such as {sorted(missing)[0]!r}): they must match; set id=COLUMN, or mend the files"
            )
    elif len(test) != len(sample):
        raise UserError(
            f"the sample submission has {len(sample)} rows and the test table {len(test)}, without a common id "
            f"column: set id=COLUMN, or mend the files"
        )


def _find_outputs(sample: pd.DataFrame, test: pd.DataFrame, key: str, settled: Sequence[str]) -> tuple[str, ...]:
    """The sample's columns to be filled: neither the id, nor columns copied from the test table."""
    names = [str(name) for name in sample.columns if name != key]
    shown = test.drop_duplicates(key).set_index(key).loc[list(sample[key])] if key in test.columns else test
    rest = [
        name
        for name in names
        if name in settled or name not in shown.columns or list(shown[name]) != list(sample[name])
    ]
    return tuple(rest or names)


def _settled_targets(fixed: Mapping[str, Any]) -> tuple[str, ...]:
    own = fixed.get("target")
    return tuple(part.strip() for part in str(own).split(",")) if own else ()


def _find_targets(
    train: pd.DataFrame,
    test: pd.DataFrame,
    empty: list[str],
    outputs: tuple[str, ...],
    key: str,
    fixed: Mapping[str, Any],
) -> TargetColumns:
    """The training table's target columns; a column that is `empty` in the test table may be one.

    Raises UserError where the target is not clear."""
    if names := _settled_targets(fixed):
        if absent := [name for name in names if name not in train.columns]:
            raise UserError(
                f"target={absent[0]} is no column of the training table: choose of {', '.join(map(str, train))}"
            )
        return TargetColumns(names, outputs, len(names) == 1 and len(outputs) > 1)
    if all(name in train.columns for name in outputs):
        return TargetColumns(outputs, outputs, by_class=False)
    lower = {str(name).lower(): str(name) for name in train.columns}
    if all(name.lower() in lower for name in outputs):
        return TargetColumns(tuple(lower[name.lower()] for name in outputs), outputs, by_class=False)
    absent = [str(name) for name in train.columns if name not in set(test.columns) and name != key]
    only_train = absent or [name for name in empty if name in train.columns]
    if len(outputs) > 1:
        for name in only_train:
            if set(outputs) >= set(found := distinct_values(train[name])) or each_names_one(outputs, found):
                return TargetColumns((name,), outputs, by_class=True)
    if len(outputs) == 1 and len(only_train) == 1:
        return TargetColumns((only_train[0],), outputs, by_class=False)
    raise UserError(
        f"which of the training table's columns are to be predicted as {', '.join(outputs[:5])} is not clear "
        f"(only there: {', '.join(only_train[:8]) or 'none'}): set target=COLUMN"
    )


def _choose_metric(
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


def _doubt_metric(metric: str, names: list[str], top: int, hints: Hints) -> list[str]:
    """A line where the pages ask for another metric than the one used."""
    if said := find_unknown_metric(hints.text, hints.host_metric):
        return [f"the pages speak of '{said}', which is not known: scored by {metric}; set metric=NAME"]
    if names[:1] == ["map@k"] and top == 1 and (k := find_top_k(hints.text)) > 1:
        return [f"the pages speak of {k} classes a row, the sample submission shows one: one is sent"]
    return []
