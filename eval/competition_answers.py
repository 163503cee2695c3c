"""Solutions and submissions as the arrays that a metric compares.

Everything is text until here. A class is known by its name; a number stands for the class of that number, however it
is written (1, 1.0 and True are one class).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.errors import UserError
from agentkd.eval.competition_metrics import Array, Metric

if TYPE_CHECKING:
    import pandas as pd

USAGE = "Usage"  # the solution's column of Public and Private


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file as text. Raises UserError."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except OSError as error:
        raise UserError(f"cannot read {path.name}: {error.strerror or error}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is no CSV file ({str(error).splitlines()[0]})") from None


@dataclass(frozen=True)
class Form:
    """The form of a competition's answers: columns other than the id, and classes in the order of their codes.

    Classes of one column are sorted, so that the positive one of two comes last; classes with a column each have the
    order of the columns."""

    task: str
    metric: Metric
    outputs: tuple[str, ...]  # of the submission
    answers: tuple[str, ...]  # of the solution
    classes: tuple[str, ...] = ()

    @property
    def has_classes(self) -> bool:
        """Whether a row has one of several classes."""
        return self.task in ("binary", "multiclass")


def find_form(
    facts: Mapping[str, Any], metric: Metric, sample: pd.DataFrame, solution: pd.DataFrame, given: pd.DataFrame
) -> Form:
    """Find columns and classes. `given` is the submission; it has the sample's columns.

    A submitted label that no true row has becomes a class of its own, so that it is wrong and not invalid. In a binary
    task only the sample submission may add such labels."""
    outputs = tuple(column for column in sample.columns if column != facts["id"])
    answers = tuple(column for column in solution.columns if column not in (facts["id"], USAGE))
    form = Form(facts["task"], metric, outputs, answers)
    if not form.has_classes:
        return form
    if len(answers) > 1:
        return replace(form, classes=answers)
    if len(outputs) > 1:
        return replace(form, classes=outputs)
    true = set(solution[answers[0]])
    more: set[str] = set()
    if metric.compares == "label":
        binary = form.task == "binary"
        more = set(sample[outputs[0]]) if binary else unknown_labels(given[outputs[0]], true)
    return replace(form, classes=tuple(sorted((true | more) - {""})))


def unknown_labels(given: Iterable[str], true: Collection[str]) -> set[str]:
    """Return the given labels that are none of the true ones, however those are written."""
    numbers = {read_number(label) for label in true} - {None}
    return {label for label in set(given) - set(true) if read_number(label) not in numbers}


def read_truth(form: Form, solution: pd.DataFrame) -> Array:
    """Read the true answers of some rows of the solution.

    Classes: codes `(N,)`; multilabel: zeros and ones `(N, L)`; missing values are -1. Regression: floats `(N, T)`,
    missing values are NaN. Raises UserError for a value that is no class."""
    import pandas as pd

    table = solution[list(form.answers)]
    if form.task == "regression":
        return np.column_stack([pd.to_numeric(table[name], errors="coerce").astype(float) for name in form.answers])
    if form.has_classes and len(form.answers) == 1:
        return find_codes(form.classes, table[form.answers[0]])
    if form.has_classes:  # a column of zeros and ones for each class
        return np.asarray(table.astype(float).to_numpy().argmax(axis=1))
    cells = [[read_number(cell) for cell in table[name]] for name in form.answers]
    values = np.array([[np.nan if cell is None else cell for cell in column] for column in cells]).T
    if wrong := sorted(set(values[~np.isnan(values)].tolist()) - {0.0, 1.0}):
        raise UserError(f"a multilabel target has the value {wrong[0]:g}: its values must be 0 and 1")
    return np.where(np.isnan(values), -1, values).astype(np.int64)


def read_predictions(form: Form, given: pd.DataFrame) -> Array:
    """Read all rows of a submission: class codes `(N,)` where the metric compares classes, else floats.

    The floats are probabilities `(N, K)` of classes or `(N, L)` of labels, or values `(N, T)`. Raises UserError for a
    label that is no class, and for a cell that is no number."""
    import pandas as pd

    if form.has_classes and form.metric.compares == "label":
        return find_codes(form.classes, given[form.outputs[0]])
    names = form.classes if form.has_classes else form.answers
    columns = names if set(names) <= set(form.outputs) else form.outputs
    values = []
    for column in columns:
        numbers = pd.to_numeric(given[column], errors="coerce").astype(float)
        if numbers.isna().any():
            raise UserError(f"'{given[column][numbers.isna()].iloc[0]}' in column '{column}' is no number")
        values.append(numbers.to_numpy())
    if form.task == "binary" and len(form.outputs) == 1:  # the positive class's probability
        values = [1 - values[0], values[0]]
    if len(values) != len(names):
        raise UserError(
            f"the submission has {len(form.outputs)} columns for {len(names)} answers ({', '.join(names[:10])}): "
            f"give competition.json a metric and a task that fit"
        )
    return np.column_stack(values)


def find_codes(classes: Sequence[str], labels: pd.Series[Any]) -> Array:
    """Return each label's place among the classes, -1 for an empty one. Raises UserError for an unknown label."""
    codes = {"": -1} | {name: place for place, name in enumerate(classes)}
    by_number = {read_number(name): place for place, name in enumerate(classes)}
    by_number.pop(None, None)
    for label in labels.unique():
        code = codes.setdefault(label, by_number.get(read_number(label), -1))
        if code < 0 and label:
            raise UserError(f"'{label}' is none of the classes {', '.join(classes[:10])}")
    return np.array([codes[label] for label in labels], dtype=np.int64)


