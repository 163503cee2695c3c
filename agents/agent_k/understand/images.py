"""Find the images of a training folder, with their classes, and the images of a table's rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.understand.data_files import DataFiles

if TYPE_CHECKING:
    import pandas as pd

IMAGE_COLUMN = "image"  # of paths, in the image maps
FILE_COLUMN, LABEL_COLUMN = "file", "label"  # of a table of training images
_CLASS = re.compile(r"([A-Za-z]+(?:[ _-][A-Za-z]+)*)[ ._-]*\d+")


def list_training_images(folder: Path) -> pd.DataFrame:
    """A table of the images below a training folder, with their classes.

    The class is the name of the inner folder (`train/cat/1.png`), or the letters before a number in the file's name
    (`train/cat.1.png`), else "". The first letters of a hash are no class."""
    import pandas as pd

    rows = []
    for path in DataFiles(folder).images:
        named = _CLASS.fullmatch(path.stem)
        label = path.parts[0] if len(path.parts) > 1 else named[1] if named else ""
        rows.append((f"{folder.name}/{path.as_posix()}", label))
    return pd.DataFrame(rows, columns=[FILE_COLUMN, LABEL_COLUMN], dtype=str)


def match_images(files: DataFiles, table: pd.DataFrame, key: str, split: str) -> dict[int, Path]:
    """The image of each row of a table, by the row's position.

    It is named by the id, with or without extension, or by a column of file names. Empty where fewer than half of the
    rows have one."""
    images = files.images
    if not images:
        return {}
    by_name: dict[str, list[Path]] = {}
    for path in images:  # also by the end of its path: train/cat/1.png, cat/1.png
        for name in {path.stem, *("/".join(path.parts[place:]) for place in range(len(path.parts)))}:
            by_name.setdefault(name, []).append(path)
    for column in sorted(table.columns, key=lambda name: name != key):
        found = (_choose_of_split(by_name.get(cell, []), split) for cell in table[column])
        hits = {row: path for row, path in enumerate(found) if path is not None}
        if len(hits) >= 0.5 * len(table):
            return hits
    return {}


def _choose_of_split(paths: list[Path], split: str) -> Path | None:
    """Of several images with one name, the one whose path names the split."""
    other = "test" if split == "train" else "train"
    named = [path for path in paths if split in str(path).lower()]
    neutral = [path for path in paths if other not in str(path).lower()]
    return next(iter(named or neutral or paths), None)
