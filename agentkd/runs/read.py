"""Reads run directories: their config, traces and lines, also while another process writes them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from agentkd.errors import UserError
from agentkd.trace import Trace


def strip_address(value: Any) -> Any:
    """A teacher `URL[,URL]#MODEL` as its model: a server may move, or get a second address, during a run, and the cache
    of answers goes by the model, too. Anything else as it is."""
    return value.rpartition("#")[2] if isinstance(value, str) and re.match(r"https?://.*#", value) else value


def read_config(path: Path) -> dict[str, Any]:
    """The values in a directory's config.yaml."""
    try:
        values = yaml.safe_load((path / "config.yaml").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is not a run directory: it has no config.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path}/config.yaml is damaged: remove the directory, or restore the file")
    return values


def is_complete(path: Path) -> bool:
    return (path / "manifest.json").exists()


def find_newest_run(root: Path, stage: str = "generate") -> Path:
    """The complete run of a stage that was finished last, among `root`'s folders. A damaged folder is passed over."""
    found = []
    for manifest in root.glob("*/manifest.json"):
        with contextlib.suppress(UserError, OSError):
            if read_config(manifest.parent).get("stage") == stage:
                found.append((manifest.stat().st_mtime_ns, manifest.parent))
    if not found:
        raise UserError(
            f"no complete {stage} run under {root}/: run `agentkd {stage} --task geo`, or give --traces DIR"
        )
    return max(found)[1]


def read_traces(path: Path) -> Iterator[Trace]:
    """All traces of a run directory, in the order of their shards. UserError names a line that is none."""
    for number, row in enumerate(read_lines(path, "traces"), 1):
        try:
            yield Trace.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].lower()}"
            raise UserError(
                f"line {number} of {path}/traces-*.jsonl is no trace ({what}): remove the line, or generate again"
            ) from None


def read_lines(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a directory's shards, also while another process writes them: a last line without its end is a sample
    that is not finished. UserError names any other line that is not JSON."""
    for shard in sorted(path.glob(f"{name}-*.jsonl")):
        with shard.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    if not line.endswith(b"\n"):
                        return
                    raise UserError(
                        f"{shard}:{number} is not JSON ({line[:40]!r}…): "
                        f"run the command that wrote the directory again, it repairs the shard"
                    ) from None
