"""Shows folders of root's to another user, in a mount namespace of this process's own. Standard library only.

Root's folders are often closed to others: /root itself, a temporary folder, what was made with umask 077. In the new
namespace

- each shown folder is an *idmapped* mount: there, what is root's on the disk belongs to the other user, and what the
  other user makes is root's on the disk. Nothing on the disk changes. (mount_setattr(2), Linux 5.12; ext4, XFS, btrfs,
  tmpfs and others, but not overlayfs and most network file systems)
- each closed folder above a shown one is covered by an empty one, in which only what is shown exists.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every machine
_HERE = -100  # AT_FDCWD
_EMPTY_PATH, _RECURSIVE = 0x1000, 0x8000  # AT_EMPTY_PATH, AT_RECURSIVE
_CLONE = 1 | os.O_CLOEXEC  # OPEN_TREE_CLONE
_FROM_DESCRIPTOR = 4  # MOVE_MOUNT_F_EMPTY_PATH
_IDMAP = 0x100000  # MOUNT_ATTR_IDMAP
_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000  # CLONE_NEWNS, CLONE_NEWUSER
_NO_SET_ID_NO_DEVICES, _SLAVE_ALL = 6, 1 << 14 | 1 << 19  # MS_NOSUID | MS_NODEV, MS_REC | MS_SLAVE


class _Attributes(ctypes.Structure):  # struct mount_attr
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "users"))


def make_user_namespace(inside: int, outside: int) -> int:
    """Make a user namespace with one user (and group), `inside` it and `outside` it; returns its descriptor.

    That user owns it, so may enter it. It cannot have user namespaces of its own. Raises OSError."""
    told, tell = os.pipe()
    hold, held = os.pipe()
    child = os.fork()
    if not child:  # the namespace needs a process until it is opened
        try:
            os.close(held)
            _libc().prctl(28, 4, 0, 0, 0)  # PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP: root's capabilities are kept
            os.setegid(outside)
            os.seteuid(outside)  # who makes a user namespace owns it
            _check(_libc().unshare(_NEW_USERS), "unshare")
            with open("/proc/sys/user/max_user_namespaces", "w") as setting:
                setting.write("0")
            os.write(tell, b".")
            os.read(hold, 1)
        finally:
            os._exit(0)
    os.close(tell)
    try:
        if not os.read(told, 1):
            raise OSError("there are no user namespaces")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w") as mapping:
                mapping.write(f"{inside} {outside} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for pipe in (told, hold, held):
            os.close(pipe)
        os.waitpid(child, 0)


def show_folders(paths: Sequence[str], user: int) -> set[str]:
    """Show files and folders of root's to `user`, in a new mount namespace for this process.

    Returns the real paths of those that are idmapped; for others the permissions on the disk hold. Raises OSError
    where a process may not mount."""
    real = {path: os.path.realpath(path) for path in paths}
    ordered = sorted(set(real.values()), key=lambda path: path.count("/"))  # inner ones later, on top of outer ones
    users, umask = make_user_namespace(0, user), os.umask(0o022)
    try:
        _check(_libc().unshare(_NEW_MOUNTS), "unshare")
        _check(_libc().mount(b"none", b"/", None, _SLAVE_ALL, None), "mount")  # nothing comes out of the namespace
        mounts = {path: _copy_mount(path) for path in ordered}
        mapped = {path for path in ordered if _map_users(mounts[path], users)}
        for folder in _closed_folders(ordered, mapped):
            options = b"mode=755,size=1m"
            _check(_libc().mount(b"tmpfs", os.fsencode(folder), b"tmpfs", _NO_SET_ID_NO_DEVICES, options), "mount")
        for path, mount in mounts.items():
            _place(mount, path)
        for path, target in real.items():
            if not os.path.lexists(path):  # a link was covered
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.symlink(target, path)
        return mapped
    finally:
        os.umask(umask)
        os.close(users)


def _closed_folders(paths: Sequence[str], mapped: set[str]) -> list[str]:
    """The outermost folders above `paths` that are closed to other users."""
    closed: list[str] = []
    for path in paths:
        parts = path.split("/")
        for count in range(2, len(parts)):
            folder = "/".join(parts[:count])
            if folder in mapped or folder in closed:
                break
            if not os.stat(folder).st_mode & stat.S_IXOTH:
                closed.append(folder)
                break
    return closed


def _copy_mount(path: str) -> int:
    """A copy of what is mounted at a path and below it, as a mount that has no place yet."""
    flags = ctypes.c_uint(_CLONE | _RECURSIVE)
    return _call(_OPEN_TREE, ctypes.c_int(_HERE), os.fsencode(path), flags)


def _map_users(mount: int, users: int) -> bool:
    """Map a mount's users, with those of the mounts below it or by itself; False where its file system cannot."""
    attributes = _Attributes(_IDMAP, 0, 0, users)
    for extent in (_RECURSIVE, 0):
        try:
            flags, size = ctypes.c_uint(_EMPTY_PATH | extent), ctypes.c_size_t(ctypes.sizeof(attributes))
            _call(_MOUNT_SETATTR, ctypes.c_int(mount), b"", flags, ctypes.byref(attributes), size)
        except OSError:
            continue
        return True
    return False


def _place(mount: int, path: str) -> None:
    """Put a mount at a path, which is made where a covered folder lacks it."""
    try:
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if stat.S_ISDIR(os.fstat(mount).st_mode):
                os.mkdir(path)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        flags = ctypes.c_uint(_FROM_DESCRIPTOR)
        _call(_MOVE_MOUNT, ctypes.c_int(mount), b"", ctypes.c_int(_HERE), os.fsencode(path), flags)
    finally:
        os.close(mount)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    return _check(int(_libc().syscall(ctypes.c_long(number), *arguments)), "mount")


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
