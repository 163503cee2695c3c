"""A process that watches over a command: it ends what does not end, and removes what is left behind.

After ctrl-C, SIGTERM or SIGHUP a command has LIMIT_SECONDS for what is in flight. A call into C may take longer, and
may hold Python's lock, so that no thread of the command could end it. The interpreter writes the number of every
signal into a pipe the moment it comes; the watchdog reads the pipe, and kills the command in the end. What is on the
disk stays whole, as with any `kill -9` (`shard.py`). The pipe's end tells the watchdog that the command is gone,
however it ended: then it removes the command's temporary folder.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from agentkd.runs.signals import SAME_SECONDS, SIGNALS

LIMIT_SECONDS = 30.0  # from the first signal to the end
AGAIN_SECONDS = 3.0  # from the second signal to the end
_LOOK_SECONDS = 0.5
_PATH_BYTES = 4096
_GOOD_END = b"\0"  # in the pipe: no signal has this number
_owner = 0  # the process that the watchdog of this process watches; a fork has none


def start_watchdog(tidy: Callable[[], object] = lambda: None) -> None:
    """Start the watchdog of this process, once. It is there for the main thread only, which gets the signals.

    The watchdog calls `tidy` once the process is gone, unless that came to its own end."""
    global _owner
    if _owner == os.getpid() or threading.current_thread() is not threading.main_thread():
        return
    _owner = os.getpid()
    tempfile.gettempdir()  # raises where there is none
    theirs, ours = os.pipe()
    told, telling = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # both are made, or neither
    try:
        child = os.fork()
        if not child:
            try:
                _become_watchdog(theirs, telling, _owner, tidy)
            finally:
                os._exit(0)
        os.close(theirs)
        os.close(telling)
        folder = os.fsdecode(os.read(told, _PATH_BYTES))
        os.close(told)
        if not folder:
            os.close(ours)
            raise FileNotFoundError(2, "cannot make a folder in", tempfile.gettempdir())
        os.set_blocking(ours, False)
        signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        tempfile.tempdir = folder
        atexit.register(_end, _owner, ours, child, folder)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end(owner: int, pipe: int, child: int, folder: str) -> None:
    """At the normal end of a command: no folder and no watchdog is there any more when it is gone."""
    if os.getpid() != owner:
        return
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)  # it ends the process here, and the watchdog does the rest
    shutil.rmtree(folder, ignore_errors=True)
    signal.set_wakeup_fd(-1)
    with suppress(OSError):
        os.write(pipe, _GOOD_END)
    os.close(pipe)
    with suppress(ChildProcessError):
        os.waitpid(child, 0)


def _become_watchdog(pipe: int, telling: int, command: int, tidy: Callable[[], object]) -> None:
    """Make the command's folder, write its name into `telling`, and watch until the command is gone.

    Only stderr is kept of what a fork inherits."""
    signal.set_wakeup_fd(-1)
    os.setsid()  # a signal to the command's group does not end the watchdog
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    folder = tempfile.mkdtemp(prefix="agentkd-")  # not by the command, which may be killed before anybody watches
    os.chmod(folder, 0o711)  # code in a sandbox has another user, and goes through to its own folder
    os.write(telling, os.fsencode(folder))
    for file in (0, 1):
        os.close(file)
    for low, high in ((3, pipe), (pipe + 1, os.sysconf("SC_OPEN_MAX"))):
        os.closerange(low, high)
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    first = end = float("inf")
    good = False
    while os.getppid() == command:
        wait = max(0.0, min(_LOOK_SECONDS, end - time.monotonic()))
        numbers = os.read(pipe, 4096) if poll.poll(wait * 1000) else None
        good = good or bool(numbers and _GOOD_END in numbers)
        if numbers == b"":
            break
        now = time.monotonic()
        if numbers and set(numbers) & set(SIGNALS):
            if first == float("inf"):
                first, end = now, now + LIMIT_SECONDS
            elif now - first > SAME_SECONDS:
                end = min(end, now + AGAIN_SECONDS)
        if now >= end:
            with suppress(OSError):
                os.write(2, b"ended, as it did not end by itself; what is finished is on disk\n")
            os.kill(command, signal.SIGKILL)
            break
    if not good:
        with suppress(Exception):
            tidy()
    _remove(folder)


def _remove(folder: str) -> None:
    """Remove a folder in which a process of the command may be at its last write."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.1)
