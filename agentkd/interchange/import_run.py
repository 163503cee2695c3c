"""`agentkd import`: sessions in files of others into a run directory, whose traces can be verified and learned from.

The files are read as a stream. What cannot be read is rejected, and all of that is in `rejects.jsonl`. A killed import
goes on with the same command: it reads again, and writes what is not there yet.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from agentkd.config import ImportConfig, slug
from agentkd.errors import UserError
from agentkd.interchange.formats import FORMATS, guess_format
from agentkd.interchange.rows import Row, find_files, read_rows
from agentkd.interchange.session import to_trace
from agentkd.report.write import write_report
from agentkd.runs.disk import disk_error, hash_file
from agentkd.runs.progress import LOG_EVERY, say
from agentkd.runs.read import IMPORTED, is_complete, read_metrics, read_traces
from agentkd.runs.shapes import RunFigures, first_fault
from agentkd.runs.store import RunDirectory
from agentkd.trace import Usage, content_hash

REJECTS = "rejects.jsonl"
SHOWN = 5  # rejected rows that are printed
KEPT = 100_000  # characters of a rejected row in the file


class Rejects:
    """The file of rejected rows; the first are printed, all are counted."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def __enter__(self) -> Self:
        try:
            self.file = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise disk_error(self.path, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, file: Path, line: int, reason: str, row: str) -> None:
        """Take a row that cannot be read."""
        self.count += 1
        if self.count <= SHOWN:
            say(f"rejected: {file}:{line}: {reason}")
        record = {"file": str(file), "line": line, "reason": reason, "row": row[:KEPT]}
        try:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()
        except OSError as error:
            raise disk_error(self.path, error) from None


def import_traces(config: ImportConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Opening the same directory again goes on where it stopped."""
    files = find_files(config.files)
    forms: dict[str, list[Path]] = {}
    for file in files:
        forms.setdefault(config.format or guess_format(file), []).append(file)
    for name, some in forms.items():
        shown = ", ".join(file.name for file in some[:3])
        say(f"{name}: {shown}{f' and {len(some) - 3} more' if len(some) > 3 else ''}")
    stem = files[0].name.partition(".")[0] if len(files) == 1 else files[0].parent.resolve().name
    out = Path(config.out or f"runs/{slug(stem) or 'traces'}-imported")
    config = config.model_copy(update={"out": str(out)})
    hashes = content_hash([[file.name, hash_file(file)] for file in files])
    identity: dict[str, Any] = {"hash_files": hashes, "agent": IMPORTED, "teacher": IMPORTED}
    identity |= {"split": None, "samples": 1}  # which a report names
    with RunDirectory(out, "import", config, identity) as run:
        if is_complete(out) and read_metrics(out).get("limit") == config.limit:
            say(f"{out} is complete: nothing to do")
            return {"out": str(out), **read_metrics(out, RunFigures)}
        with Rejects(out / REJECTS) as rejects:
            repeated = _take_sessions(config, run, forms, rejects)
        if rejects.count:
            say(f"rejected {rejects.count:,} rows: {out / REJECTS} has all of them, with file, line and reason")
        if repeated:
            say(f"{repeated:,} sessions have the id of an earlier one: they are further samples of it")
        metrics = count_traces(out) | {"rejected": rejects.count, "formats": sorted(forms), "limit": config.limit}
        if not metrics["traces"]:
            raise UserError(f"no session of {len(files)} files could be read: {rejects.count} rows were rejected")
        write_report(out, metrics=metrics)
        run.finish(metrics)
    return {"out": str(out), **metrics}


def _take_sessions(config: ImportConfig, run: RunDirectory, forms: dict[str, list[Path]], rejects: Rejects) -> int:
    """Write the sessions that are not there yet, and return how many repeat an id."""
    seen: Counter[str] = Counter()
    repeated, said = 0, time.monotonic()
    for name, files in forms.items():

        def rows(files: list[Path] = files) -> Iterator[Row]:
            for file in files:
                yield from read_rows(file, rejects.add)

        for session in FORMATS[name].read(rows(), rejects.add, run.path):
            if config.limit is not None and seen.total() >= config.limit:
                return repeated
            key = (session.id, seen[session.id])
            if key not in run.done:
                try:
                    trace = to_trace(session, sample=key[1], task=config.task, form=name)
                except ValueError as error:
                    rejects.add(session.file, session.line, explain(error), session.id)
                    continue
                run.append(trace)
            seen[session.id] += 1
            repeated += key[1] > 0
            if time.monotonic() - said >= LOG_EVERY:
                said = time.monotonic()
                say(f"sessions {seen.total():,} · rejected {rejects.count:,}")
    return repeated


def explain(error: ValueError) -> str:
    """Why a session is no trace, in a few words."""
    if isinstance(error, ValidationError):
        return first_fault(error)
    return "half a character (a lone surrogate) in a text" if isinstance(error, UnicodeError) else str(error)


def count_traces(run: Path) -> dict[str, Any]:
    """The figures of an imported run, counted from its shards, one trace after another."""
    ids: set[str] = set()
    rungs: Counter[str] = Counter()
    usage, traces, turns, calls, verified = Usage(), 0, 0, 0, set[str]()
    for trace in read_traces(run):
        ids.add(trace.id)
        traces += 1
        usage += trace.usage
        rungs[trace.verdict.rung] += 1
        verified |= {trace.id} if trace.verified else set()
        turns += sum(step.kind == "call" for step in trace.steps)
        calls += sum(len(step.tool_calls) for step in trace.steps)
    return {
        "questions": len(ids),
        "traces": traces,
        "verified": len(verified),
        "questions_with_verified": len(verified),
        "rungs": dict(rungs),
        "failures": 0,
        "calls": usage.calls / max(traces, 1),
        "tokens": usage.tokens / max(traces, 1),
        "model_seconds": usage.seconds / max(traces, 1),
        "total_tokens": usage.tokens,
        "turns": turns,
        "tool_calls": calls,
    }