def number_classes(classes: Sequence[str]) -> Array:
    """Return the classes as numbers, or their places where one of them is no number."""
    numbers = [read_number(name) for name in classes]
    return np.array(range(len(classes)) if None in numbers else numbers, dtype=np.float64)


def read_number(text: str) -> float | None:
    """Return the number that a cell holds; True is 1 and False is 0. None for any other text."""
    word = text.lower()
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return float(word)
    except ValueError:
        return None


def score_rows(form: Form, solution: pd.DataFrame, predicted: Array) -> float:
    """Score predictions against the solution's rows; what has no true value is left out.

    Raises UserError where the metric is undefined."""
    metric = form.metric
    if form.task not in metric.tasks:
        tasks = " and ".join(metric.tasks)
        raise UserError(f"metric '{metric.name}' is for {tasks}, not for a {form.task} task")
    truth = read_truth(form, solution)
    known = np.isfinite(truth) if form.task == "regression" else truth >= 0
    if not known.any():
        targets = ("target",) if form.has_classes else form.answers
        raise UserError(f"no row of {len(truth)} has a true value of {', '.join(targets)}")
    if wrong := int(np.count_nonzero(~np.isfinite(predicted))):
        raise UserError(f"{wrong} predicted values are not finite: predict every row")
    if form.has_classes:
        return score_classes(form, truth[known], predicted[known])
    if form.task == "multilabel":
        return score_labels(metric, truth, predicted, known)
    values = np.rint(predicted) if metric.compares == "label" else predicted
    columns = [(truth[k, c], values[k, c]) for c, k in enumerate(known.T) if k.any()]
    return float(np.mean([metric.function(*column) for column in columns]))


def score_classes(form: Form, truth: Array, predicted: Array) -> float:
    """Score one class per row. Quadratic kappa compares the classes' numbers, not their places."""
    if form.metric.name == "qwk":
        values = number_classes(form.classes)
        truth, predicted = values[truth], values[predicted]
    return form.metric.function(truth, predicted)


def score_labels(metric: Metric, truth: Array, predicted: Array, known: Array) -> float:
    """Score several labels per row, given as probabilities.

    Where some labels are unknown, metrics of labels count them as absent on both sides; Hamming loss and metrics of
    probabilities are averaged over the labels, each on the rows that know it."""
    if metric.compares == "label":
        predicted = (predicted >= 0.5).astype(np.int64)
    if known.all():
        return metric.function(truth, predicted)
    if metric.compares == "label" and metric.name != "hamming":
        return metric.function(np.where(known, truth, 0), np.where(known, predicted, 0))
    scores = []
    for label, rows in enumerate(known.T):
        true, given = truth[rows, label], predicted[rows, label]
        if len(np.unique(true)) > (0 if metric.lower_is_better else 1):  # areas need both classes
            scores.append(metric.function(true[:, None], given[:, None]))
    if not scores:
        raise UserError(f"{metric.name} is undefined on {len(truth)} rows: no column has both classes")
    return float(np.mean(scores))
