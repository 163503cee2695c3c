"""The lineage of a student: the run whose traces it learned from.

A copy lies beside the weights, because the run may be moved or removed. `eval` asks a student about the task, with the
knowledge base and the retriever, of its own traces; the card and the printed commands name them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically
from agentkd.runs.read import read_config
from agentkd.runs.untrusted import CONFIG_BYTES, parse_json, read_small

FILE = "lineage.json"
OF_TASK = ("task", "data", "kb", "kb_columns", "aliases", "retriever")  # what is asked, and where answers are searched


def write_lineage(folder: Path, source: Mapping[str, Any]) -> None:
    """Keep the config of the run that a student in `folder` learned from."""
    write_atomically(folder / FILE, json.dumps(dict(source), indent=1, default=str) + "\n")


def read_lineage(folder: Path) -> dict[str, Any]:
    """Read the config of the run that a student learned from; empty where neither the copy nor the run is there."""
    try:
        found = parse_json(read_small(folder / FILE, CONFIG_BYTES))
        return found if isinstance(found, dict) else {}
    except (OSError, UserError, ValueError):
        pass
    try:
        return read_config(Path(str(read_config(folder).get("traces"))))
    except (UserError, OSError):
        return {}


def task_options(source: Mapping[str, Any]) -> dict[str, str]:
    """Pick the options of a run that another command needs to ask the same task."""
    return {name: str(source[name]) for name in OF_TASK if source.get(name)}


def eval_command(source: Mapping[str, Any], **options: str) -> str:
    """Write the command that evaluates on a run's task; `options` come last."""
    given = {name.replace("_", "-"): value for name, value in {**task_options(source), **options}.items()}
    return shlex.join(["agentkd", "eval", *(word for name, value in given.items() for word in (f"--{name}", value))])
