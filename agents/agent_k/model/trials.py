"""Run code of the model in the sandbox, and test it: the `trial` of coding.write_code.

Each trial runs code.py of a folder in a fresh work folder below it, reads the results without following links, and
returns the failures of the stage's unit tests, none for code that passes.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from agentkd.agents.agent_k.border import (
    Refused,
    bound_table,
    judge,
    read_left_json,
    read_left_table,
    refuse,
)
from agentkd.agents.agent_k.contract import MODALITIES, Failure, Setup, list_names, map_file
from agentkd.agents.agent_k.model.run_code import (
    CODE_SECONDS,
    HARNESS,
    TrialResult,
    format_predictions,
    make_work_folder,
    measure_predictions,
    read_predictions,
    run_failures,
)
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.arrays import load_data, rows_by_fold
from agentkd.agents.agent_k.workspace.checks import check_maps, compare_ids, shuffle_predictions
from agentkd.agents.agent_k.workspace.files import read_targets, save_setup, save_table
from agentkd.agents.agent_k.workspace.maps import read_inputs
from agentkd.agents.agent_k.workspace.trial_predictions import random_predictions
from agentkd.runs.disk import write_atomically
from agentkd.trace import Frozen

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 2000  # of a map, unless the competition has more
MOST_FEATURES = 300


class Direction(Frozen):
    """What `try_metric` has measured."""

    lower_is_better: bool


async def try_maps(bench: Workbench, folder: Path) -> TrialResult:
    """Run the code on the data, and test its maps in a workspace of their own.

    The target map is the accepted one."""
    work = make_work_folder(folder)
    outcome = await bench.run_module(
        HARNESS, "maps", str(bench.data), work=work, read=[bench.data], seconds=CODE_SECONDS
    )
    if failures := run_failures(outcome, "maps"):
        return failures, outcome

    def look() -> list[Failure]:
        return check_maps(stage_maps(bench, folder), bench.data, folder / "trial")

    found = await judge("maps", "maps are files", look)
    return found.failures if isinstance(found, Refused) else found, outcome


def stage_maps(bench: Workbench, folder: Path) -> Setup:
    """Copy the code's maps into FOLDER/trial/maps, and return the set-up that they make.

    They have the accepted maps' rows, and at most MOST_COLUMNS columns or four times theirs."""
    trial = folder / "trial" / "maps"
    shutil.rmtree(trial.parent, ignore_errors=True)
    trial.mkdir(parents=True)
    inputs: dict[str, tuple[str, ...]] = {}
    data = load_data(bench.workspace)
    held = sum(len(getattr(bench.setup, name)) for name in MODALITIES)
    for split, rows in (("train", data.n_train), ("test", len(data.test_ids))):
        paths = {name: map_file(bench.workspace, split, name) for name in MODALITIES}
        texts = sum(path.stat().st_size for path in paths.values() if path.exists())
        bounds = bound_table(rows, held, MOST_COLUMNS, texts)
        for name, path in paths.items():
            if os.path.lexists(folder / "work" / path.name):
                frame = read_left_table(folder / "work", path.name, bounds)
                save_table(frame, trial / path.name)
                inputs[name] = tuple(str(column) for column in frame.columns[1:])
    for name in ("train_target_map.csv", "folds.csv"):
        shutil.copy(bench.workspace / "maps" / name, trial / name)
    setup = bench.setup.model_copy(update={name: inputs.get(name, ()) for name in MODALITIES})
    save_setup(setup, folder / "trial")
    return setup


def adopt_maps(bench: Workbench, folder: Path) -> None:
    """Replace the workspace's maps by those that passed `try_maps`."""
    target = bench.workspace / "maps"
    shutil.rmtree(target)
    shutil.copytree(folder / "trial" / "maps", target)


async def try_metric(bench: Workbench, folder: Path, truth: pd.DataFrame, perfect: pd.DataFrame) -> TrialResult:
    """Score perfect and shuffled predictions by the code's metric.

    It must give two different finite numbers, which say whether lower is better."""
    values, outcome = await measure_predictions(
        bench, folder, truth, [perfect, shuffle_predictions(perfect, bench.seed)]
    )
    if isinstance(values, Refused):
        return values.failures, outcome
    if values[0] == values[1]:
        message = f"perfect and shuffled predictions give {values}: a metric tells them apart"
        return [Failure(test="metric prefers the truth", stage="metric", message=message)], outcome
    write_atomically(folder / "direction.json", Direction(lower_is_better=values[0] < values[1]).model_dump_json())
    return [], outcome


def read_direction(folder: Path) -> bool:
    """Whether lower is better, as `try_metric` has measured it."""
    return read_left_json(folder, "direction.json", TypeAdapter(Direction)).lower_is_better


