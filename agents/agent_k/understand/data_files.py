"""List the files of a competition: its tables and its images."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

TABLES = (".csv", ".tsv", ".csv.zip", ".tsv.zip", ".csv.gz", ".tsv.gz", ".parquet", ".json", ".jsonl")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
DEEP = 3  # levels of folders below data/ that are searched


@dataclass(frozen=True)
class DataFiles:
    """The files below data/, as paths relative to it."""

    data: Path
    without: frozenset[Path] = frozenset()  # folders whose tables do not count: they are one an id

    @cached_property
    def all(self) -> list[Path]:
        found = []
        stack = [(self.data, 0)]
        while stack:
            folder, depth = stack.pop()
            for path in sorted(folder.iterdir()):
                if path.name.startswith((".", "__MACOSX")):
                    continue
                if path.is_dir():
                    if depth < DEEP:
                        stack.append((path, depth + 1))
                elif path.is_file():
                    found.append(path.relative_to(self.data))
        return sorted(found)

    @cached_property
    def tables(self) -> list[Path]:
        kept = [path for path in self.all if path.parent not in self.without]
        return [path for path in kept if path.name.lower().endswith(TABLES) or _is_zipped_table(self.data / path)]

    @property
    def images(self) -> list[Path]:
        return [path for path in self.all if path.suffix.lower() in IMAGES]


def zip_members(path: Path) -> list[str]:
    """The files in a zip, without those that macOS adds."""
    with zipfile.ZipFile(path) as held:
        names = [name for name in held.namelist() if not name.endswith("/")]
    return [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)]


def _is_zipped_table(path: Path) -> bool:
    """Whether a zip holds one table: `train.zip` may hold train.csv, or images."""
    try:
        names = zip_members(path) if path.suffix.lower() == ".zip" else []
    except Exception:  # a damaged one has errors of many kinds
        return False
    return len(names) == 1 and names[0].lower().endswith((".csv", ".tsv"))
