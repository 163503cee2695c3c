"""The watchdog: a command ends whatever it is doing, and leaves no process and no folder behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes import descendants, gone

HEAD = """
import os, signal, sys, tempfile, time
from agentkd.runs import watchdog
from agentkd.runs.signals import catch_signals
watchdog.LIMIT_SECONDS, watchdog.AGAIN_SECONDS = {limit}, {again}
watchdog.start_watchdog()
watchdog.start_watchdog()  # once is enough
folder = tempfile.mkdtemp()
open(folder + "/file", "w").close()
"""
UP = "os.write(1, b'up')\n"
HOLDS_THE_LOCK = UP + "sum(range(10**15))\n"  # in C, for weeks; no thread of the process runs meanwhile
DEAF = f"with catch_signals(lambda *_: None):\n    {UP}    time.sleep({{seconds}})\n    sys.exit(7)\n"


def start(body: str, tmp_path: Path, *, limit: float = 600, again: float = 600) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-c", HEAD.format(limit=limit, again=again) + body]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None and process.stdout.read(2) == b"up", process.communicate()
    return process


def ended(process: subprocess.Popen[bytes], tmp_path: Path) -> tuple[int, bytes]:
    """Exit status and stderr of a process that has left nothing behind."""
    watchdogs = descendants(process.pid)
    _, error = process.communicate(timeout=120)  # the watchdog has stderr, too: at its end, both are gone
    assert gone(watchdogs, seconds=60) and not list(tmp_path.iterdir())
    return process.returncode, error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_cannot_hear_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    handle = f"signal.signal({int(number)}, lambda *_: None)\n"
    process = start(handle + HOLDS_THE_LOCK, tmp_path, limit=0.3)
    assert len(descendants(process.pid)) == 1
    process.send_signal(number)
    status, error = ended(process, tmp_path)
    assert status == -signal.SIGKILL and error == b"ended, as it did not end by itself; what is finished is on disk\n"


def test_ctrl_c_at_the_very_end_says_nothing(tmp_path: Path) -> None:
    body = f"""
import shutil
def stuck(*_, **__):
    {UP.strip()}
    time.sleep(60)
watchdog.shutil.rmtree, real = stuck, shutil.rmtree
"""
    process = start(body, tmp_path)
    process.send_signal(signal.SIGINT)
    assert ended(process, tmp_path) == (-signal.SIGINT, b"")


def test_the_second_signal_leaves_little_time(tmp_path: Path) -> None:
    process = start(DEAF.format(seconds=600), tmp_path, again=0.2)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert ended(process, tmp_path)[0] == -signal.SIGKILL


def test_signals_that_come_together_are_one(tmp_path: Path) -> None:
    """As from `timeout`, which signals the process and then its group."""
    process = start(DEAF.format(seconds=2), tmp_path, again=0.0)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert ended(process, tmp_path) == (7, b"")


def test_kill_9_leaves_no_folder(tmp_path: Path) -> None:
    process = start(UP + "time.sleep(600)", tmp_path)
    (folder,) = tmp_path.iterdir()
    assert list(folder.rglob("file")) and folder.stat().st_mode & 0o777 == 0o711
    process.kill()
    assert ended(process, tmp_path)[0] == -signal.SIGKILL


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)", "os._exit(3)", "1 / 0"])
def test_no_other_end_leaves_one(end: str, tmp_path: Path) -> None:
    process = start(f"{UP}\n{end}\n", tmp_path)
    ended(process, tmp_path)


def test_a_fork_is_not_watched_and_removes_nothing(tmp_path: Path) -> None:
    body = "if os.fork() == 0:\n    sys.exit(0)\nos.wait()\nassert os.path.exists(folder)\nsys.exit(5)\n"
    assert ended(start(UP + body, tmp_path), tmp_path)[0] == 5
