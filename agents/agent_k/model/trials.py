"""Run code of the model in the sandbox, and test it: the `trial` of coding.write_code.

Each trial runs code.py of a folder in a fresh work folder below it, reads the results without following links, and
returns the failures of the stage's unit tests, none for code that passes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import MODALITIES, Failure, Setup, map_file
from agentkd.agents.agent_k.model.run_code import (
    CODE_SECONDS,
    HARNESS,
    TrialResult,
    format_predictions,
    make_work_folder,
    measure_predictions,
    read_output,
    run_failures,
)
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.arrays import rows_by_fold
from agentkd.agents.agent_k.workspace.checks import check_maps, check_predictions, shuffle_predictions
from agentkd.agents.agent_k.workspace.files import read_targets, save_setup, save_table
from agentkd.agents.agent_k.workspace.maps import read_inputs
from agentkd.agents.agent_k.workspace.trial_predictions import random_predictions
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MOST_FEATURES = 300


async def try_maps(bench: Workbench, folder: Path) -> TrialResult:
    """Run the code on the data, and test its maps in a workspace of their own.

    The target map is the accepted one."""
    work = make_work_folder(folder)
    outcome = await bench.run_module(
        HARNESS, "maps", str(bench.data), work=work, read=[bench.data], seconds=CODE_SECONDS
    )
    if failures := run_failures(outcome, "maps"):
        return failures, outcome
    try:
        setup = stage_maps(bench, folder)
    except (UserError, ValueError, OSError) as error:
        return [Failure(test="maps are files", stage="maps", message=str(error)[:500])], outcome
    return check_maps(setup, bench.data, folder / "trial"), outcome


def stage_maps(bench: Workbench, folder: Path) -> Setup:
    """Copy the code's maps into FOLDER/trial/maps, and return the set-up that they make.

    They are read without following links."""
    trial = folder / "trial" / "maps"
    shutil.rmtree(trial.parent, ignore_errors=True)
    trial.mkdir(parents=True)
    inputs: dict[str, tuple[str, ...]] = {}
    for split in ("train", "test"):
        for name in MODALITIES:
            file = map_file(folder / "trial", split, name)
            if os.path.lexists(folder / "work" / file.name):
                frame = read_output(folder / "work", file.name)
                save_table(frame, file)
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
    if failures := run_failures(outcome, "metric"):
        return failures, outcome
    if len(values) != 2 or values[0] == values[1]:
        message = f"perfect and shuffled predictions give {values}: a metric tells them apart"
        return [Failure(test="metric prefers the truth", stage="metric", message=message)], outcome
    (folder / "direction.json").write_text(json.dumps({"lower_is_better": values[0] < values[1]}))
    return [], outcome


def read_direction(folder: Path) -> bool:
    """Whether lower is better, as `try_metric` has measured it."""
    return bool(json.loads((folder / "direction.json").read_text())["lower_is_better"])


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

    def fail(message: str) -> TrialResult:
        return [Failure(test="features are columns", stage="features", message=message)], outcome

    made: dict[str, pd.DataFrame] = {}
    for split, frame in given.items():
        try:
            made[split] = read_output(work, f"{split}_features.csv")
        except (UserError, OSError, ValueError) as error:
            return fail(f"{split}_features.csv: {error}")
        if list(made[split]["id"]) != list(frame["id"]):
            return fail(f"the ids of {split}_features.csv are not those of the inputs")
    names = [str(name) for name in made["train"].columns[1:]]
    if names != [str(name) for name in made["test"].columns[1:]]:
        return fail(f"train and test have other columns: {names[:5]}, {list(made['test'].columns[1:6])}")
    if not names or len(names) > MOST_FEATURES:
        return fail(f"{len(names)} columns: between 1 and {MOST_FEATURES} are taken")
    same = [name for name in names if name in given["train"].columns]
    if len(same) == len(names):
        return fail(f"all columns, such as {same[0]}, are inputs already: return only new ones")
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    for split, frame in made.items():
        save_table(frame.drop(columns=same), kept / f"{split}_features.csv")
    return [], outcome


async def try_solution(bench: Workbench, folder: Path, seconds: float) -> TrialResult:
    """Call the code once per fold and once for the test rows, for at most `seconds` each.

    Its folder holds the targets of its training rows alone. The predictions, put together and checked, are
    FOLDER/oof.csv and FOLDER/test.csv."""
    import pandas as pd

    setup, truth = bench.setup, read_targets(bench.workspace)
    inputs, test = read_inputs(bench.workspace, "train"), read_inputs(bench.workspace, "test")
    parts = [(rows, inputs.iloc[rows]) for rows in rows_by_fold(bench.workspace)]
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
        try:
            frame = read_output(work, "predictions.csv")
        except (UserError, OSError, ValueError) as error:
            return [Failure(test="predictions are a file", stage="solution", message=str(error)[:500])], outcome
        split = "oof" if rows is not None else "test"
        if failures := check_predictions(frame, setup, list(asked["id"]), split):
            return [item.model_copy(update={"stage": "solution"}) for item in failures], outcome
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
