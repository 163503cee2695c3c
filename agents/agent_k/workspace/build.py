"""Build a workspace's maps and folds from a set-up, without a model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Setup, map_file, read_setup
from agentkd.agents.agent_k.understand.own_split import read_order
from agentkd.agents.agent_k.understand.split import DetectedSplit, detect_split
from agentkd.agents.agent_k.workspace.files import read_csv, read_targets, save_setup, save_table
from agentkd.agents.agent_k.workspace.folds import make_folds
from agentkd.agents.agent_k.workspace.leaks import find_leaks
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.own_folds import read_own_folds

if TYPE_CHECKING:
    import pandas as pd


def build_maps(setup: Setup, data: Path, workspace: Path, seed: int) -> list[str]:
    """Replace a workspace's maps and folds by those of a set-up; returns the decisions, one line each.

    Columns that give the target away are left out of the inputs. The training rows are split into folds as the user
    says, else as the test rows were split off."""
    folder = workspace / "maps"
    if folder.exists():
        shutil.rmtree(folder)
    rows = write_maps(setup, data, workspace)
    targets, groups = read_targets(workspace), rows.groups
    detected, said = DetectedSplit(), []
    if setup.tab:
        train, test = (read_csv(map_file(workspace, split, "tab")) for split in ("train", "test"))
        detected = detect_split(train, test)
        leaks = set(find_leaks(train, targets, setup))
        kept = tuple(name for name in setup.tab if name not in leaks)
        if leaks and (kept or setup.txt or setup.img):
            shutil.rmtree(folder)
            write_maps(setup.model_copy(update={"tab": kept}), data, workspace)
            said += [f"column '{name}' gives the target away, so it is no input" for name in sorted(leaks)]
    given = split_as_told(setup, rows.train, detected)
    if setup.folds == 0:
        save_table(read_own_folds(targets, groups, workspace), folder / "folds.csv")
        return [*given.notes, *said]
    if given.groups is not None and (
        setup.group or groups is None or given.groups.groupby(groups).nunique().max() == 1
    ):
        groups = given.groups  # which also keep the rows of an id together, unless the user wants others
    save_table(make_folds(setup, targets, setup.folds, seed, groups, given.order), folder / "folds.csv")
    if given.clock and given.clock in read_setup(workspace).tab:
        save_setup(read_setup(workspace).model_copy(update={"later": given.clock}), workspace)
    return [*given.notes, *said]


def split_as_told(setup: Setup, train: pd.DataFrame, detected: DetectedSplit) -> DetectedSplit:
    """The split that was detected, with the user's own group and time in its place."""
    if setup.folds == 0:
        return DetectedSplit(notes=("the folds are those of folds=",))
    if not setup.group and not setup.time:
        return detected
    notes = [f"training rows of one '{setup.group}' stay in one fold, as group= says"] if setup.group else []
    notes += (
        [f"the folds are blocks of '{setup.time}', as time= says, and the last one is scored"] if setup.time else []
    )
    return DetectedSplit(
        train[setup.group].where(train[setup.group] != "", [f"row {row}" for row in range(len(train))])
        if setup.group
        else None,
        read_order(train[setup.time]) if setup.time else None,
        tuple(notes),
        setup.time,
    )
