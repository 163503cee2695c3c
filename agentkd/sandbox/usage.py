"""Measures what a tree of processes uses: their number, memory and disk. Standard library only.

Limits are watched from outside: the kernel's limits for one process do not add up over a tree, and address space
(RLIMIT_AS) is not memory, because torch and LightGBM reserve far more than they use.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from agentkd.sandbox.limits import Limits, StartedRun, StopReason

_PROC = Path("/proc")
_LINUX = (_PROC / "self" / "statm").exists()
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MB = 1 << 20
_SECONDS = 0.1  # between two measurements, more where one is costly
_DEEPEST = 64  # nested folders; deeper paths cannot be opened
_ENTRY = 4096  # bytes that a file or folder counts at least: empty ones fill a disk's table too


def list_descendants(root: int) -> list[int]:
    """List the running processes that descend from `root`, without it, parents first."""
    children = defaultdict(list)
    for name in os.listdir(_PROC) if _LINUX else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]  # the command may hold blanks and ")"
            except OSError:
                continue  # it has ended
            if state not in (b"Z", b"X"):
                children[int(parent)].append(int(name))
    found = [root]
    for pid in found:
        found.extend(children[pid])
    return found[1:]


def measure_memory(processes: Sequence[int], mounts: Sequence[str]) -> int:
    """Bytes of memory that processes hold, and files in the file systems `mounts`, which are in memory.

    Pages that several processes share count once."""
    private = shared = 0
    for pid in processes:
        try:
            lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except OSError:
            private += _resident(pid)
            continue
        sizes = {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines[1:])}
        shared += sizes["Pss_Shmem"]
        private += sizes["Pss"] - sizes["Pss_Shmem"]
    return private + max(shared, _held_in(mounts))


def _resident(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


@functools.cache
def _host() -> frozenset[int]:
    """The devices of this machine's own temporary folders."""
    return frozenset(os.stat(path).st_dev for path in ("/", "/tmp", "/dev/shm") if os.path.exists(path))


def _held_in(mounts: Sequence[str]) -> int:
    total = 0
    for mount in mounts:
        try:
            if os.stat(mount).st_dev in _host():  # the run's own is not mounted yet: these files are not the run's
                continue
            found = os.statvfs(mount)
        except OSError:
            continue  # its last process has ended
        total += (found.f_blocks - found.f_bfree) * found.f_frsize
    return total


@contextlib.contextmanager
def _reading_as(user: int | None) -> Iterator[None]:
    """Let this thread read as that user (setfsuid) what /proc tells of its processes.

    Root may do that by itself, but often not in a container (CAP_SYS_PTRACE)."""
    if user is None:
        yield
        return
    libc = ctypes.CDLL(None)
    group, owner = libc.setfsgid(user), libc.setfsuid(user)
    try:
        yield
    finally:
        libc.setfsuid(owner)
        libc.setfsgid(group)


class Unmeasurable(Exception):
    """A folder was made so that its size cannot be measured."""


def measure_folder(folder: Path) -> int:
    """Bytes below `folder`: of each entry its size or its blocks on the disk, whichever is more, and at least 4 KB.

    A file with holes counts with them, as it takes that much when it is read. Raises Unmeasurable for folders that
    cannot be listed or are more than 64 deep."""
    total, linked, waiting = 0, set(), [(str(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        if depth > _DEEPEST:
            raise Unmeasurable(f"has folders more than {_DEEPEST} deep")
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
                        if (found.st_dev, found.st_ino) in linked:
                            continue
                        linked.add((found.st_dev, found.st_ino))
                    total += max(_size(found), _ENTRY)
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append((entry.path, depth + 1))
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed since it was seen
        except OSError as error:
            raise Unmeasurable(f"has a folder that cannot be listed ({error.strerror})") from None
    return total


def _size(found: os.stat_result) -> int:
    return max(found.st_blocks * 512, found.st_size if stat.S_ISREG(found.st_mode) else 0)


def _unlinked(processes: Sequence[int], devices: set[int]) -> int:
    """Bytes in files that were removed but are still open: no walk over folders finds them."""
    files = {}
    for pid in processes:
        folder = f"/proc/{pid}/fd"
        try:
            for name in os.listdir(folder):
                found = os.stat(f"{folder}/{name}")
                if not found.st_nlink and stat.S_ISREG(found.st_mode) and found.st_dev in devices:
                    files[found.st_dev, found.st_ino] = _size(found)
        except OSError:
            continue
    return sum(files.values())


class UsageWatch:
    """Watches what the tree of processes below `root` uses.

    It looks every 0.1 s or less often, so that it takes a tenth of a core at most. `folders`: those that the run may
    write to; their present content is not counted."""

    def __init__(self, started: StartedRun, limits: Limits, folders: Sequence[Path]) -> None:
        self._root, self._mounts, self._user = started.root, started.mounts, started.user
        self._limits, self._folders = limits, folders
        self._devices = {os.stat(folder).st_dev for folder in folders}
        self._before = sum(map(measure_folder, folders))
        self._next_look = self._next_walk = 0.0

    def exceeded(self, now: float) -> tuple[StopReason, str] | None:
        """The limit that is exceeded, and a text for the user; None if all hold. `now` is time.monotonic()."""
        if now < self._next_look:
            return None
        processes = list_descendants(self._root)
        with _reading_as(self._user):
            found = self._count(processes) or self._memory(processes)
        self._next_look = time.monotonic() + max(_SECONDS, 9 * (time.monotonic() - now))
        if found is None and now >= self._next_walk:
            start = time.monotonic()
            found = self.disk_exceeded(processes)
            self._next_walk = time.monotonic() + max(_SECONDS, 20 * (time.monotonic() - start))
        return found

    def _count(self, processes: Sequence[int]) -> tuple[StopReason, str] | None:
        if len(processes) <= self._limits.processes:
            return None
        return "processes", f"{len(processes)} processes, at most {self._limits.processes} are allowed"

    def _memory(self, processes: Sequence[int]) -> tuple[StopReason, str] | None:
        limit = self._limits.memory_mb * _MB
        # The cheap sum counts shared pages once for each process: it can only be too large.
        if sum(map(_resident, processes)) + _held_in(self._mounts) <= limit:
            return None
        if (used := measure_memory(processes, self._mounts)) <= limit:
            return None
        return "memory", f"{used // _MB} MB of memory, at most {self._limits.memory_mb} are allowed"

    def disk_exceeded(self, processes: Sequence[int] = ()) -> tuple[StopReason, str] | None:
        """The exceeded limit of the disk alone, for after the run, when there are no processes."""
        try:
            with _reading_as(self._user):
                unlinked = _unlinked(processes, self._devices)
            grown = sum(map(measure_folder, self._folders)) + unlinked - self._before
        except Unmeasurable as error:
            return "disk", f"the work folder {error}"
        if grown < self._limits.disk_mb * _MB:
            return None
        return "disk", f"{grown // _MB} MB written to the work folder, at most {self._limits.disk_mb} are allowed"
