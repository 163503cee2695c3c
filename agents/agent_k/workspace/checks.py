"""The unit tests that a stage must pass.

They are the same for every competition, and for results of the model and of agentkd's own code alike.
The list follows the setup tests of Agent K (arXiv:2411.03562), and adds leaks and forms. A failure names the stage at
fault: the run goes back to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.border import CELL, Bounds, Refused, bound_columns, parse_table, try_look
from agentkd.agents.agent_k.contract import (
    MODALITIES,
    Failure,
    Setup,
    list_names,
    map_file,
    show_name,
)
from agentkd.agents.agent_k.understand.data_files import IMAGES
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.understand.tags import split_tags
from agentkd.agents.agent_k.workspace.files import read_targets
from agentkd.agents.agent_k.workspace.leaks import find_leaks
from agentkd.agents.agent_k.workspace.submission_file import spell_classes
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

UTF8 = 4  # bytes that a character takes at most
MOST_VALUE = 1e150  # of a prediction: its square is finite


def check_maps(setup: Setup, data: Path, workspace: Path) -> list[Failure]:
    """Check the input and target maps: each by itself, then together."""
    read = lru_cache(_frame)  # each map once: tables may be wide
    found = list(_check_each_map(setup, data, workspace, read))
    return found or list(_check_together(setup, data, workspace, read))


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, dtype={"id": str}, low_memory=False)


def _check_each_map(
    setup: Setup, data: Path, workspace: Path, read: Callable[[Path], pd.DataFrame]
) -> Iterator[Failure]:
    held = {"tab": setup.tab, "txt": setup.txt, "img": setup.img}
    paths = [map_file(workspace, split, name) for name in MODALITIES if held[name] for split in ("train", "test")]
    if not paths:
        yield Failure(test="inputs", stage="modalities", message="no modality has an input column")
    for path in [*paths, workspace / "maps" / "train_target_map.csv"]:
        name = path.name
        if not path.exists():
            yield Failure(test=f"{name} exists", stage="maps", message=f"{name} is missing")
            continue
        frame = try_look("maps", f"{name} is a table", partial(read, path))
        if isinstance(frame, Refused):
            yield from frame.failures
            continue
        if "id" not in frame.columns or frame.columns[0] != "id":
            yield Failure(test=f"{name} has id", stage="maps", message=f"the first column of {name} is not `id`")
        elif frame.empty or len(frame.columns) < 2:
            yield Failure(test=f"{name} holds something", stage="maps", message=f"{name} has {frame.shape} cells")
        elif frame["id"].isna().any():
            message = f"{name} has {int(frame['id'].isna().sum())} empty ids"
            yield Failure(test=f"{name} has ids", stage="maps", message=message)
        elif not frame["id"].is_unique:
            doubled = show_name(frame["id"][frame["id"].duplicated()].iloc[0])
            yield Failure(test=f"{name} has no doubles", stage="maps", message=f"id {doubled} stands twice in {name}")
        elif name.endswith("img_input_map.csv"):
            yield from _check_images(frame, data, name)


def _check_images(frame: pd.DataFrame, data: Path, name: str) -> Iterator[Failure]:
    paths = [str(cell) for cell in frame.iloc[:, 1].dropna() if str(cell)]
    root = data.resolve()
    bad = [path for path in paths if not _is_image(root, path)]
    if bad or not paths:
        what = f"{len(bad)} paths are no images in data/, such as {show_name(bad[0])}" if bad else "it names no image"
        yield Failure(test=f"{name} names images", stage="maps", message=f"{name}: {what}")


def _is_image(root: Path, path: str) -> bool:
    try:
        place = (root / path).resolve()
        return path.lower().endswith(IMAGES) and place.is_relative_to(root) and place.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, with a NUL, a link to itself
        return False


def _check_together(
    setup: Setup, data: Path, workspace: Path, read: Callable[[Path], pd.DataFrame]
) -> Iterator[Failure]:
    """Check that ids agree within a split and with the sample, then columns, then that nothing leaks.

    Each check needs the one before it: tables of other ids are not compared any further."""
    targets = read_targets(workspace)
    sample = read_table(data / setup.sample, text=True)
    expected = {"train": ("target map", list(targets["id"])), "test": ("sample submission", list(sample[setup.id]))}
    paths = {(name, split): map_file(workspace, split, name) for name in MODALITIES for split in expected}
    frames = {place: read(path) for place, path in paths.items() if path.exists()}
    found = []
    for (name, split), frame in frames.items():
        if what := compare_ids(list(frame["id"]), *expected[split]):
            message = f"{paths[name, split].name} {what}"
            found.append(Failure(test="ids agree", stage="maps", message=message))
    yield from found or _check_columns(setup, targets, frames)


def compare_ids(ids: Sequence[str], of: str, expected: Sequence[str]) -> str:
    """How ids differ from the expected ones, those of the table `of`; "" where they do not."""
    if list(ids) == list(expected):
        return ""
    given, wanted = set(ids), set(expected)
    missing = [name for name in expected if name not in given]
    strange = [name for name in ids if name not in wanted]
    what = f"has {len(ids):,} rows, the {of} {len(expected):,}: "
    if missing:
        what += f"{len(missing):,} ids are missing, first {list_names(missing)}"
    if strange:
        what += f"{' and ' if missing else ''}{len(strange):,} ids are not among its ids, first {list_names(strange)}"
    if missing or strange:
        return what
    if len(ids) != len(expected):
        return what + "some ids stand twice"
    place = next(place for place, (one, other) in enumerate(zip(ids, expected, strict=True)) if one != other)
    return (
        f"has the ids of the {of} in another order: row {place + 1} is {show_name(ids[place])}, "
        f"not {show_name(expected[place])}"
    )


def _check_columns(
    setup: Setup, targets: pd.DataFrame, frames: dict[tuple[str, str], pd.DataFrame]
) -> Iterator[Failure]:
    """Check the columns of maps whose ids agree."""
    for (name, split), frame in frames.items():
        if shared := set(setup.targets) & set(frame.columns):
            message = f"{map_file(Path(), split, name).name} holds the target {list_names(sorted(shared))}"
            yield Failure(test="no target among inputs", stage="maps", message=message)
    for name in MODALITIES:
        train, test = frames.get((name, "train")), frames.get((name, "test"))
        if train is None or test is None:
            continue
        if list(train.columns) != list(test.columns):
            odd = sorted(set(train.columns) ^ set(test.columns))
            message = f"{name}: only one of train and test has {list_names(odd) or 'this order of columns'}"
            yield Failure(test="train and test columns agree", stage="maps", message=message)
        elif name == "tab" and (leaks := find_leaks(train, targets, setup)):
            message = f"column {show_name(leaks[0])} gives the target away: leave it out"
            yield Failure(test="no leak", stage="maps", message=message)
    if setup.task in ("binary", "multiclass") and (unknown := set(targets[setup.targets[0]]) - set(setup.classes)):
        message = f"targets {list_names(sorted(unknown))} are not among the classes"
        yield Failure(test="targets are classes", stage="understand", message=message)


def check_metric(
    evaluate: Callable[[pd.DataFrame], float], perfect: pd.DataFrame, setup: Setup, seed: int
) -> list[Failure]:
    """Check that the metric is finite, and better for the true values than for shuffled ones.

    `perfect` is the truth as a prediction file."""
    best, other = evaluate(perfect), evaluate(shuffle_predictions(perfect, seed))
    name = f"metric {setup.metric}"
    if not (math.isfinite(best) and math.isfinite(other)):
        return [Failure(test=f"{name} is finite", stage="metric", message=f"it gives {best} and {other}")]
    if best == other or (best < other) != setup.lower_is_better:
        way = "lower" if setup.lower_is_better else "higher"
        message = f"perfect predictions give {best:.6g}, shuffled ones {other:.6g}, though {way} is better"
        return [Failure(test=f"{name} prefers the truth", stage="metric", message=message)]
    return []


def shuffle_predictions(predictions: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Give the same predictions to other rows."""
    moved = predictions.sample(frac=1.0, random_state=seed).reset_index(drop=True)
    return moved.assign(id=predictions["id"])


