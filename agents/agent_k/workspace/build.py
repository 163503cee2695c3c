"""Build a workspace's maps and folds from a set-up, without a model."""

from __future__ import annotations

import shutil
from pathlib import Path

from agentkd.agents.agent_k.contract import Setup, map_file, read_setup
from agentkd.agents.agent_k.understand.split import detect_split
from agentkd.agents.agent_k.workspace.files import read_csv, read_targets, save_setup, save_table
from agentkd.agents.agent_k.workspace.folds import make_folds
from agentkd.agents.agent_k.workspace.leaks import find_leaks
from agentkd.agents.agent_k.workspace.maps import write_maps

FOLDS = 5


def build_maps(setup: Setup, data: Path, workspace: Path, seed: int) -> list[str]:
    """Replace a workspace's maps and folds by those of a set-up; returns the decisions, one line each.

    Columns that give the target away are left out of the inputs, and the training rows are split into folds as the test
    rows were split off."""
    folder = workspace / "maps"
    if folder.exists():
        shutil.rmtree(folder)
    groups = write_maps(setup, data, workspace)
    targets = read_targets(workspace)
    if not setup.tab:
        save_table(make_folds(setup, targets, FOLDS, seed, groups), folder / "folds.csv")
        return []
    train, test = (read_csv(map_file(workspace, split, "tab")) for split in ("train", "test"))
    detected = detect_split(train, test)
    leaks = set(find_leaks(train, targets, setup))
    kept = tuple(name for name in setup.tab if name not in leaks)
    said = list(detected.notes)
    if leaks and (kept or setup.txt or setup.img):
        shutil.rmtree(folder)
        write_maps(setup.model_copy(update={"tab": kept}), data, workspace)
        said += [f"column '{name}' gives the target away, so it is no input" for name in sorted(leaks)]
    if detected.groups is not None and (groups is None or detected.groups.groupby(groups).nunique().max() == 1):
        groups = detected.groups  # which also keep the rows of an id together
    save_table(make_folds(setup, targets, FOLDS, seed, groups, detected.order), folder / "folds.csv")
    if detected.clock and detected.clock in train.columns and detected.clock not in leaks:
        save_setup(read_setup(workspace).model_copy(update={"later": detected.clock}), workspace)
    return said
