"""Private temporary folders that do not outlive us, not even a `kill -9`. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from agentkd.sandbox.remove import remove_folder

_PREFIX = "agentkd-sandbox-"
_YOUNG = 60.0  # seconds after which a folder without a lock has lost its owner


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that only we can read, locked by us as long as it is there (flock), and removed at the end."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX)))
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        with contextlib.suppress(OSError):
            remove_folder(folder)
        os.close(lock)


def remove_abandoned() -> None:
    """Remove the temporary folders that processes of this user left behind when they were killed."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(opened)
        if found.st_uid == os.geteuid() and time.time() - found.st_ctime > _YOUNG:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_folder(folder)
    finally:
        os.close(opened)
