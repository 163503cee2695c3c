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

    It is written under another name and renamed: a reader sees the old file or the new one. A link of that name is
    replaced by the file, and its target stays as it is: a run directory may come from anybody."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
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
    elif error.errno == errno.ELOOP:
        remedy = "it is a link: put the file itself there, or remove it"
    else:
        remedy = "see that the directory and its disk are there, then run the same command again"
    return WorldError(f"cannot write {path}: {error.strerror or error}; {remedy}")


def is_for_reading_only(error: OSError) -> bool:
    """Whether an error says that a disk, a folder or a file may not be written."""
    return error.errno in _RIGHTS


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
