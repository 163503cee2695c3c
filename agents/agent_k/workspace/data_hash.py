"""The hash of a competition's files, by which a resumed run sees that they have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agentkd.agents.agent_k.understand.data_files import IMAGES, TABLES, DataFiles
from agentkd.runs.disk import hash_file

SMALL = 10**6  # bytes of a file that is no table and is read


def hash_data(data: Path, *more: str) -> str:
    """A hash of the files below `data` and of further texts, in 16 hex digits.

    Tables and small files count by their content, others (images) by name and size."""
    digest = hashlib.sha256()
    for path in DataFiles(data).all:
        size = (data / path).stat().st_size
        name = path.name.lower()
        read = name.endswith(TABLES) or (size <= SMALL and not name.endswith(IMAGES))
        content = hash_file(data / path) if read else str(size)
        digest.update(f"{path}\0{content}\0".encode(errors="replace"))
    for text in more:
        digest.update(f"{text}\0".encode(errors="replace"))
    return digest.hexdigest()[:16]
