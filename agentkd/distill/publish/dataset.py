"""A run's traces as a data set of sessions, in the format that the hub renders (Session Trace Simple Format)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentkd.errors import UserError
from agentkd.interchange.export_run import export_traces
from agentkd.runs.read import is_complete, read_config, read_metrics, strip_address

PER_FOLDER = 1_000  # files: the hub lists no more than ten thousand in a folder
CARD = """---
tags:
- agent-traces
- agentkd
---

# {name}

{sessions} sessions of {traces} traces, {verified} of them verified by [agentkd](https://pypi.org/project/agentkd/), in
the hub's [Session Traces Format](https://huggingface.co/docs/hub/session-traces-format). In the header of a session
`agentkd` says whether its trace is verified, and up to which rung of the ladder of checks.

{origin}

    agentkd import FOLDER --out runs/{short}
"""


@contextmanager
def sessions_of_run(run: Path, repo: str) -> Iterator[tuple[dict[str, Path], dict[str, Any]]]:
    """The files of a data set by their paths in its repository, and what they hold; they are gone after the block.

    Raises UserError for a run that is not complete."""
    config = read_config(run)
    if not is_complete(run):
        raise UserError(f"{run} is not finished: run the command that writes it again, it goes on")
    metrics = read_metrics(run)
    with TemporaryDirectory(prefix="agentkd-push-") as temporary:
        folder = Path(temporary)
        found = export_traces(run, "sts", out=folder / "sessions")
        files = {
            f"sessions/{number // PER_FOLDER:03d}/{path.name}": path
            for number, path in enumerate(sorted((folder / "sessions").iterdir()))
        }
        named = {name: config.get(name) for name in ("task", "agent", "teacher", "split")}
        origin = {name: strip_address(value) for name, value in named.items() if value}
        card = CARD.format(
            name=repo.rpartition("/")[2],
            short=repo.rpartition("/")[2],
            sessions=found["sessions"],
            traces=found["traces"],
            verified=metrics.get("verified", 0),
            origin="".join(f"- {name}: `{json.dumps(value).strip(chr(34))}`\n" for name, value in origin.items()),
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        yield {"README.md": folder / "README.md", **files}, {"sessions": found["sessions"], "traces": found["traces"]}
