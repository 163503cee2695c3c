"""A peer of `bench automl` on one competition: its table, its script in its own environment, its submission.

The peers get the table as it is; where the competition has several tables, the one that Agent K joins them to. Images
are one column per pixel, a text is one column (AutoGluon makes n-grams of it, FLAML a category). Several targets are
jobs of their own, each with its share of the clock. For RMSLE, which they lack, the target is its logarithm.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agentkd.agents.agent_k.competition.source import local_source
from agentkd.agents.agent_k.contract import find_plain
from agentkd.agents.agent_k.reshape.plain import adjust_facts, reshape, turn_back
from agentkd.agents.agent_k.scoring.truth import is_known
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workspace.arrays import CompetitionData, load_data
from agentkd.agents.agent_k.workspace.files import save_table
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.runs.progress import say

LATE = 3.0  # times the clock: a peer that takes longer is stopped, and has no score
LOGARITHMIC = ("rmsle", "msle")
SINGLE = {"mean_columnwise_auc": "auc", "mean_columnwise_rmse": "rmse"}  # the metric of one target


def run_peer(competition: Path, system: str, folder: Path, job: dict[str, Any], python: str) -> dict[str, Any]:
    """Run a peer's script in its own environment, and write its submission; returns what it says of itself.

    `job` has seconds, threads, seed and, for AutoGluon, the preset."""
    data = prepare_workspace(competition, folder)
    job = write_table(data, folder) | job
    script = Path(__file__).parent / "peers" / f"fit_{system}.py"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": str(job["threads"])}
    late = LATE * job["seconds"] + 60
    try:
        argv = [os.path.abspath(shutil.which(python) or python), str(script)]
        done = subprocess.run(argv, input=json.dumps(job), capture_output=True, text=True, check=False, cwd=folder,
                              env=environment, timeout=late)  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {late:.0f} s"}
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    tables, made = find_plain(folder) or competition / "public", folder / "made.csv"
    write_submission(read_predictions(data, Path(job["out"])), data.setup, tables, made, None)
    frame = turn_back(made, competition / "public", folder)
    if frame is None:
        shutil.copyfile(made, folder / "submission.csv")
    else:
        save_table(frame, folder / "submission.csv")
    return found


def prepare_workspace(competition: Path, workspace: Path) -> CompetitionData:
    """Set up a workspace without a model, as the agent does, with the inputs that a peer's table is made of."""
    source = local_source(competition, say)
    reshape(source.data, source.text, {}, workspace)
    tables = find_plain(workspace) or source.data
    setup = guess_setup(tables, source.text, source.metric, adjust_facts({}, workspace)).setup
    write_maps(setup, tables, workspace)
    (workspace / "data").symlink_to(source.data)
    return load_data(workspace)


def write_table(data: CompetitionData, folder: Path) -> dict[str, Any]:
    """Write train.csv with the targets and test.csv without them; returns the job but for clock, seed and preset.

    A target's cell is empty where it is not known."""
    setup = data.setup
    frame = pd.concat([data.inputs("tab"), data.inputs("txt")], axis=1)
    if setup.img:
        from agentkd.agents.agent_k.solvers.image import load_images

        pixels = load_images(data)
        flat = pixels.reshape(len(pixels), -1)
        frame = frame.join(pd.DataFrame(flat, columns=[f"pixel{i}" for i in range(flat.shape[1])]))
    train, test = frame.iloc[: data.n_train].copy(), frame.iloc[data.n_train :]
    y = data.y if data.y.ndim == 2 else data.y[:, None]
    targets = [f"target__{place}" for place in range(y.shape[1])]
    for name, values in zip(targets, y.T, strict=True):
        if setup.task == "regression":
            train[name] = np.log1p(values) if setup.metric in LOGARITHMIC else values
        else:
            names = np.array(setup.classes or ("0", "1"), dtype=object)
            train[name] = np.where(is_known(values), names[values], None)
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    return {
        "train": str(folder / "train.csv"),
        "test": str(folder / "test.csv"),
        "targets": targets,
        "task": "binary" if setup.task == "multilabel" else setup.task,
        "metric": "rmse" if setup.metric in LOGARITHMIC else SINGLE.get(setup.metric, setup.metric),
        "folder": str(folder / "model"),
        "out": str(folder / "predictions.csv"),
    }


def read_predictions(data: CompetitionData, file: Path) -> pd.DataFrame:
    """Read a peer's predictions as a prediction file.

    Its columns are `TARGET value`, or `TARGET CLASS` with probabilities."""
    found, setup = pd.read_csv(file), data.setup
    out = pd.DataFrame({"id": data.test_ids})
    if setup.task in ("binary", "multiclass"):
        for column, name in zip(setup.predicted, setup.classes, strict=True):  # a class without a row in training: 0
            out[column] = found.get(f"target__0 {name}", 0.0)
        return out
    for place, name in enumerate(setup.targets):
        if setup.task == "multilabel":
            out[name] = found[f"target__{place} 1"]
        else:
            value = found[f"target__{place} value"].to_numpy()
            out[name] = np.expm1(value) if setup.metric in LOGARITHMIC else value
    return out
