"""Reads run directories: their config, traces and lines, also while another process writes them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentkd.errors import UserError, near_file
from agentkd.runs.shapes import check_config, check_shape, first_fault
from agentkd.runs.shard import parse_record
from agentkd.runs.untrusted import CONFIG_BYTES, METRICS_BYTES, parse_json, parse_yaml, read_file_lines, read_small
from agentkd.trace import Trace

TAUGHT_FROM = ("generate", "elicit", "verify", "import")  # stages whose traces a student can learn from
IMPORTED = "imported"  # the agent of traces that another program wrote
_AGAIN = "run the command that wrote the directory again"


def strip_address(value: Any) -> Any:
    """Reduce a teacher `URL[,URL]#MODEL` to its model; anything else stays as it is.

    A server may move, or get a second address, during a run, and the cache of answers goes by the model too."""
    return value.rpartition("#")[2] if isinstance(value, str) and re.match(r"https?://.*#", value) else value


def read_config(path: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Read a directory's config.yaml. Raises UserError where there is none, where it is damaged, or lacks a field that
    is needed."""
    try:
        values = parse_yaml(read_small(path / "config.yaml", CONFIG_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is not a run directory: it has no config.yaml{near_file(path)}") from None
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UserError(f"{path}/config.yaml is damaged: remove the directory, or restore the file")
    return check_config(values, path / "config.yaml", needed)


def read_metrics(path: Path, shape: Any = None) -> dict[str, Any]:
    """Read a directory's metrics.json, which is to have the fields of a shape (`shapes.py`).

    Raises UserError where there is none, or where it is damaged."""
    try:
        metrics = parse_json(read_small(path / "metrics.json", METRICS_BYTES))
    except FileNotFoundError:
        raise UserError(f"{path} has no metrics.json yet: finish the command that writes the directory") from None
    except ValueError:
        metrics = None
    if not isinstance(metrics, dict):
        raise UserError(f"{path}/metrics.json is damaged: {_AGAIN}")
    return metrics if shape is None else check_shape(metrics, shape, path / "metrics.json", _AGAIN)


def is_complete(path: Path) -> bool:
    """Whether a run directory has its manifest."""
    return (path / "manifest.json").exists()


def find_newest_run(root: Path) -> Path:
    """Find the complete run of traces to learn from that was finished last, among the folders of `root`.

    Damaged folders are skipped; UserError where none is left."""
    found = []
    for manifest in root.glob("*/manifest.json"):
        with contextlib.suppress(UserError, OSError):
            if read_config(manifest.parent).get("stage") in TAUGHT_FROM:
                found.append((manifest.stat().st_mtime_ns, manifest.parent))
    if not found:
        raise UserError(
            f"no complete generate run under {root}/: run `agentkd generate --task geo`, or give --traces DIR"
        )
    return max(found)[1]


def read_traces(path: Path) -> Iterator[Trace]:
    """Yield all traces of a run directory, shard by shard.

    UserError names a line that is not a trace, or the second trace of a sample."""
    seen: set[tuple[str, int]] = set()
    for number, row in enumerate(read_lines(path, "traces"), 1):
        try:
            trace = Trace.model_validate(row)
        except ValidationError as error:
            raise UserError(
                f"line {number} of {path}/traces-*.jsonl is no trace ({first_fault(error)}): "
                f"remove the line, or generate again"
            ) from None
        if (key := (trace.id, trace.sample)) in seen:
            raise UserError(
                f"line {number} of {path}/traces-*.jsonl repeats sample {trace.sample} of {trace.id!r}: "
                f"run the command that wrote the directory again, it repairs the shard"
            )
        seen.add(key)
        yield trace


def read_lines(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a directory's shards, also while another process writes them.

    A last line without its end is an unfinished sample and is skipped. UserError names any other line that is not a
    record."""
    for shard in sorted(path.glob(f"{name}-*.jsonl")):
        for number, line in enumerate(read_file_lines(shard), 1):
            record = parse_record(line)
            if record is not None:
                yield record
            elif line.endswith(b"\n"):
                raise UserError(
                    f"{shard}:{number} is not JSON with an id and a sample ({line[:40]!r}…): "
                    f"run the command that wrote the directory again, it repairs the shard"
                )


def read_failures(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a directory's failures: id, sample, the error, and whether the sample is tried again."""
    for row in read_lines(path, "failures"):
        yield {**row, "error": str(row.get("error", "unknown")), "retry": bool(row.get("retry"))}
