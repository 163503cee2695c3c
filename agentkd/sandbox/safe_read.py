"""Reads files that untrusted code has left in its work folder, without being led out of it.

Code that cannot leave its folder may still leave a symbolic link, a hard link or a fifo there as a trap for the reader.
Every component is opened by itself with O_NOFOLLOW, so there is no moment between a check and its use.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agentkd.errors import UserError

_KINDS = {
    stat.S_IFREG: "a plain file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
}


class UnsafeFile(UserError):
    """A name in a work folder that is not a plain file of that folder."""


def read_inside(work: Path, name: str, max_bytes: int) -> bytes:
    """Read the plain file `name` (relative, `/` between its parts) below the folder `work`.

    Raises FileNotFoundError where nothing has that name, and UnsafeFile (one line) for an absolute name, `..`, a
    symbolic link at any component below `work`, a file with several names (a hard link may name one outside), a folder,
    a fifo, a device, and more than `max_bytes`, holes included: a sparse file is refused before it is read. The folders
    above `work` are trusted."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UnsafeFile(f"{name!r} is refused: write the file inside the work folder, under a plain relative name")
    try:
        folder = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnsafeFile(f"{name!r} cannot be read: {work.name}: {error.strerror}") from None
    try:
        for part in parts[:-1]:
            _expect(stat.S_IFDIR, folder, part, name)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        _expect(stat.S_IFREG, folder, parts[-1], name)  # before it is opened: to open a device is to use it
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnsafeFile(f"{name!r} cannot be read: {error.strerror}") from None
    finally:
        os.close(folder)
    with os.fdopen(file, "rb") as opened:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise UnsafeFile(f"{name!r} is refused: it is no plain file with one name; write it anew, without links")
        content = opened.read(max_bytes + 1) if found.st_size <= max_bytes else b""
    if found.st_size > max_bytes or len(content) > max_bytes:
        raise UnsafeFile(f"{name!r} has {max(found.st_size, len(content)):,} bytes: at most {max_bytes:,} are read")
    return content


def _expect(kind: int, folder: int, part: str, name: str) -> None:
    """Raise UnsafeFile unless `part` of the name is of that kind (S_IFREG, S_IFDIR)."""
    found = stat.S_IFMT(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode)
    if found != kind:
        is_a = _KINDS.get(found, "a device or a socket")
        raise UnsafeFile(
            f"{name!r} is refused: {part!r} is {is_a}, not {_KINDS[kind]}; write plain files in plain folders"
        )
