"""What the model has written for a stage, run in the sandbox and tested: the `attempt_code` of coding.write_code.

Each runs code.py of a folder in a fresh work folder below it, reads what it left without following links, and gives the
failures of the stage's unit tests, none for code that passes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.context import Around, State
from agentkd.agents.agent_k.contract import MODALITIES, Setup, map_file
from agentkd.agents.agent_k.model.run_code import (
    CODE_SECONDS,
    HARNESS,
    format_predictions,
    make_work_folder,
    measure_predictions,
    read_output,
    run_failures,
)
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.checks import Failure, check_maps, check_predictions, shuffled
from agentkd.agents.agent_k.workspace.files import rows_by_fold
from agentkd.agents.agent_k.workspace.maps import read_inputs, read_targets, save, save_setup
from agentkd.errors import UserError
from agentkd.sandbox.collect import Outcome

if TYPE_CHECKING:
    import pandas as pd

MOST_FEATURES = 300


async def try_maps(around: Around, folder: Path) -> tuple[list[Failure], Outcome | None]:
    """Run the code on the data and test its maps in a workspace of their own, beside the accepted target map."""
    data = around.source.data
    outcome = await around.in_sandbox(HARNESS, "maps", str(data), work=make_work_folder(folder), read=[data],
                                      seconds=CODE_SECONDS)  # fmt: skip
    if failures := run_failures(outcome, "maps"):
        return failures, outcome
    try:
        setup = staged(around, folder)
    except (UserError, ValueError, OSError) as error:
        return [Failure(test="maps are files", stage="maps", message=str(error)[:500])], outcome
    return check_maps(setup, data, folder / "trial"), outcome


def staged(around: Around, folder: Path) -> Setup:
    """Copy the code's maps, read without following links, into FOLDER/trial/maps; returns the set-up they make."""
    trial = folder / "trial" / "maps"
    shutil.rmtree(trial.parent, ignore_errors=True)
    trial.mkdir(parents=True)
    held: dict[str, tuple[str, ...]] = {}
    for split in ("train", "test"):
        for name in MODALITIES:
            file = map_file(folder / "trial", split, name)
            if os.path.lexists(folder / "work" / file.name):
                frame = read_output(folder / "work", file.name)
                save(frame, file)
                held[name] = tuple(str(column) for column in frame.columns[1:])
    for name in ("train_target_map.csv", "folds.csv"):
        shutil.copy(around.workspace / "maps" / name, trial / name)
    setup = around.setup.model_copy(update={name: held.get(name, ()) for name in MODALITIES})
    save_setup(setup, folder / "trial")
    return setup


def adopt_maps(around: Around, folder: Path) -> None:
    target = around.workspace / "maps"
    shutil.rmtree(target)
    shutil.copytree(folder / "trial" / "maps", target)


async def try_metric(
    around: Around, folder: Path, truth: pd.DataFrame, perfect: pd.DataFrame
) -> tuple[list[Failure], Outcome | None]:
    """The code's metric of perfect and of shuffled predictions: two different finite numbers; the better one of the
    truth says which direction is better."""
    values, outcome = await measure_predictions(around, folder, truth, [perfect, shuffled(perfect, around.config.seed)])
    if failures := run_failures(outcome, "metric"):
        return failures, outcome
    if len(values) != 2 or values[0] == values[1]:
        message = f"perfect and shuffled predictions give {values}: a metric tells them apart"
        return [Failure(test="metric prefers the truth", stage="metric", message=message)], outcome
    (folder / "direction.json").write_text(json.dumps({"lower_is_better": values[0] < values[1]}))
    return [], outcome


def lower(folder: Path) -> bool:
    """Which direction `try_metric` found to be better."""
    return bool(json.loads((folder / "direction.json").read_text())["lower_is_better"])


async def try_form(around: Around, folder: Path, predictions: pd.DataFrame) -> tuple[list[Failure], Outcome | None]:
    """The code's file passes the tests of a submission, and another one comes of other predictions."""
    other = pretended(around.setup, around.source.data, seed=1)
    contents = []
    for frame in (predictions, other):
        failures, outcome = await format_predictions(around, folder, frame, folder / "checked.csv")
        if failures:
            return failures, outcome
        contents.append((folder / "checked.csv").read_bytes())
    if contents[0] == contents[1]:
        message = "the file does not depend on the predictions"
        return [Failure(test="submission shows predictions", stage="format", message=message)], outcome
    return [], outcome


