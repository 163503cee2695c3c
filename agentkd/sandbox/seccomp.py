"""A seccomp filter against system calls that lead out of a sandbox.

Data-science programs do not need them. The filter closes what namespaces and Landlock leave open:

- calls that take another's process, key or queue: limits, priorities, System V and POSIX IPC;
- memory that `UsageWatch` cannot see (memfd), io_uring (opens sockets past every filter), vsock (reaches a virtual
  machine's host from any network namespace);
- nested namespaces and mounts, ptrace, and the parts of the kernel with the most bugs;
- modes with a set-user-ID or set-group-ID bit.

Under Landlock it also forbids sockets, because Landlock restricts only TCP. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import stat
import struct

from agentkd.sandbox import system_calls as calls

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_*, column of the tables
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)  # 16: AF_NETLINK, which lists the interfaces

_Step = tuple[int, int, int, int]  # struct sock_filter: operation, lines to skip if true, if false, value
_REFUSE: _Step = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
_LACK: _Step = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
_LET: _Step = (_RETURN, 0, 0, _ALLOW)


def build_filter(*, namespaces: bool) -> bytes | None:
    """Build the filter as an array of struct sock_filter.

    Returns None on a machine whose calls are not in the tables. `namespaces`: the code has a network and processes of
    its own. Then socket(2) works for local, IP and netlink sockets, and threads can be pinned to cores (OMP_PROC_BIND,
    which names them by their ids). Pairs of stream sockets always work."""
    if platform.machine() not in _MACHINES:
        return None
    architecture, column = _MACHINES[platform.machine()]
    code: list[_Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, calls.LAST + 1),  # x32 and all that is newer than the tables
        _LACK,
    ]
    for table, verdict in ((calls.FORBIDDEN, _REFUSE), (calls.ABSENT, _LACK)):
        for numbers in table.values():
            if (number := numbers[column]) is not None:
                code += [(_EQUAL, 0, 1, number), verdict]
    checks: dict[int, list[_Step]] = {}
    for numbers, place, bits in (*calls.REFUSED_BITS.values(), *(() if namespaces else (calls.PAIR,))):
        _add(checks, numbers[column], [_load(place), (_ANY_BIT, 0, 1, bits), _REFUSE])
    for numbers, place, values in calls.REFUSED_VALUES.values():
        for value in values:
            _add(checks, numbers[column], [_load(place), (_EQUAL, 0, 1, value), _REFUSE])
    for name, (numbers, place) in calls.ONLY_ITSELF.items():
        if namespaces and name == "sched_setaffinity":
            continue
        _add(checks, numbers[column], [_load(place), (_EQUAL, 1, 0, 0), _REFUSE])
    for numbers, flags, mode in calls.OPENS.values():
        new = [_load(flags), (_ANY_BIT, 0, 3, calls.NEW_FILE)]
        _add(checks, numbers[column], [*new, _load(mode), (_ANY_BIT, 0, 1, stat.S_ISUID | stat.S_ISGID), _REFUSE])
    families = [(_EQUAL, 0, 1, family) for family in (_FAMILIES if namespaces else ())]
    allowed = [step for family in families for step in (family, _LET)]
    _add(checks, calls.SOCKET[column], [_load(0), *allowed, _REFUSE])
    for number, steps in checks.items():
        code += [(_EQUAL, 0, len(steps) + 1, number), *steps, _LET]
    return b"".join(struct.pack("=HBBI", *step) for step in [*code, _LET])


def _add(checks: dict[int, list[_Step]], number: int | None, steps: list[_Step]) -> None:
    """Add steps for one call; they refuse it, or go on to the next line."""
    if number is not None:
        checks.setdefault(number, []).extend(steps)


def _load(place: int) -> _Step:
    """Load the low half of an argument. The kernel takes process ids, modes and flags as 32 bits."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * place)


class _Program(ctypes.Structure):  # struct sock_fprog
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load_filter(filter: bytes) -> None:
    """Apply the filter to this process and all that it starts, for good. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    loaded = _Program(len(filter) // 8, filter)
    # PR_SET_NO_NEW_PRIVS, then PR_SET_SECCOMP with SECCOMP_MODE_FILTER
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(loaded), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
