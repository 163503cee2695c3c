"""Write the maps (the files that the contract describes) from a set-up, and read them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import MODALITIES, Setup, map_file
from agentkd.agents.agent_k.understand.cells import clean_targets
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.demands import as_shares
from agentkd.agents.agent_k.understand.images import IMAGE_COLUMN, match_images
from agentkd.agents.agent_k.understand.tables import read_table, read_training_table, rename_id_column
from agentkd.agents.agent_k.understand.tags import expand_tags
from agentkd.agents.agent_k.workspace.files import read_csv, save_setup, save_table

if TYPE_CHECKING:
    import pandas as pd

INFINITE = ("inf", "-inf", "+inf", "Inf", "-Inf", "INF", "-INF", "Infinity", "-Infinity", "infinity", "-infinity")


OTHER = "id (column)"  # the name of an input column that is called id but is not the id


@dataclass(frozen=True)
class MappedRows:
    """The training rows of the maps, in their order, with all columns of the training table as text."""

    train: pd.DataFrame
    groups: pd.Series[str] | None  # the table's ids where rows share one: these belong in one fold


def read_training_rows(setup: Setup, data: Path) -> pd.DataFrame:
    """The training table as text, with its targets as the set-up has them; rows without any finite one are left out."""
    train = read_training_table(data, setup.train, setup.labels, setup.id, setup.called)
    train = train.rename(columns=setup.renamed)
    if setup.tags:
        train = expand_tags(train, setup.tags, setup.targets, setup.mark)
    train = clean_targets(train, setup.targets)
    if setup.sums:
        train = as_shares(train, setup.targets)
    known = (train[list(setup.targets)] != "").any(axis=1)
    if setup.task == "regression":
        known &= ~train[list(setup.targets)].isin(INFINITE).any(axis=1)
    return train[known].reset_index(drop=True)


def write_maps(setup: Setup, data: Path, workspace: Path) -> MappedRows:
    """Write all maps that hold something, setup.json last.

    Training rows without any finite target are left out. Where training rows share an id, all get new ids."""
    train = read_training_rows(setup, data)
    test = rename_id_column(read_table(data / setup.test, text=True), setup.id, setup.called)
    sample = read_table(data / setup.sample, text=True)
    if setup.id not in train.columns:
        train.insert(0, setup.id, [f"train-{row}" for row in range(len(train))])
    groups = None
    if not train[setup.id].is_unique:
        groups = train[setup.id].copy()
        train[setup.id] = [f"{name}#{row}" for row, name in enumerate(groups)]
    if setup.id in test.columns:
        test = test.set_index(setup.id).loc[list(sample[setup.id])].reset_index()
    else:
        test.insert(0, setup.id, list(sample[setup.id]))
    files = DataFiles(data)
    folder = workspace / "maps"
    folder.mkdir(parents=True, exist_ok=True)
    frames = {"train": train, "test": test}
    for name, frame in frames.items():
        split = "train" if name == "train" else "test"
        frame = frame.rename(columns={"id": OTHER} | {setup.id: "id"})
        for modality, names in (("tab", setup.tab), ("txt", setup.txt)):
            if names:
                columns = ["id", *(OTHER if column == "id" else column for column in names)]
                save_table(frame[columns], map_file(workspace, split, modality))
        if setup.img:
            named = frame if name == "test" or groups is None else frame.assign(id=groups)
            found = match_images(files, named, "id", name)
            frame[IMAGE_COLUMN] = [str(found.get(row, "")) for row in range(len(frame))]
            save_table(frame[["id", IMAGE_COLUMN]], map_file(workspace, split, "img"))
    targets = train.rename(columns={"id": OTHER} | {setup.id: "id"})[["id", *setup.targets]]
    save_table(targets, folder / "train_target_map.csv")
    save_setup(setup, workspace)
    return MappedRows(train, groups)


def hash_maps(workspace: Path) -> str:
    """The hash of the content of all maps, on which every candidate depends, in 8 hex digits."""
    digest = hashlib.sha256()
    for path in sorted((workspace / "maps").glob("*")):
        if not path.name.startswith("."):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:8]


def read_inputs(workspace: Path, split: str) -> pd.DataFrame:
    """All input maps of a split in one table, with the types that pandas infers; ids stay strings."""
    import pandas as pd

    frames = [
        read_csv(path).set_index("id")
        for modality in MODALITIES
        if (path := map_file(workspace, split, modality)).exists()
    ]
    return pd.concat(frames, axis=1).reset_index()
