"""Runs code under a supervisor process, for sandboxes without namespaces.

These are Landlock and `none`. The supervisor adopts the code's orphans (PR_SET_CHILD_SUBREAPER), so the tree below it
is all that the code has started. It kills that tree when the code ends, when we ask for it, and when we are gone: the
kernel then closes its stdin, `kill -9` included.

A supervisor that is itself killed would free what it holds. So there are two, the guard and its child, and what one of
them leaves is killed by the other. Code that ends both at the same moment escapes: Landlock forbids that from its
version 6 on, and a user of the code's own always; `none` forbids nothing. Both need the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.sandbox import landlock, seccomp
from agentkd.sandbox.helper import read_plan, set_limits, tell
from agentkd.sandbox.limits import RunPlan, StartedRun, resource_limits
from agentkd.sandbox.remove import remove_folder
from agentkd.sandbox.start_helper import await_helper, helper_command
from agentkd.sandbox.unprivileged import Refused, become, drop_capabilities, open_paths, take_back
from agentkd.sandbox.usage import list_descendants

_SECONDS = 5.0  # to kill a tree of processes
_LINUX = sys.platform.startswith("linux")


def start(plan: RunPlan, private: Path, paths: Mapping[str, Sequence[str]] | None) -> StartedRun:
    """Start the code under a supervisor.

    `private`: a folder of this run's, which the supervisor removes if we are gone. `paths`: those that Landlock leaves
    to the code, by kind: `read`, `write`, `devices`; None leaves it everything. Raises WorldError where the supervisor
    does not start, and Refused where the plan's user cannot run the code."""
    status, told = os.pipe()
    described = {
        "argv": [*plan.argv],
        "read": [*map(str, plan.read)],
        "write": [*map(str, plan.write)],
        "user": plan.user,
        "private": str(private),
        "parent": os.getpid(),
        "limits": resource_limits(plan.limits, counted=plan.user is not None),
        "paths": paths and {name: [*some] for name, some in paths.items()},
        "status": told,
    }
    try:
        process = subprocess.Popen(
            helper_command("agentkd.sandbox.supervised", described),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=plan.env,
            cwd="/",
            start_new_session=True,
            pass_fds=[told],
        )
    finally:
        os.close(told)
    try:
        news = await_helper(process, status)
    except BaseException:
        process.kill()
        process.wait()
        os.close(status)
        raise

    def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS + 1)
        # Guard and supervisor hold the other end of this pipe: it is closed when both are gone, and the code with them.
        if not select.select([status], [], [], _SECONDS)[0]:
            for pid in (process.pid, news["supervisor"]):
                kill_descendants(pid)
                _signal(pid, signal.SIGKILL)
        process.wait()
        os.close(status)
        take_back(news["handed"], plan.user)

    return StartedRun(process, news["supervisor"], (), end, plan.user)


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


def _guard(plan: dict[str, Any]) -> int:
    """Run a supervisor in a child; returns its exit status when nothing is left below us."""
    if _LINUX:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard = os.getpid()
    child = os.fork()
    if not child:
        os._exit(_supervise(plan, guard))
    watched = [0, *([os.pidfd_open(child)] if _LINUX else [])]
    status = _wait(child, watched, lambda: os.getppid() != plan["parent"])
    kill_descendants(guard)
    if os.getppid() != plan["parent"]:  # nobody else does this any more
        if plan["user"] is not None:
            take_back(plan["write"], plan["user"])
        remove_folder(Path(plan["private"]))
    return status


def _supervise(plan: dict[str, Any], guard: int) -> int:
    """Run the plan's code until it ends or the guard is gone; returns the exit status.

    The mounts that show folders to another user are made here: the guard could not remove what is mounted for it."""
    if _LINUX:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a fork does not inherit it
    supervisor = os.getpid()
    handed: list[str] = []
    if plan["user"] is not None:
        try:
            handed = open_paths(plan["user"], plan["read"], plan["write"])
        except Refused as error:
            tell(plan["status"], {"refused": str(error)})
            return 125
    tell(plan["status"], {"handed": handed, "supervisor": supervisor})

    def enter() -> None:  # in the child, which has one thread
        set_limits(plan["limits"])
        if plan["paths"] is not None:
            drop_capabilities()
        if plan["user"] is not None:
            become(plan["user"])
        if _LINUX:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG; a new user id resets it
            if os.getppid() != supervisor:
                os._exit(125)
        if plan["paths"] is not None:
            landlock.restrict(**plan["paths"])
            filter = seccomp.build_filter(namespaces=False)
            if filter is None:
                raise OSError("seccomp: unknown machine")
            seccomp.load_filter(filter)

    try:
        child = subprocess.Popen(
            plan["argv"], stdin=subprocess.DEVNULL, cwd=plan["write"][0], start_new_session=True, preexec_fn=enter
        ).pid
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot start {plan['argv'][0]!r}: {error}", file=sys.stderr, flush=True)
        return 127
    watched = [os.pidfd_open(pid) for pid in (child, guard)] if _LINUX else []
    status = _wait(child, watched, lambda: os.getppid() != guard)
    if not _LINUX:  # the tree cannot be read: kill the code's process group
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    kill_descendants(supervisor)
    return status


def _wait(child: int, watched: Sequence[int], alone: Callable[[], bool]) -> int:
    """Wait until a child ends, stdin is closed or our parent is gone; returns its exit status, or 137.

    `watched`: descriptors that can be read when one of these has happened."""
    while not alone():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if 0 in select.select(watched, [], [], 0.2 if _LINUX else 0.02)[0]:  # nobody writes to stdin: it was closed
            break
        _reap(child)
    return 128 + signal.SIGKILL


def main() -> None:
    sys.exit(_guard(read_plan()))
