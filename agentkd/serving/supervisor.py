"""Supervises one server process, and ends it with all its children when agentkd is gone.

    python -P supervisor.py --parent PID -- COMMAND...

agentkd holds the other end of our stdin. The kernel closes that pipe however agentkd ends, `kill -9` included. Then the
server's whole process group is terminated, and killed after `GRACE_SECONDS`. If the server ends by itself, its
remaining children are ended too, and its exit status becomes ours (128 + signal for a signal). If we are killed, Linux
tells the server to end. This file runs by itself with the standard library only, so it starts in some 30 ms.
"""

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

GRACE_SECONDS = 8.0
_POLL_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def supervise(command: Sequence[str], *, parent: int) -> int:
    """Run `command` until it ends, stdin closes or process `parent` is gone; return the exit status."""
    asked_to_stop = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is agentkd's to handle: it then closes the pipe
    try:
        # A session of its own: one killpg reaches everything the server starts.
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_us(os.getpid())
        )
    except OSError as error:
        print(f"cannot start {command[0]!r}: {error}", file=sys.stderr)
        return 127
    # The parent's pid is watched as well as the pipe: a process that agentkd forked may hold the pipe open.
    while child.poll() is None and not asked_to_stop and os.getppid() == parent and not _closed(_POLL_SECONDS):
        pass
    _end_group(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _die_with_us(supervisor: int) -> Callable[[], None] | None:
    """Make a function that ties the server's process to the life of its supervisor (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: after it, as little as possible should happen

    def ask_for_death() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != supervisor:  # it was killed before we could ask
            os.kill(os.getpid(), signal.SIGTERM)

    return ask_for_death


def _closed(wait_seconds: float) -> bool:
    """Whether stdin has reached its end; waits for at most `wait_seconds`."""
    ready, _, _ = select.select([0], [], [], wait_seconds)
    return bool(ready) and not os.read(0, 4096)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Terminate the group that `child` leads, and kill the rest of it after the grace time."""
    _signal_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while _group_lives(child):
        if time.monotonic() > deadline:
            _signal_group(child.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    child.wait()


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    child.poll()  # a leader that nobody has waited for still counts as a member
    return _signal_group(child.pid, 0)


def _signal_group(group: int, signum: int) -> bool:
    """Send `signum` (0: none, only look) to a process group; False where it has no members."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS answers so for a group of zombies
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a server that ends when the pipe on stdin closes.")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="pid whose end ends the server")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    return supervise(arguments.command, parent=arguments.parent)


if __name__ == "__main__":
    sys.exit(main())
