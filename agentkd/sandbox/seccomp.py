"""A seccomp filter against system calls that lead out of a sandbox.

Data-science programs do not need them. The filter closes what namespaces and Landlock leave open: kernel memory that
`UsageWatch` cannot see (memfd, System V shared memory), io_uring (opens sockets past every filter), vsock (reaches a
virtual machine's host from any network namespace), nested namespaces and mounts, ptrace, and the parts of the kernel
with the most bugs. Under Landlock it also forbids sockets, because Landlock restricts only TCP. The choice follows
Docker's default profile, as a list of what is refused. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the low half of the first argument
_X32 = 0x40000000  # x86-64's second table of calls
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW* of clone(2)
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_*, column of the tables below

# Numbers on x86-64 (asm/unistd_64.h) and AArch64 (asm-generic/unistd.h).
_FORBIDDEN = {  # fail with EPERM
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "personality": (135, 92),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
}
_ABSENT = {  # fail with ENOSYS: callers then take another way
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "io_uring_setup": (425, 425),
    "clone3": (435, 435),  # its flags are out of a filter's sight; libc goes on with clone
}
_CLONE, _SOCKET = (56, 220), (41, 198)
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)  # 16: AF_NETLINK, which lists the interfaces


def build_filter(*, sockets: bool) -> bytes | None:
    """Build the filter as an array of struct sock_filter.

    Returns None on a machine whose calls are not in the tables. `sockets`: whether socket(2) works for local, IP and
    netlink sockets, or not at all. socketpair(2) always works."""
    if platform.machine() not in _MACHINES:
        return None
    architecture, column = _MACHINES[platform.machine()]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for table, error in ((_FORBIDDEN, errno.EPERM), (_ABSENT, errno.ENOSYS)):
        for numbers in table.values():
            code += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ERRNO | error)]
    code += [
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, _ARGUMENT),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    families = _FAMILIES if sockets else ()
    code += [(_EQUAL, 0, len(families) + 2, _SOCKET[column]), (_LOAD, 0, 0, _ARGUMENT)]
    code += [(_EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)]  # jumps to the last line
    code += [(_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in code)


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
