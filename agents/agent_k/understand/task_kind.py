"""What is predicted: the task and what a submission holds, of the targets' values, the sample submission's cells
and what the metric needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.contract import Output, TaskKind
from agentkd.agents.agent_k.scoring.metrics import Metric
from agentkd.agents.agent_k.understand.cells import FLAGS, distinct_values, non_empty
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MANY_CLASSES = 30  # whole numbers with more values are measured, unless the metric says that they are told apart
FEW_CLASSES = 10  # likewise where no metric is known


def read_task(
    train: pd.DataFrame,
    sample: pd.DataFrame,
    targets: tuple[str, ...],
    outputs: tuple[str, ...],
    by_class: bool,
    metric: Metric | None,
    fixed: Mapping[str, Any],
) -> tuple[TaskKind, Output]:
    """`metric` is the likeliest one. Raises UserError for targets that no task, or not the settled one, fits."""
    task = _settled(fixed["task"], train, targets, by_class) if fixed.get("task") else \
        _seen(train, targets, outputs, by_class, metric)  # fmt: skip
    return task, _output(task, sample, outputs, by_class, metric.needs if metric else None)


def _settled(own: TaskKind, train: pd.DataFrame, targets: tuple[str, ...], by_class: bool) -> TaskKind:
    """The user's or a model's word, if the values allow it."""
    many = f"{len(targets)} targets ({', '.join(targets[:5])})"
    if own in ("binary", "multiclass"):
        if len(targets) > 1:
            raise UserError(f"task={own} predicts one target, not {many}: set target=COLUMN, or task=multilabel")
        if own == "binary" and (count := non_empty(train[targets[0]]).nunique()) > 2:
            some = ", ".join(map(repr, distinct_values(train[targets[0]])[:3]))
            raise UserError(
                f"task=binary needs two values, and column '{targets[0]}' has {count} ({some}, …): set task=multiclass"
            )
        _few_enough(train, targets[0])
        return own
    if by_class:
        raise UserError(
            f"the sample submission has a column for each class of '{targets[0]}', which does not fit task={own}: set "
            f"task=multiclass"
        )
    for name in targets:
        odd = _no_number(train[name]) if own == "regression" else _no_flag(train[name])
        if odd is not None:
            need = "numbers" if own == "regression" else "targets of 0 and 1"
            raise UserError(f"task={own} needs {need}, and column '{name}' holds {odd!r}: set task= or target=COLUMN")
    return own


def _seen(
    train: pd.DataFrame, targets: tuple[str, ...], outputs: tuple[str, ...], by_class: bool, metric: Metric | None
) -> TaskKind:
    import pandas as pd

    cells = non_empty(train[targets[0]])
    count = cells.nunique()
    if by_class:
        return "multiclass" if count > 2 or len(outputs) > 2 else "binary"
    if len(targets) > 1:
        if all(_no_flag(train[name]) is None for name in targets):
            return "multilabel"
        for name in targets:
            if (odd := _no_number(train[name])) is not None:
                raise UserError(
                    f"several targets have to be numbers, or 0 and 1, and column '{name}' holds {odd!r}: write its "
                    f"values as numbers, or make a competition of each target"
                )
        return "regression"
    numbers = pd.to_numeric(cells, errors="coerce")
    needs = metric.needs if metric else None
    if numbers.isna().any() or (count == 2 and needs != "value"):
        _few_enough(train, targets[0])
        return "binary" if count == 2 else "multiclass"
    if needs == "value" or bool((numbers % 1 != 0).any()) or _measured(count, len(cells), metric):
        return "regression"
    return "binary" if count == 2 else "multiclass"


def _measured(count: int, rows: int, metric: Metric | None) -> bool:
    """Whether so many different whole numbers are measured, not told apart."""
    if metric is None:
        return count > FEW_CLASSES
    if "regression" in metric.tasks:
        return count > MANY_CLASSES
    return _too_many(count, rows)


def _too_many(count: int, rows: int) -> bool:
    """Hardly two rows of one class."""
    return count > max(MANY_CLASSES, rows // 2)


def _few_enough(train: pd.DataFrame, target: str) -> None:
    cells = non_empty(train[target])
    if _too_many(count := cells.nunique(), len(cells)):
        raise UserError(
            f"column '{target}' has {count} different values such as {cells.iloc[0][:40]!r} in {len(cells)} rows, "
            f"which are no classes: set target=COLUMN"
        )


def _output(
    task: TaskKind, sample: pd.DataFrame, outputs: tuple[str, ...], by_class: bool, needs: str | None
) -> Output:
    import pandas as pd

    if task == "regression":
        return "value"
    shown = [non_empty(sample[name]) for name in outputs]  # a sample may be empty: then it says nothing
    if task == "multilabel":
        return "label" if needs == "label" and all(_no_flag(cells) is None for cells in shown) else "probability"
    if by_class:
        return "probability"
    numbers = pd.to_numeric(shown[0], errors="coerce")
    if numbers.isna().any() or task == "multiclass":  # one column of many classes: their names
        return "label"
    fractional = bool((numbers % 1 != 0).any() and numbers.between(0, 1).all())
    return "probability" if fractional or needs == "probability" else "label"


def _no_number(column: pd.Series[str]) -> str | None:
    """The first cell that is no number."""
    import pandas as pd

    cells = non_empty(column)
    odd = cells[pd.to_numeric(cells, errors="coerce").isna()]
    return str(odd.iloc[0]) if len(odd) else None


def _no_flag(column: pd.Series[str]) -> str | None:
    """The first cell that is neither 0 nor 1, false nor true."""
    return next((str(cell) for cell in distinct_values(column) if cell.lower() not in FLAGS), None)


def count_classes_per_cell(sample: pd.DataFrame, outputs: tuple[str, ...], classes: tuple[str, ...], said: int) -> int:
    """How many classes a cell of the submission holds, parted by blanks: as many as the sample's cells do; `said` of
    the pages counts where those are empty."""
    cells = distinct_values(sample[outputs[0]])
    if not cells:
        return min(max(said, 1), len(classes))
    words = [cell.split() for cell in cells]
    if set(cells) <= set(classes) or len(classes) < 3:
        return 1
    names = {*classes, *map(str, range(len(classes) + 1))}
    return max(map(len, words)) if all(set(cell) <= names for cell in words) else 1
