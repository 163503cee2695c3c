"""Tell the task and the output from the targets' values, the sample submission and the metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Output, TaskKind
from agentkd.agents.agent_k.scoring.metrics import Metric
from agentkd.agents.agent_k.understand.cells import FLAGS, distinct_values, non_empty
from agentkd.agents.agent_k.understand.target_hints import Hints, TargetColumns
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MANY_CLASSES = 30  # whole numbers with more different values are a regression, unless the metric is for classes
FEW_CLASSES = 10  # the same where no metric is known


def read_task(
    train: pd.DataFrame, sample: pd.DataFrame, columns: TargetColumns, hints: Hints
) -> tuple[TaskKind, Output]:
    """The task, and the kind of values that a submission holds.

    Raises UserError for targets that fit no task, or not the settled one."""
    metric = hints.metric
    own = hints.fixed.get("task")
    task = _check_task(own, train, columns) if own else _guess_task(train, columns, metric)
    return task, _read_output(task, sample, columns, hints)


def _check_task(own: TaskKind, train: pd.DataFrame, columns: TargetColumns) -> TaskKind:
    """The task that the user or a model chose. Raises UserError where the values do not allow it."""
    targets = columns.targets
    many = f"{len(targets)} targets ({', '.join(targets[:5])})"
    if own in ("binary", "multiclass"):
        if len(targets) > 1:
            raise UserError(f"task={own} predicts one target, not {many}: set target=COLUMN, or task=multilabel")
        if own == "binary" and (count := non_empty(train[targets[0]]).nunique()) > 2:
            some = ", ".join(map(repr, distinct_values(train[targets[0]])[:3]))
            raise UserError(
                f"task=binary needs two values, and column '{targets[0]}' has {count} ({some}, …): set task=multiclass"
            )
        _check_class_count(train, targets[0])
        return own
    if columns.by_class:
        raise UserError(
            f"the sample submission has a column for each class of '{targets[0]}', which does not fit task={own}: set "
            f"task=multiclass"
        )
    for name in targets:
        odd = _find_no_number(train[name]) if own == "regression" else _find_no_flag(train[name])
        if odd is not None:
            need = "numbers" if own == "regression" else "targets of 0 and 1"
            raise UserError(f"task={own} needs {need}, and column '{name}' holds {odd!r}: set task= or target=COLUMN")
    return own


def _guess_task(train: pd.DataFrame, columns: TargetColumns, metric: Metric | None) -> TaskKind:
    """The task that the targets' values, the outputs and the metric speak for."""
    import pandas as pd

    targets = columns.targets
    cells = non_empty(train[targets[0]])
    count = cells.nunique()
    if columns.by_class:
        return "multiclass" if count > 2 or len(columns.outputs) > 2 else "binary"
    if len(targets) > 1:
        if all(_find_no_flag(train[name]) is None for name in targets):
            return "multilabel"
        for name in targets:
            if (odd := _find_no_number(train[name])) is not None:
                raise UserError(
                    f"several targets have to be numbers, or 0 and 1, and column '{name}' holds {odd!r}: write its "
                    f"values as numbers, or make a competition of each target"
                )
        return "regression"
    numbers = pd.to_numeric(cells, errors="coerce")
    needs = metric.needs if metric else None
    if numbers.isna().any() or (count == 2 and needs != "value"):
        _check_class_count(train, targets[0])
        return "binary" if count == 2 else "multiclass"
    if needs == "value" or bool((numbers % 1 != 0).any()) or _is_measured(count, len(cells), metric):
        return "regression"
    return "binary" if count == 2 else "multiclass"


def _is_measured(count: int, rows: int, metric: Metric | None) -> bool:
    """Whether so many different whole numbers are measurements, not classes."""
    if metric is None:
        return count > FEW_CLASSES
    if "regression" in metric.tasks:
        return count > MANY_CLASSES
    return _too_many(count, rows)


def _too_many(count: int, rows: int) -> bool:
    """Whether hardly two rows would share a class."""
    return count > max(MANY_CLASSES, rows // 2)


def _check_class_count(train: pd.DataFrame, target: str) -> None:
    """Raise UserError where the values are too many to be classes."""
    cells = non_empty(train[target])
    if _too_many(count := cells.nunique(), len(cells)):
        raise UserError(
            f"column '{target}' has {count} different values such as {cells.iloc[0][:40]!r} in {len(cells)} rows, "
            f"which are no classes: set target=COLUMN"
        )


def _read_output(task: TaskKind, sample: pd.DataFrame, columns: TargetColumns, hints: Hints) -> Output:
    """The kind of values that a submission holds."""
    import pandas as pd

    needs = hints.metric.needs if hints.metric else None  # the kind that the metric compares

    if task == "regression":
        return "value"
    shown = [non_empty(sample[name]) for name in columns.outputs]  # all gaps in a sample that shows no values
    if task == "multilabel":
        return "label" if needs == "label" and all(_find_no_flag(cells) is None for cells in shown) else "probability"
    if columns.by_class:
        return "probability"
    numbers = pd.to_numeric(shown[0], errors="coerce")
    if numbers.isna().any() or task == "multiclass":  # one column of many classes: their names
        return "label"
    fractional = bool((numbers % 1 != 0).any() and numbers.between(0, 1).all())
    if fractional or needs == "probability":
        return "probability"
    return "probability" if hints.wants_scores and numbers.isin((0, 1)).all() else "label"


def _find_no_number(column: pd.Series[str]) -> str | None:
    """The first cell that is no number, or None."""
    import pandas as pd

    cells = non_empty(column)
    odd = cells[pd.to_numeric(cells, errors="coerce").isna()]
    return str(odd.iloc[0]) if len(odd) else None


def _find_no_flag(column: pd.Series[str]) -> str | None:
    """The first cell that is not 0, 1, false or true, or None."""
    return next((str(cell) for cell in distinct_values(column) if cell.lower() not in FLAGS), None)


def count_classes_per_cell(sample: pd.DataFrame, outputs: tuple[str, ...], classes: tuple[str, ...], said: int) -> int:
    """How many classes a cell of the submission holds, with blanks between them: as many as the sample's.

    `said` is the number that the pages give; it counts where the sample's cells are empty."""
    cells = distinct_values(sample[outputs[0]])
    if not cells:
        return min(max(said, 1), len(classes))
    words = [cell.split() for cell in cells]
    if set(cells) <= set(classes) or len(classes) < 3:
        return 1
    names = {*classes, *map(str, range(len(classes) + 1))}
    return max(map(len, words)) if all(set(cell) <= names for cell in words) else 1
