"""Files that survive a crash, and errors of the disk that name the remedy."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
from pathlib import Path

from agentkd.errors import WorldError

_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)
_numbers = itertools.count()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all.

    It is written under another name and renamed: a reader sees the old file or the new one."""
    path = path.resolve() if path.is_symlink() else path  # a link to another disk stays a link
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from None


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a new file that is synced may still lose its name."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system can
            raise
    finally:
        os.close(file)


def disk_error(path: Path, error: OSError) -> WorldError:
    """A WorldError in one line: the path, the system's message and the remedy."""
    if error.errno in _ROOM:
        remedy = "make room and run the same command again"
    elif error.errno in _RIGHTS:
        remedy = "check its rights, or choose another --out"
    else:
        remedy = "see that the directory and its disk are there, then run the same command again"
    return WorldError(f"cannot write {path}: {error.strerror or error}; {remedy}")


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
