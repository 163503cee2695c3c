"""The formats by name, and which of them a file is."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.errors import UserError
from agentkd.interchange import adp, langfuse, langsmith, openai_messages, otlp, session_traces
from agentkd.interchange.rows import Reject, Row, read_rows
from agentkd.interchange.session import Session
from agentkd.trace import Trace

LOOKED_AT = 50  # values of a file that say which format it is


class Format(NamedTuple):
    """How a format is known, read and written.

    `read` takes rows, what takes rejected ones, and a folder for its notes. `write` takes the sessions of one trace,
    the trace, and the time (ns) at which it ended. `per_trace`: a row is a part of a trace, not a conversation.
    `per_file`: a file holds one session."""

    claims: Callable[[Any], bool]
    read: Callable[[Iterable[Row], Reject, Path], Iterator[Session]]
    write: Callable[[Sequence[Session], Trace, int], Iterator[dict[str, Any]]]
    per_trace: bool = False
    per_file: bool = False


FORMATS = {
    "openai": Format(openai_messages.claims, openai_messages.read, openai_messages.write),
    "sts": Format(session_traces.claims, session_traces.read, session_traces.write, per_file=True),
    "otlp": Format(otlp.claims, otlp.read, otlp.write, per_trace=True),
    "langsmith": Format(langsmith.claims, langsmith.read, langsmith.write, per_trace=True),
    "langfuse": Format(langfuse.claims, langfuse.read, langfuse.write, per_trace=True),
    "adp": Format(adp.claims, adp.read, adp.write),
}


def guess_format(file: Path) -> str:
    """The format of a file, by its first values. UserError where it is none or more than one."""
    values = itertools.islice(read_rows(file, lambda *row: None), LOOKED_AT)
    votes = Counter(name for row in values for name, form in FORMATS.items() if form.claims(row.value))
    if not votes:
        raise UserError(
            f"{file} has no row of a known format: give --format {', '.join(FORMATS)} if it is one of them "
            f"(docs/traces.md says what they hold)"
        )
    (first, most), *others = votes.most_common()
    if others and others[0][1] == most:
        raise UserError(f"{file} may be {first} or {others[0][0]}: say which with --format")
    return first
