"""Ends what bubblewrap leaves where it is killed while it starts.

bwrap's child waits for a word of bwrap before it asks to die with it. Where bwrap dies in between (some 0.1 ms), the
child waits for ever, as the first process of an empty namespace.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

NAME = "agentkd-bwrap"  # argv[0] of all that we start
_PROC = Path("/proc")


def end_orphans(looks: int = 1) -> None:
    """Kill every process of NAME that is the first of a namespace, and whose parent is not of NAME.

    With several `looks`, 0.05 s apart, also those of a bwrap that is just dying."""
    for look in range(looks):
        if look:
            time.sleep(0.05)
        for pid in [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()] if _PROC.is_dir() else []:
            with suppress(OSError, ValueError, IndexError):
                if _is_orphan(pid):
                    os.kill(pid, signal.SIGKILL)


def _is_orphan(pid: int) -> bool:
    if not _is_named(pid):
        return False
    fields = dict(
        line.split(":\t", 1) for line in (_PROC / str(pid) / "status").read_text().splitlines() if ":\t" in line
    )
    return fields["NSpid"].split()[1:] == ["1"] and not _is_named(int(fields["PPid"]))


def _is_named(pid: int) -> bool:
    return (_PROC / str(pid) / "cmdline").read_bytes().partition(b"\0")[0] == NAME.encode()
