"""Make a competition with a hidden part of a table: a hold-out of one's own, for `agentkd kaggle grade`."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.errors import UserError, unknown_name
from agentkd.eval.competition_answers import USAGE, read_table
from agentkd.eval.competition_metrics import METRICS
from agentkd.runs.disk import write_atomically

if TYPE_CHECKING:
    import pandas as pd

FACTS = "competition.json"  # is written last
FEW = 30  # classes at most that numbers may stand for, where the metric does not tell


@dataclass(frozen=True)
class Competition:
    """A competition before it is split: a table with `id` and targets, and what lies beside it.

    Rows of the last values of `later` are held out, or whole `groups`, or else any rows."""

    title: str
    page: str
    task: str
    metric: str
    targets: tuple[str, ...]
    table: pd.DataFrame
    sources: tuple[str, ...] = ()  # packages whose data it is made of
    later: pd.Series[Any] | None = None
    groups: pd.Series[Any] | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # by file name
    images: dict[str, Any] = field(default_factory=dict)  # by id
    outputs: tuple[str, ...] = ()  # classes with a column of the submission each


def write_competition(made: Competition, home: Path, share: float, seed: int) -> tuple[int, int]:
    """Write public/, private/solution.csv, description.md and competition.json; returns the rows of both parts.

    About half of the held-out rows are public. Raises UserError where a part would be empty."""
    table = made.table.reset_index(drop=True)
    random = np.random.default_rng(seed)
    held = choose_held_out(made, share, random)
    if held.all() or not held.any():
        raise UserError(f"{int(held.sum())} of {len(held)} rows would be held out: choose another share, or more rows")
    public, private = home / "public", home / "private"
    for place in (public, private):
        place.mkdir(parents=True, exist_ok=True)
    targets, test = list(made.targets), table[held]
    inputs = [name for name in table.columns if name not in targets]
    _save(table[~held], public / "train.csv")
    if inputs != ["id"]:
        _save(test[inputs], public / "test.csv")
    for name, frame in made.tables.items():
        _save(frame, public / name)
    for split, ids in (("train", table["id"][~held]), ("test", test["id"])) if made.images else ():
        (public / split).mkdir(exist_ok=True)
        for name in ids:
            made.images[name].save(public / split / f"{name}.png")
    sample = test[["id"]].assign(**{name: table[name].iloc[0] for name in targets})
    if made.outputs:
        sample = test[["id"]].assign(**dict.fromkeys(made.outputs, 1 / len(made.outputs)))
    elif METRICS[made.metric].compares == "probability":
        sample = test[["id"]].assign(**dict.fromkeys(targets, 0.5))
    _save(sample, public / "sample_submission.csv")
    usage = np.where(random.random(len(test)) < 0.5, "Public", "Private")
    _save(test[["id", *targets]].assign(**{USAGE: usage}), private / "solution.csv")
    write_atomically(home / "description.md", f"# {made.title}\n\n{made.page}\n")
    facts = {
        "slug": home.name,
        "title": made.title,
        "task": made.task,
        "metric": made.metric,
        "id": "id",
        "targets": targets,
        "seed": seed,
        "n_train": int((~held).sum()),
        "n_test": int(held.sum()),
        "sources": {name: importlib.metadata.version(name) for name in made.sources},
    }
    write_atomically(home / FACTS, json.dumps(facts, indent=1) + "\n")
    return int((~held).sum()), int(held.sum())


def choose_held_out(made: Competition, share: float, random: np.random.Generator) -> Any:
    """Which rows are held out, `(rows,)`: about the share of them."""
    rows = len(made.table)
    if made.later is not None:
        return made.later.rank(method="min").to_numpy() > rows * (1 - share)
    if made.groups is not None:
        names = random.permutation(np.array(sorted(made.groups.unique())))
        return made.groups.isin(names[: round(len(names) * share)]).to_numpy()
    return random.permutation(rows) >= round(rows * (1 - share))


def _save(frame: pd.DataFrame, path: Path) -> None:
    write_atomically(path, frame.to_csv(index=False))


@dataclass(frozen=True)
class Split:
    """How a table is split. `group`: rows of one value stay together; `later`: its last values are held out."""

    share: float = 0.25
    group: str = ""
    later: str = ""
    seed: int = 0


def hold_out(file: Path, target: str, metric: str, split: Split, home: Path) -> dict[str, Any]:
    """Make a competition in `home` of a CSV file with a header; `target` may be several columns, with commas.

    Raises UserError for an unknown column or metric, and for a folder that holds something."""
    table = read_table(file)
    targets = tuple(name.strip() for name in target.split(","))
    for name in (*targets, *filter(None, (split.group, split.later))):
        if name not in table.columns:
            raise unknown_name("column", name, map(str, table.columns))
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if home.exists() and any(home.iterdir()):
        raise UserError(f"{home} holds something: choose another --out")
    table = table[(table[list(targets)] != "").any(axis=1)].reset_index(drop=True)
    if "id" not in table.columns or not table["id"].is_unique:
        table = table.rename(columns={"id": "id (column)"})
        table.insert(0, "id", [f"row-{number}" for number in range(len(table))])
    task = guess_task(metric, table[list(targets)])
    classes = tuple(sorted(set(table[targets[0]]))) if task == "multiclass" else ()
    made = Competition(
        title=home.name,
        page=f"Predict {', '.join(targets)} of each row.\n\n## Evaluation\n\nSubmissions are evaluated on {metric}.",
        task=task,
        metric=metric,
        targets=targets,
        table=table,
        later=_as_order(table[split.later]) if split.later else None,
        groups=table[split.group] if split.group else None,
        outputs=classes if METRICS[metric].compares == "probability" else (),
    )
    train, test = write_competition(made, home, split.share, split.seed)
    return {"out": str(home), "task": task, "metric": metric, "train": train, "test": test}


def _as_order(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers where all cells are, else dates, else texts."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().all():
        return numbers
    dates = pd.to_datetime(column, errors="coerce", format="mixed")
    return dates if dates.notna().all() else column


def guess_task(metric: str, targets: pd.DataFrame) -> str:
    """The task of a metric and true answers, as text. Raises UserError for answers that the metric is not for."""
    import pandas as pd

    tasks = METRICS[metric].tasks
    values = [set(targets[name]) - {""} for name in targets.columns]
    flags = all(found <= {"0", "1", "0.0", "1.0", "True", "False", "true", "false"} for found in values)
    numbers = all(pd.to_numeric(targets[name], errors="coerce").notna().any() for name in targets.columns)
    if len(values) > 1:
        found = "multilabel" if flags and "multilabel" in tasks else "regression"
    elif "binary" in tasks and len(values[0]) <= 2:
        found = "binary"
    elif "multiclass" in tasks and (len(values[0]) <= FEW or not numbers or "regression" not in tasks):
        found = "multiclass"
    else:
        found = "regression"
    if found not in tasks or (found == "regression" and not numbers):
        raise UserError(
            f"metric '{metric}' is for {' and '.join(tasks)}: column '{targets.columns[0]}' has {len(values[0])} "
            f"values, such as {', '.join(sorted(values[0])[:3])}"
        )
    return found
