"""What a student was taught, read back from its directory.

A student is trusted as far as a question is like one of its lessons (`agents/path_writer.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

from agentkd.agents.path_writer import read_prompt
from agentkd.agents.worked_examples import Example
from agentkd.runs.untrusted import read_file_lines


def read_lessons(folder: Path) -> list[Example]:
    """The questions and paths that a student of the form `path` was taught; rows of any other form are left out."""
    found = []
    for line in read_file_lines(folder / "dataset.jsonl") if (folder / "dataset.jsonl").is_file() else ():
        try:
            row = json.loads(line)
            id, question, label = str(row["id"]), read_prompt(row["prompt"]), json.loads(row["completion"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if question is not None and isinstance(label, str):
            found.append(Example(id, question, label))
    return found
