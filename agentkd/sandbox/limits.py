"""The limits of a run in the sandbox, and the record of a started run. Standard library only."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

StopReason = Literal["", "time", "memory", "disk", "output", "processes", "stop"]  # the limit that ended a run


@dataclass(frozen=True)
class Limits:
    """The limits of one run, for all its processes together.

    `seconds`: wall clock. `memory_mb`: memory of the processes, with the files in /tmp and /dev/shm. `disk_mb`: growth
    of the work folder. `output_kb`: output that is kept; the middle of a longer one is cut out, and a run that writes
    64 times as much is stopped. `processes`: processes at the same time."""

    seconds: float
    memory_mb: int = 4096
    disk_mb: int = 1024
    output_kb: int = 256
    processes: int = 64


@dataclass(frozen=True)
class RunPlan:
    """A run that is to be started.

    `read`: files and folders that the code can read, besides the system's. `write`: folders that it can write to; the
    first is its work folder. `user`: the id of the user it runs as, None for our own."""

    argv: Sequence[str]
    read: Sequence[Path]
    write: Sequence[Path]
    env: Mapping[str, str]
    limits: Limits
    user: int | None = None


@dataclass(frozen=True)
class StartedRun:
    """A run that has been started.

    `process`: the process to wait for; its stdout is a pipe. `root`: the process below which all others are. `mounts`:
    the run's file systems in memory. `end` kills all of the run's processes and returns when they are gone. `user`: the
    id of the user that they run as, None for our own."""

    process: subprocess.Popen[bytes]
    root: int
    mounts: Sequence[str]
    end: Callable[[], None]
    user: int | None = None


def resource_limits(limits: Limits, *, counted: bool) -> dict[int, int]:
    """The kernel's own limits (RLIMIT_*) for each process; they apply between two measurements of `UsageWatch`.

    They cover the size of a file, and open files: no measurement sees the memory of a socket or a pipe. `counted`:
    the kernel counts the tasks (processes and threads) of this run apart from those of others."""
    wanted = {
        resource.RLIMIT_CORE: 1,  # byte; with 0 the kernel would still start a program that collects core dumps
        resource.RLIMIT_FSIZE: limits.disk_mb << 20,
        resource.RLIMIT_NOFILE: 4096,
        **({resource.RLIMIT_NPROC: max(1024, 16 * limits.processes)} if counted else {}),
    }
    ours = {name: resource.getrlimit(name)[1] for name in wanted}  # nobody but root may ask for more
    return {
        name: value if ours[name] == resource.RLIM_INFINITY else min(value, ours[name])
        for name, value in wanted.items()
    }