def check_submission(file: Path, setup: Setup, data: Path) -> list[Failure]:
    """Check a file against the sample submission: columns, order, ids, cells.

    Code may have written it, so it is bounded by what the sample needs."""
    sample = read_table(data / setup.sample, text=True)
    bounds = bound_submission(sample, setup)

    def read() -> pd.DataFrame:
        if (size := file.stat().st_size) > bounds.bytes:
            raise UserError(f"{file.name} has {size:,} bytes: {len(sample):,} rows take at most {bounds.bytes:,}")
        return parse_table(file.read_bytes(), file.name, bounds, text=True)

    frame = try_look("format", "submission is a table", read)
    if isinstance(frame, Refused):
        return frame.failures
    found = _check_submission(frame, sample, setup)
    return [Failure(test=f"submission {test}", stage="format", message=message) for test, message in found]


def bound_submission(sample: pd.DataFrame, setup: Setup) -> Bounds:
    """The bounds of a submission in the form of the sample."""
    names = [str(name) for name in sample.columns]
    widest = max(int(sample[name].str.len().max()) for name in names)
    if setup.tags:
        widest = max(widest, sum(len(name) - len(setup.tags) for name in setup.targets))
    widest = max(widest, setup.top * max((len(name) + 1 for name in setup.classes), default=0))
    return bound_columns(names, list(sample[setup.id]), CELL + UTF8 * widest)


