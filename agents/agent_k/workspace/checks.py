"""The unit tests that a stage must pass.

They are the same for every competition, and for results of the model and of agentkd's own code alike.
The list follows the setup tests of Agent K (arXiv:2411.03562), and adds leaks and forms. A failure names the stage at
fault: the run goes back to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import MODALITIES, Failure, Setup, map_file
from agentkd.agents.agent_k.understand.data_files import IMAGES
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.files import read_targets
from agentkd.agents.agent_k.workspace.leaks import find_leaks
from agentkd.agents.agent_k.workspace.submission_file import spell_like_sample
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # ids in a message


def check_maps(setup: Setup, data: Path, workspace: Path) -> list[Failure]:
    """Check the input and target maps: each by itself, then together."""
    found = list(_check_each_map(setup, data, workspace))
    return found or list(_check_together(setup, data, workspace))


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, dtype={"id": str}, low_memory=False)


def _check_each_map(setup: Setup, data: Path, workspace: Path) -> Iterator[Failure]:
    held = {"tab": setup.tab, "txt": setup.txt, "img": setup.img}
    paths = [map_file(workspace, split, name) for name in MODALITIES if held[name] for split in ("train", "test")]
    if not paths:
        yield Failure(test="inputs", stage="modalities", message="no modality has an input column")
    for path in [*paths, workspace / "maps" / "train_target_map.csv"]:
        name = path.name
        if not path.exists():
            yield Failure(test=f"{name} exists", stage="maps", message=f"{name} is missing")
            continue
        try:
            frame = _frame(path)
        except (ValueError, UserError) as error:
            yield Failure(test=f"{name} is a table", stage="maps", message=f"{name}: {error}")
            continue
        doubled = [column for column in frame.columns if frame.columns.tolist().count(column) > 1]
        if "id" not in frame.columns or frame.columns[0] != "id":
            yield Failure(test=f"{name} has id", stage="maps", message=f"the first column of {name} is not `id`")
        elif frame.empty or len(frame.columns) < 2:
            yield Failure(test=f"{name} holds something", stage="maps", message=f"{name} has {frame.shape} cells")
        elif doubled or not frame["id"].is_unique:
            what = f"column {doubled[0]}" if doubled else f"id {frame['id'][frame['id'].duplicated()].iloc[0]}"
            yield Failure(test=f"{name} has no doubles", stage="maps", message=f"{what} stands twice in {name}")
        elif name.endswith("img_input_map.csv"):
            yield from _check_images(frame, data, name)


def _check_images(frame: pd.DataFrame, data: Path, name: str) -> Iterator[Failure]:
    paths = [str(cell) for cell in frame.iloc[:, 1].dropna() if str(cell)]
    root = data.resolve()
    bad = [
        path
        for path in paths
        if not path.lower().endswith(IMAGES)
        or not (data / path).is_file()
        or not (data / path).resolve().is_relative_to(root)
    ]
    if bad or not paths:
        what = f"{len(bad)} paths are no images in data/, such as {bad[0]}" if bad else "it names no image"
        yield Failure(test=f"{name} names images", stage="maps", message=f"{name}: {what}")


def _check_together(setup: Setup, data: Path, workspace: Path) -> Iterator[Failure]:
    """Check that ids agree within a split and with the sample, that columns agree, and that nothing leaks."""
    targets = read_targets(workspace)
    sample = read_table(data / setup.sample, text=True)
    expected = {"train": list(targets["id"]), "test": list(sample[setup.id])}
    for name in MODALITIES:
        frames = {}
        for split in ("train", "test"):
            path = map_file(workspace, split, name)
            if not path.exists():
                continue
            frame = frames[split] = _frame(path)
            if list(frame["id"]) != expected[split]:
                other = sorted(set(frame["id"]) ^ set(expected[split]))[:SHOWN]
                why = f"these ids differ: {', '.join(other)}" if other else "the order of ids differs"
                of = "the target map" if split == "train" else "the sample submission"
                yield Failure(test="ids agree", stage="maps", message=f"{path.name} against {of}: {why}")
            if shared := set(setup.targets) & set(frame.columns):
                message = f"{path.name} holds the target {', '.join(sorted(shared))}"
                yield Failure(test="no target among inputs", stage="maps", message=message)
        if len(frames) == 2 and list(frames["train"].columns) != list(frames["test"].columns):
            odd = sorted(set(frames["train"].columns) ^ set(frames["test"].columns))[:SHOWN]
            message = f"{name}: only one of them has {', '.join(odd) or 'this order'}"
            yield Failure(test="train and test columns agree", stage="maps", message=message)
        elif len(frames) == 2 and name == "tab" and (leaks := find_leaks(frames["train"], targets, setup)):
            message = f"column {leaks[0]} gives the target away: leave it out"
            yield Failure(test="no leak", stage="maps", message=message)
    if setup.task in ("binary", "multiclass") and (unknown := set(targets[setup.targets[0]]) - set(setup.classes)):
        message = f"targets {', '.join(sorted(unknown)[:SHOWN])} are not among the classes"
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
    """Check a file against the sample submission: columns, order, ids, cells."""
    found = _check_submission(file, setup, data)
    return [Failure(test=f"submission {test}", stage="format", message=message) for test, message in found]


def _check_submission(file: Path, setup: Setup, data: Path) -> Iterator[tuple[str, str]]:
    import pandas as pd

    sample = read_table(data / setup.sample, text=True)
    try:
        frame = read_table(file, text=True)
    except (UserError, OSError) as error:
        yield "is a table", str(error)
        return
    if list(frame.columns) != list(sample.columns):
        yield "has the sample's columns", f"{list(frame.columns)[:SHOWN]}, not {list(sample.columns)[:SHOWN]}"
        return
    if len(frame) != len(sample):
        yield "has the sample's rows", f"{len(frame)} rows, not {len(sample)}"
        return
    if list(frame[setup.id]) != list(sample[setup.id]):
        odd = sorted(set(frame[setup.id]) ^ set(sample[setup.id]))[:SHOWN]
        yield "has the sample's ids", f"ids differ: {', '.join(odd) or 'their order'}"
    cells = frame[list(setup.outputs)]
    if (empty := int((cells == "").sum().sum())) or cells.isin(["nan", "NaN", "None", "inf", "-inf"]).any().any():
        yield "has no gap", f"{empty or 'some'} cells are empty, NaN or infinite"
        return
    if setup.output == "label":
        given = (str(item) for item in cells.to_numpy().ravel())
        labels = {word for item in given for word in (item.split() if setup.top > 1 else [item])}
        shown = {str(item) for item in sample[list(setup.outputs)].to_numpy().ravel()}
        if setup.classes and (
            unknown := labels - {*setup.classes, *shown, *spell_like_sample(setup.classes, list(shown))}
        ):
            yield "holds classes", f"{', '.join(sorted(unknown)[:SHOWN])} are no classes"
        return
    numbers = cells.apply(pd.to_numeric, errors="coerce")
    if numbers.isna().any().any():
        yield "holds numbers", "some cells are no numbers"
    elif setup.output == "probability":
        if ((numbers < 0) | (numbers > 1)).any().any():
            yield "holds probabilities", f"they go from {numbers.min().min():.4g} to {numbers.max().max():.4g}"
        elif setup.task == "multiclass" and len(setup.outputs) > 1:
            total = numbers.sum(axis=1)
            if ((total - 1).abs() > 1e-3).any():
                yield "has rows that sum to 1", f"a row sums to {total.min():.4g}"


def check_predictions(frame: pd.DataFrame, setup: Setup, ids: list[str], split: str) -> list[Failure]:
    """Check a candidate's predictions: the contract's columns, the ids, and finite numbers."""
    import numpy as np

    name = f"{split} predictions"
    if list(frame.columns) != ["id", *setup.predicted]:
        message = f"columns {list(frame.columns)[:SHOWN]}, not {['id', *setup.predicted][:SHOWN]}"
        return [Failure(test=name, stage="solve", message=message)]
    if [str(item) for item in frame["id"]] != ids:
        return [Failure(test=name, stage="solve", message=f"{len(frame)} rows whose ids are not the {len(ids)} asked")]
    values = frame[list(setup.predicted)].apply(lambda column: np.asarray(column, dtype=object))
    try:
        numbers = values.to_numpy().astype(float)
    except (TypeError, ValueError):
        return [Failure(test=name, stage="solve", message="some predictions are no numbers")]
    if not np.isfinite(numbers).all():
        return [Failure(test=name, stage="solve", message="some predictions are NaN or infinite")]
    if setup.task != "regression" and ((numbers < -1e-9) | (numbers > 1 + 1e-9)).any():
        return [Failure(test=name, stage="solve", message="some probabilities are outside 0 … 1")]
    return []