def pretended(setup: Setup, data: Path, seed: int = 0) -> pd.DataFrame:
    """Predictions of nothing for the test rows, to try the form with."""
    import numpy as np
    import pandas as pd

    ids = read_table(data / setup.sample, text=True)[setup.id]
    random = np.random.default_rng(seed).dirichlet(np.ones(len(setup.predicted)), len(ids)) \
        if len(setup.predicted) > 1 else np.random.default_rng(seed).random((len(ids), 1))  # fmt: skip
    frame = pd.DataFrame(random, columns=list(setup.predicted))
    frame.insert(0, "id", list(ids))
    return frame


async def try_features(around: Around, folder: Path) -> tuple[list[Failure], Outcome | None]:
    """Run the code on all inputs without targets; its columns, read as files, go to FOLDER/kept."""
    work = make_work_folder(folder)
    given = {split: read_inputs(around.workspace, split) for split in ("train", "test")}
    for split, frame in given.items():
        save(frame, work / f"{split}.csv")
    outcome = await around.in_sandbox(HARNESS, "features", work=work, read=[], seconds=CODE_SECONDS)
    if failures := run_failures(outcome, "features"):
        return failures, outcome

    def wrong(message: str) -> tuple[list[Failure], Outcome]:
        return [Failure(test="features are columns", stage="features", message=message)], outcome

    made: dict[str, pd.DataFrame] = {}
    for split, frame in given.items():
        try:
            made[split] = read_output(work, f"{split}_features.csv")
        except (UserError, OSError, ValueError) as error:
            return wrong(f"{split}_features.csv: {error}")
        if list(made[split]["id"]) != list(frame["id"]):
            return wrong(f"the ids of {split}_features.csv are not those of the inputs")
    names = [str(name) for name in made["train"].columns[1:]]
    if names != [str(name) for name in made["test"].columns[1:]]:
        return wrong(f"train and test have other columns: {names[:5]}, {list(made['test'].columns[1:6])}")
    if not names or len(names) > MOST_FEATURES:
        return wrong(f"{len(names)} columns: between 1 and {MOST_FEATURES} are taken")
    same = [name for name in names if name in given["train"].columns]
    if len(same) == len(names):
        return wrong(f"all columns, such as {same[0]}, are inputs already: return only new ones")
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    for split, frame in made.items():
        save(frame.drop(columns=same), kept / f"{split}_features.csv")
    return [], outcome


async def try_solution(
    around: Around, state: State, folder: Path, seconds: float
) -> tuple[list[Failure], Outcome | None]:
    """Call the code once a fold and once for the test rows, each time in a folder with the targets of its training rows
    alone; its predictions, put together and checked, are FOLDER/oof.csv and test.csv."""
    import pandas as pd

    setup, truth = around.setup, read_targets(around.workspace)
    inputs, test = read_inputs(around.workspace, "train"), read_inputs(around.workspace, "test")
    parts = [(rows, inputs.iloc[rows]) for rows in rows_by_fold(around.workspace)]
    oof, outcome = [], None
    for number, (rows, asked) in enumerate([*parts, (None, test)]):
        held = inputs.index.difference(rows) if rows is not None else inputs.index
        work = make_work_folder(folder, f"fold-{number}")
        save(inputs.loc[held], work / "train.csv")
        save(truth.loc[held], work / "target.csv")
        save(asked, work / "test.csv")
        (work / "asked.json").write_text(
            json.dumps({"task": setup.task, "targets": setup.targets, "predicted": setup.predicted})
        )
        outcome = await around.in_sandbox(HARNESS, "solution", work=work, read=image_folders(around), seconds=seconds)
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
            save(frame, folder / "test.csv")
        else:
            oof.append(frame)
    joined = pd.concat(oof).set_index("id").loc[list(truth["id"])].reset_index()
    save(joined, folder / "oof.csv")
    return [], outcome


def image_folders(around: Around) -> list[Path]:
    """What of data/ a solution may read: folders of images, never the tables, which hold all targets."""
    if not around.setup.img:
        return []
    return [path for path in sorted(around.source.data.iterdir()) if path.is_dir()]