def _check_submission(frame: pd.DataFrame, sample: pd.DataFrame, setup: Setup) -> Iterator[tuple[str, str]]:
    import pandas as pd

    if what := compare_ids(list(frame[setup.id]), "sample submission", list(sample[setup.id])):
        yield "has the sample's ids", f"it {what}"
        return
    cells = frame[list(setup.outputs)]
    if (empty := int((cells == "").sum().sum())) or cells.isin(["nan", "NaN", "None", "inf", "-inf"]).any().any():
        yield "has no gap", f"{empty or 'some'} cells are empty, NaN or infinite"
        return
    if setup.tags:
        own = set(sample[setup.outputs[0]])
        known = {name[len(setup.tags) + 2 :] for name in setup.targets}
        sent = {word for cell in cells[setup.outputs[0]] if cell not in own for word in split_tags(cell, setup.mark)}
        if unknown := sent - known:
            yield "holds tags", f"{list_names(sorted(unknown))} are no tags"
        return
    if setup.output == "label":
        given = (str(item) for item in cells.to_numpy().ravel())
        labels = {word for item in given for word in (item.split() if setup.top > 1 else [item])}
        shown = {str(item) for item in sample[list(setup.outputs)].to_numpy().ravel()}
        if setup.classes and (unknown := labels - {*setup.classes, *shown, *spell_classes(setup, list(shown))}):
            yield "holds classes", f"{list_names(sorted(unknown))} are no classes"
        return
    numbers = cells.apply(pd.to_numeric, errors="coerce")
    if numbers.isna().any().any():
        yield "holds numbers", "some cells are no numbers"
    elif setup.output == "value":
        yield from _check_demands(numbers, setup)
    elif setup.output == "probability":
        if ((numbers < 0) | (numbers > 1)).any().any():
            yield "holds probabilities", f"they go from {numbers.min().min():.4g} to {numbers.max().max():.4g}"
        elif setup.task == "multiclass" and len(setup.outputs) > 1:
            total = numbers.sum(axis=1)
            if ((total - 1).abs() > 1e-3).any():
                yield "has rows that sum to 1", f"a row sums to {total.min():.4g}"


def _check_demands(numbers: pd.DataFrame, setup: Setup) -> Iterator[tuple[str, str]]:
    """Check what the pages or the sample demand of values."""
    total = numbers.sum(axis=1)
    if setup.sums and ((total - 1).abs() > 1e-3).any():
        yield "has rows that sum to 1", f"a row sums to {total[(total - 1).abs().idxmax()]:.4g}"
    if (setup.sums and (numbers < 0).any().any()) or (setup.low is not None and (numbers < setup.low).any().any()):
        yield "keeps its range", f"a value is {numbers.min().min():.4g}"
    if setup.high is not None and (numbers > setup.high).any().any():
        yield "keeps its range", f"a value is {numbers.max().max():.4g}, more than {setup.high:g}"
    if setup.whole and (numbers % 1 != 0).any().any():
        yield "holds whole numbers", "some cells have decimals"


def check_predictions(frame: pd.DataFrame, setup: Setup, ids: list[str], split: str) -> list[Failure]:
    """Check a candidate's predictions: the contract's columns, the ids, and finite numbers."""
    import numpy as np

    name = f"{split} predictions"
    if list(frame.columns) != ["id", *setup.predicted]:
        message = f"columns {list_names(frame.columns)}, not {list_names(['id', *setup.predicted])}"
        return [Failure(test=name, stage="solve", message=message)]
    if [str(item) for item in frame["id"]] != ids:
        what = compare_ids([str(item) for item in frame["id"]], "question", ids)
        message = f"{len(frame)} rows whose ids are not the {len(ids)} asked: it {what}"
        return [Failure(test=name, stage="solve", message=message)]
    values = frame[list(setup.predicted)].apply(lambda column: np.asarray(column, dtype=object))
    try:
        numbers = values.to_numpy().astype(float)
    except (TypeError, ValueError):
        return [Failure(test=name, stage="solve", message="some predictions are no numbers")]
    if not np.isfinite(numbers).all():
        return [Failure(test=name, stage="solve", message="some predictions are NaN or infinite")]
    if (abs(numbers) > MOST_VALUE).any():
        message = f"a prediction is {numbers.flat[abs(numbers).argmax()]:g}: at most {MOST_VALUE:g}"
        return [Failure(test=name, stage="solve", message=message)]
    if setup.task != "regression" and ((numbers < -1e-9) | (numbers > 1 + 1e-9)).any():
        return [Failure(test=name, stage="solve", message="some probabilities are outside 0 … 1")]
    return []
