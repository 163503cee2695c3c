"""Starting the helper processes that start code, and what they tell us first.

A helper is a module of this room, run by a Python of its own without packages (some 20 ms). It gets a plan as JSON and
writes one line of JSON to a pipe when it is ready, or why it is not: `{"refused": …}`.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from agentkd.errors import WorldError
from agentkd.sandbox.unprivileged import Refused

SECONDS = 30.0  # for a process to start on a busy machine


def helper_command(module: str, plan: Mapping[str, Any]) -> list[str]:
    """The command that runs `main()` of a module with a plan as its argument."""
    package = os.path.dirname(os.path.dirname(sys.modules["agentkd"].__file__ or ""))
    code = f"import sys; sys.path.append({package!r}); from {module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", code, json.dumps(plan)]


def await_helper(process: subprocess.Popen[bytes], status: int) -> dict[str, Any]:
    """Wait for a helper's line, and return it.

    Raises Refused with its reason, and WorldError where it ends without a word or says nothing for 30 s."""
    line = read_line(process, status, "the sandbox's helper")
    news: dict[str, Any] = json.loads(line)
    if "refused" in news:
        raise Refused(news["refused"])
    return news


def read_line(process: subprocess.Popen[bytes], pipe: int, who: str, end: bytes = b"\n") -> bytes:
    """Read from a pipe up to `end`; WorldError with the process's own output where nothing comes."""
    written, deadline = b"", time.monotonic() + SECONDS
    while end not in written:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(pipe, 1 << 16) if ready else b""
        if not data:
            assert process.stdout is not None
            answer = os.read(process.stdout.fileno(), 4096) if ready else b"no answer"
            raise WorldError(f"{who} cannot start: {' '.join(answer.decode('utf-8', 'replace').split())}")
        written += data
    return written
