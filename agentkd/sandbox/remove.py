"""Removes folders that untrusted code has filled.

`shutil.rmtree` recurses, so folders that are nested some hundred deep end it, and it cannot list a folder without
permissions. Standard library only.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, however deep, whatever its permissions, and without following links.

    A link or file at `folder` itself is removed, not what it points to. A folder that does not exist is no error.
    Raises OSError where something cannot be removed: a foreign owner, a mount."""
    try:
        is_folder = stat.S_ISDIR(os.lstat(folder).st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        os.unlink(folder)
        return
    above = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        top = _open_folder(folder.name, above)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(folder.name, dir_fd=above)
    finally:
        os.close(above)


def _empty(top: int) -> None:
    """Remove all that is below the open folder `top`.

    Folders inside its folders are moved up into `top` before their parent is removed. So no path is long, and only a
    few folders are open at a time."""
    while names := _remove_files(top):
        for name in names:
            folder = _open_folder(name, top)
            try:
                for inner in _remove_files(folder):
                    os.close(_open_folder(inner, folder))  # to move it is to change its "..": it must be writable
                    os.rename(inner, os.urandom(16).hex(), src_dir_fd=folder, dst_dir_fd=top)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _remove_files(folder: int) -> list[str]:
    """Remove what is no folder from an open folder; returns the names of the folders in it."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return folders


def _open_folder(name: str, above: int) -> int:
    """Open a folder, after its owner has been given all rights to it."""
    if hasattr(os, "O_PATH"):  # Linux: through a descriptor, so that a link put there meanwhile is not followed
        handle = os.open(name, os.O_PATH | _FOLDER, dir_fd=above)
        try:
            if os.fstat(handle).st_mode & 0o700 != 0o700:
                os.chmod(f"/proc/self/fd/{handle}", 0o700)
        finally:
            os.close(handle)
    return os.open(name, os.O_RDONLY | _FOLDER, dir_fd=above)