async def try_format(bench: Workbench, folder: Path, predictions: pd.DataFrame) -> TrialResult:
    """Format two sets of predictions by the code: both files must be valid, and differ."""
    other = random_predictions(bench.setup, bench.data, seed=1)
    contents = []
    for frame in (predictions, other):
        failures, outcome = await format_predictions(bench, folder, frame, folder / "checked.csv")
        if failures:
            return failures, outcome
        contents.append((folder / "checked.csv").read_bytes())
    if contents[0] == contents[1]:
        message = "the file does not depend on the predictions"
        return [Failure(test="submission shows predictions", stage="format", message=message)], outcome
    return [], outcome


async def try_features(bench: Workbench, folder: Path) -> TrialResult:
    """Run the code on all inputs without targets; its new columns go to FOLDER/kept."""
    work = make_work_folder(folder)
    given = {split: read_inputs(bench.workspace, split) for split in ("train", "test")}
    for split, frame in given.items():
        save_table(frame, work / f"{split}.csv")
    outcome = await bench.run_module(HARNESS, "features", work=work, read=[], seconds=CODE_SECONDS)
    if failures := run_failures(outcome, "features"):
        return failures, outcome

    look = partial(keep_features, work, given, folder / "kept")
    found = await judge("features", "features are columns", look)
    return found.failures if isinstance(found, Refused) else [], outcome


def keep_features(work: Path, given: dict[str, pd.DataFrame], kept: Path) -> None:
    """Check the columns that code made of the inputs `given`, and write the new ones to the folder `kept`.

    Raises Refused and what the border raises."""

    def check(passed: bool, message: str) -> None:
        refuse([] if passed else [Failure(test="features are columns", stage="features", message=message)])

    made: dict[str, pd.DataFrame] = {}
    for split, frame in given.items():
        file, ids = f"{split}_features.csv", list(frame["id"])
        made[split] = read_left_table(work, file, bound_table(len(ids), len(frame.columns), MOST_FEATURES + 1))
        check(made[split].columns[0] == "id", f"the first column of {file} is not `id`")
        what = compare_ids(list(made[split]["id"]), "inputs", ids)
        check(not what, f"{file} {what}")
    names = [str(name) for name in made["train"].columns[1:]]
    others = [str(name) for name in made["test"].columns[1:]]
    check(names == others, f"train and test have other columns: {list_names(names)}; {list_names(others)}")
    check(0 < len(names) <= MOST_FEATURES, f"{len(names)} columns: between 1 and {MOST_FEATURES} are taken")
    same = [name for name in names if name in given["train"].columns]
    check(len(same) < len(names), f"all columns, such as {list_names(same[:1])}, are inputs already: return new ones")
    kept.mkdir(exist_ok=True)
    for split, frame in made.items():
        save_table(frame.drop(columns=same), kept / f"{split}_features.csv")


async def try_solution(bench: Workbench, folder: Path, seconds: float) -> TrialResult:
    """Call the code once per fold and once for the test rows, for at most `seconds` each.

    Its folder holds the targets of its training rows alone. The predictions, put together and checked, are
    FOLDER/oof.csv and FOLDER/test.csv."""
    import pandas as pd

    setup, truth = bench.setup, read_targets(bench.workspace)
    inputs, test = read_inputs(bench.workspace, "train"), read_inputs(bench.workspace, "test")
    parts = [(rows, inputs.iloc[rows]) for rows in rows_by_fold(load_data(bench.workspace))]
    oof, outcome = [], None
    for number, (rows, asked) in enumerate([*parts, (None, test)]):
        held = inputs.index.difference(rows) if rows is not None else inputs.index
        work = make_work_folder(folder, f"fold-{number}")
        save_table(inputs.loc[held], work / "train.csv")
        save_table(truth.loc[held], work / "target.csv")
        save_table(asked, work / "test.csv")
        (work / "asked.json").write_text(
            json.dumps({"task": setup.task, "targets": setup.targets, "predicted": setup.predicted})
        )
        outcome = await bench.run_module(HARNESS, "solution", work=work, read=image_folders(bench), seconds=seconds)
        if failures := run_failures(outcome, "solution"):
            return failures, outcome
        split = "oof" if rows is not None else "test"
        look = partial(read_predictions, work, "predictions.csv", setup, list(asked["id"]), split)
        frame = await judge("solution", "predictions are a file", look)
        if isinstance(frame, Refused):
            return [item.model_copy(update={"stage": "solution"}) for item in frame.failures], outcome
        if rows is None:
            save_table(frame, folder / "test.csv")
        else:
            oof.append(frame)
    joined = pd.concat(oof).set_index("id").loc[list(truth["id"])].reset_index()
    save_table(joined, folder / "oof.csv")
    return [], outcome


def image_folders(bench: Workbench) -> list[Path]:
    """The folders of images in data/, which a solution may read.

    It may not read the tables, which hold all targets."""
    if not bench.setup.img:
        return []
    return [path for path in sorted(bench.data.iterdir()) if path.is_dir()]
