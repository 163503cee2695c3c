"""The user that untrusted code runs as, where agentkd itself runs as root. Standard library only.

Root without capabilities is not enough: by the mode of their files it may still write most kernel settings, and it may
signal and change what belongs to root. So code gets a user id that nobody has, one for each run. It owns nothing,
and can act on no process but its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import stat
from collections.abc import Iterator, Sequence

from agentkd.sandbox.mounts import show_folders

_FIRST = 1_879_048_192  # of the ids that no distribution gives out (systemd's "Users, Groups, UIDs and GIDs")
_PROCESSES, _RUNS = 4_000_000, 64  # how many get ids of their own: processes of ours, and runs of each
_NOBODY = 65_534  # in a container that has no more ids
_numbers = itertools.count()


class Refused(Exception):
    """Code cannot be given a user of its own; the text gives the reason."""


def choose_user() -> int | None:
    """Choose the user id, which is also the group id, for one run; None where we are not the machine's root."""
    if os.geteuid() != 0 or not _is_mapped(0, outside=0):  # the root of a user namespace is an ordinary user outside
        return None
    wanted = _FIRST + os.getpid() % _PROCESSES * _RUNS + next(_numbers) % _RUNS
    return wanted if _is_mapped(wanted) else _NOBODY


def _is_mapped(uid: int, outside: int | None = None) -> bool:
    """Whether our user namespace has this user id, and, where it is given, which one it is outside."""
    try:
        with open("/proc/self/uid_map") as file:
            rows = [[int(word) for word in line.split()] for line in file]
    except OSError:  # no Linux, or no user namespaces
        return True
    inside = [(theirs + uid - ours) for ours, theirs, count in rows if ours <= uid < ours + count]
    return bool(inside) and outside in (None, inside[0])


def drop_capabilities() -> None:
    """Have no capabilities from the next exec on, not even as root. Users other than root have none."""
    libc = ctypes.CDLL(None)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def become(user: int) -> None:
    """Become that user for good: this process loses root's groups and capabilities. Raises OSError."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def open_paths(user: int, read: Sequence[str], write: Sequence[str]) -> list[str]:
    """Let that user read files and folders, and write to others; nobody else gets a right to them.

    Where this process may mount and the file system can map users, the disk stays as it is. Else the folders to write
    are handed over; these are returned, and are to be taken back (`take_back`). Raises Refused where a path stays
    closed. For a process of one thread, which gets a mount namespace of its own."""
    try:
        mapped = show_folders([*read, *write], user)
    except OSError:  # a container: the permissions on the disk decide
        mapped = set()
    _check_access(user, read, os.R_OK)
    handed: list[str] = []
    try:
        for folder in write:
            if os.path.realpath(folder) not in mapped:
                handed.append(folder)
                hand_over(folder, user)
        _check_access(user, write, os.R_OK | os.W_OK)
    except OSError as error:
        refused = Refused(f"{error.filename or handed[-1]} cannot be given to another user ({error.strerror})")
    except Refused as error:
        refused = error
    else:
        with contextlib.suppress(OSError):
            os.fchown(1, user, -1)  # so that code can open /dev/stdout
        return handed
    take_back(handed, user)
    raise refused


def _check_access(user: int, paths: Sequence[str], wanted: int) -> None:
    """Raise Refused, with the remedy, for the first path that is closed to that user."""
    with _acting_as(user):
        for path in map(os.path.realpath, paths):
            parts = path.split("/")
            for folder in ("/".join(parts[:count]) for count in range(2, len(parts))):
                if not os.access(folder, os.X_OK, effective_ids=True):
                    raise Refused(f"only root may enter {folder} (chmod o+x lets others)")
            if not os.access(path, wanted | (os.X_OK if os.path.isdir(path) else 0), effective_ids=True):
                raise Refused(
                    f"only root may {'write to' if wanted & os.W_OK else 'read'} {path} (chmod -R o+rX lets others)"
                )


@contextlib.contextmanager
def _acting_as(user: int) -> Iterator[None]:
    """Have another user's rights to files for a while. For a process of one thread."""
    groups, group, ours = os.getgroups(), os.getegid(), os.geteuid()
    try:
        os.setgroups([])
        os.setegid(user)
        os.seteuid(user)
    except OSError as error:
        raise Refused(f"root may not become another user here ({error.strerror})") from None
    try:
        yield
    finally:
        os.seteuid(ours)
        os.setegid(group)
        os.setgroups(groups)


def hand_over(folder: str, user: int) -> None:
    """Give that user what is ours in a folder, and the folder itself.

    A file with several names is left out: another of them may lie outside. Raises OSError."""
    for above, name, found in _walk(folder):
        if _is_ours(found.st_uid) and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
            os.chown(name, user, -1, dir_fd=above, follow_symlinks=False)
    os.chown(folder, user, -1, follow_symlinks=False)


def _is_ours(user: int) -> bool:
    """Whether what belongs to that user is ours: also what a run left whose agentkd was killed."""
    return user == os.geteuid() or _FIRST <= user < _FIRST + _PROCESSES * _RUNS


def take_back(folders: Sequence[str], user: int | None) -> None:
    """Make what belongs to that user in folders that were handed over, and these themselves, ours again.

    Raises OSError."""
    owner, group = os.geteuid(), os.getegid()
    for folder in folders:
        os.chown(folder, owner, -1, follow_symlinks=False)
        for above, name, found in _walk(folder):
            ids = (owner if found.st_uid == user else -1, group if found.st_gid == user else -1)
            if ids != (-1, -1):
                os.chown(name, *ids, dir_fd=above, follow_symlinks=False)


def _walk(folder: str) -> Iterator[tuple[int, str, os.stat_result]]:
    """Each entry below a folder: the open folder that it is in, its name, and what it is.

    No link is followed. The way back up is "..", so only two folders are open, however deep they are."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(folder, flags)
    waiting = [os.listdir(here)]  # for each folder between here and the top, the names that are still to be seen
    try:
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                to = ".." if waiting else "."
            else:
                name = to = waiting[-1].pop()
                found = os.stat(name, dir_fd=here, follow_symlinks=False)
                yield here, name, found
                if not stat.S_ISDIR(found.st_mode):
                    continue
            there = os.open(to, flags, dir_fd=here)
            os.close(here)
            here = there
            if to not in (".", ".."):
                waiting.append(os.listdir(here))
    finally:
        os.close(here)
