"""Runs code under a supervisor process, for sandboxes without namespaces.

These are Landlock and `none`. The supervisor adopts the code's orphans (PR_SET_CHILD_SUBREAPER), so the tree below it
is all that the code has started. It kills that tree when the code ends, when we ask for it, and when we are gone: the
kernel then closes its stdin, `kill -9` included. Code that kills the supervisor escapes it (only its first process dies
with it); Landlock forbids that from its version 6 on, and `none` forbids nothing. The supervisor needs the standard
library only, so it starts in some 30 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.sandbox import landlock, seccomp
from agentkd.sandbox.limits import Limits, StartedRun, resource_limits
from agentkd.sandbox.usage import list_descendants

_SECONDS = 5.0  # to kill a tree of processes
_LINUX = sys.platform.startswith("linux")


def start(
    argv: Sequence[str],
    work: Path,
    limits: Limits,
    env: Mapping[str, str],
    paths: Mapping[str, Sequence[str]] | None,
) -> StartedRun:
    """Start the code under a supervisor.

    `paths` are those that Landlock leaves it, by kind: `read`, `write`, `devices`; None leaves it everything."""
    plan = {
        "argv": [*argv],
        "work": str(work),
        "parent": os.getpid(),
        "limits": resource_limits(limits),
        "paths": paths and {name: [*some] for name, some in paths.items()},
    }
    package = Path(sys.modules["agentkd"].__file__ or "").parent.parent
    code = f"import sys; sys.path.append({str(package)!r}); from agentkd.sandbox.supervised import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, json.dumps(plan)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd="/",
        start_new_session=True,
    )

    def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_SECONDS + 1)
        except subprocess.TimeoutExpired:
            kill_descendants(process.pid)
            process.kill()
            process.wait()

    return StartedRun(process, process.pid, (), end)


def kill_descendants(root: int) -> None:
    """Kill all descendants of `root`.

    Each is stopped first: a stopped process cannot fork, so the tree no longer grows when it is killed."""
    deadline = time.monotonic() + _SECONDS
    while (found := list_descendants(root)) and time.monotonic() < deadline:
        stopped: set[int] = set()
        while fresh := set(found) - stopped:
            for pid in fresh:
                _signal(pid, signal.SIGSTOP)
            stopped |= fresh
            found = list_descendants(root)
        for pid in found:
            _signal(pid, signal.SIGKILL)
        if root == os.getpid():
            _reap(None)
        time.sleep(0.002)


def _signal(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def _reap(leave: int | None) -> None:
    """Reap the ended children, adopted ones included, except `leave`."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == leave:
            return
        os.waitpid(ended.si_pid, 0)


def _supervise(plan: dict[str, Any]) -> int:
    """Run the plan's code until it ends, stdin closes or the parent is gone; returns the exit status."""
    if _LINUX:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor = os.getpid()

    def enter() -> None:  # in the child, which has one thread
        if _LINUX:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != supervisor:
                os._exit(125)
        for name, value in plan["limits"].items():
            resource.setrlimit(int(name), (value, value))
        if plan["paths"] is not None:
            landlock.restrict(**plan["paths"])
            filter = seccomp.build_filter(sockets=False)
            if filter is None:
                raise OSError("seccomp: unknown machine")
            seccomp.load_filter(filter)

    try:
        child = subprocess.Popen(
            plan["argv"], stdin=subprocess.DEVNULL, cwd=plan["work"], start_new_session=True, preexec_fn=enter
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot start {plan['argv'][0]!r}: {error}", file=sys.stderr)
        return 127
    watched = [0, *([os.pidfd_open(child.pid)] if _LINUX else [])]
    while child.poll() is None and os.getppid() == plan["parent"]:
        ready, _, _ = select.select(watched, [], [], 0.2 if _LINUX else 0.02)
        if 0 in ready:  # nobody writes to stdin: it was closed
            break
        _reap(child.pid)
    if child.poll() is None:
        child.kill()
    if not _LINUX:  # the tree cannot be read: kill the code's process group
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    status = child.wait()
    kill_descendants(supervisor)
    return status if status >= 0 else 128 - status


def main() -> None:
    sys.exit(_supervise(json.loads(sys.argv[1])))
