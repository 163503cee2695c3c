"""Processes seen from outside, and requests to servers."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
        return json.load(reply)


def lives(pid: int) -> bool:
    """Whether a process exists and is not a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(lives, pids))


def descendants(pid: int) -> list[int]:
    children: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        children += map(int, path.read_text().split())
    return children + [below for child in children for below in descendants(child)]


def servers_below(pid: int) -> list[int]:
    """The processes of model servers below a command: the supervisor, then the server; not the watchdog."""
    return [
        below for below in descendants(pid) if b"supervisor.py" in cmdline(below) or b"_server.py" in cmdline(below)
    ]


def processes_in(folder: Path) -> list[str]:
    """The command lines of living processes that work in a folder or name it, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid() or not lives(int(entry.name)):
            continue
        try:
            words, place = cmdline(int(entry.name)).decode(errors="replace"), os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(folder) in words or place.startswith(str(folder)):
            found.append(f"{entry.name} {words}")
    return found


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def fake_python(folder: Path, *distributions: str) -> Path:
    """A stand-in for an interpreter that only lists its distributions."""
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "python"
    python.write_text(f"#!/bin/sh\necho pip {' '.join(distributions)}\n")
    python.chmod(0o755)
    return python
