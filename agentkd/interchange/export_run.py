"""`agentkd export-traces`: a run's traces in a format of others. It can be imported again, and is the same then."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentkd.config import slug
from agentkd.errors import UserError, unknown_name
from agentkd.interchange.formats import FORMATS
from agentkd.interchange.session import to_sessions
from agentkd.runs.disk import disk_error
from agentkd.runs.progress import say
from agentkd.runs.read import read_config, read_traces
from agentkd.trace import Trace, content_hash

NAME_LENGTH = 60  # characters of a session's id in the name of its file
Write = Callable[[Any], None]


def export_traces(run: Path, form: str, *, out: Path | None = None, verified: bool = False) -> dict[str, Any]:
    """Write the traces of a run, or those that are verified, and return what was written.

    `out` is a file, gzipped if its name ends in .gz, or for `sts` a folder with a file per session. By default it lies
    in the run."""
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    read_config(run)
    kind = FORMATS[form]
    out = out or (run / form if kind.per_file else run / f"{form}.jsonl")
    ended = max((path.stat().st_mtime_ns for path in run.glob("traces-*.jsonl")), default=0)
    counts: Counter[str] = Counter()

    def rows() -> Iterator[tuple[Trace, list[dict[str, Any]]]]:
        for trace in read_traces(run):
            if verified and not trace.verified:
                counts["not verified"] += 1
                continue
            sessions = to_sessions(trace, out)
            if not sessions and form != "otlp":
                counts["without a call of a model"] += 1
                continue
            counts["traces"] += 1
            counts["sessions"] += len(sessions)
            if kind.per_trace:
                counts["after"] += sum(len(session.trailing) for session in sessions)
                yield trace, list(kind.write(sessions, trace, ended))
            else:
                for session in sessions:
                    yield trace, list(kind.write([session], trace, ended))

    if kind.per_file:
        _write_folder(out, rows())
    else:
        with open_rows(out) as write:
            for _, some in rows():
                for row in some:
                    write(row)
    if not counts["traces"]:
        raise UserError(f"{run} has no trace to export ({describe(counts) or 'it is empty'})")
    if left := describe(counts):
        say(f"left out: {left}")
    if counts["sessions"] > counts["traces"] and not kind.per_trace:
        say(f"{counts['traces']:,} traces hold {counts['sessions']:,} conversations: each is a row of its own, ID#2 …")
    if counts["after"]:
        say(f"{counts['after']:,} messages after a trace's last call are left out: {form} has no place for them")
    return {"out": str(out), "format": form, "traces": counts["traces"], "sessions": counts["sessions"]}


def describe(counts: Counter[str]) -> str:
    """What was left out, and how often."""
    reasons = ("not verified", "without a call of a model")
    return ", ".join(f"{counts[reason]:,} {reason}" for reason in reasons if counts[reason])


def _write_folder(out: Path, rows: Iterator[tuple[Trace, list[dict[str, Any]]]]) -> None:
    """Write a file per session."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(out, error) from None
    for trace, some in rows:
        name = str(some[0]["id"])
        path = out / f"{slug(name)[:NAME_LENGTH]}-{content_hash([name, trace.sample])[:8]}.jsonl"
        with open_rows(path) as write:
            for row in some:
                write(row)


@contextmanager
def open_rows(path: Path) -> Iterator[Write]:
    """Open a file of JSON lines for writing: it is there whole, or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(temporary, "wb") if path.suffix == ".gz" else temporary.open("wb") as file:

            def write(row: Any) -> None:
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

            yield write
        temporary.replace(path)
    except OSError as error:
        raise disk_error(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)
