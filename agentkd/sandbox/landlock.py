"""Landlock: a process gives up all paths but the named ones, for itself and all that it starts.

It needs no privileges. What is not a path, a connection or a signal is not its business: it leaves modes and times of
files to their owner, and System V IPC to all.

https://docs.kernel.org/userspace-api/landlock.html; constants from linux/landlock.h. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Sequence

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every machine
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE, _MAKE_CHAR, _MAKE_DIR, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8
_MAKE_SOCKET, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_LINK, _REFER, _TRUNCATE, _IOCTL = (1 << bit for bit in range(9, 16))
_OF_A_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_TCP = 1 << 0 | 1 << 1  # bind, connect
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals

ABI = 3  # Linux 6.2, the least that we use: before it any file could be truncated
SIGNALS = 6  # Linux 6.12: processes outside cannot be signalled


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Below(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _call(number: int, *arguments: object) -> int:
    result = int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def abi_version() -> int:
    """The version of Landlock that this kernel has; 0 where it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(read: Sequence[str], write: Sequence[str], devices: Sequence[str]) -> None:
    """Restrict this process, and all that it starts, to some paths.

    It keeps the paths in `read` (also to execute) and `write`, and may read and write `devices`. It loses TCP, and
    signals and abstract sockets to processes outside, as far as the kernel's version goes. Paths that do not exist are
    skipped. Raises OSError."""
    version = abi_version()
    known = (1 << (16 if version >= 5 else 15)) - 1 if version >= ABI else 0
    if not known:
        raise OSError(f"Landlock: version {version}, at least {ABI} is needed")
    rules = _Ruleset(known, _TCP if version >= 4 else 0, _SCOPES if version >= SIGNALS else 0)
    size = 8 * (1 + (version >= 4) + (version >= SIGNALS))  # an older kernel knows a shorter structure
    ruleset = _call(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        granted = _EXECUTE | _READ | _LIST
        for paths, allowed in (
            (read, granted),
            (write, known & ~(_MAKE_CHAR | _MAKE_BLOCK)),
            (devices, _READ | _WRITE | _IOCTL),
        ):
            for path in paths:
                _allow(ruleset, path, allowed & known)
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            allowed &= _OF_A_FILE
        below = _Below(allowed, opened)
        # LANDLOCK_RULE_PATH_BENEATH
        _call(_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(below), ctypes.c_uint32(0))
    finally:
        os.close(opened)
