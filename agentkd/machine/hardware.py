"""The memory that this machine has: main memory within a container's limit, and NVIDIA GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from agentkd.config import has_gpu

GB = 1e9


class Gpu(NamedTuple):
    name: str
    total_gb: float
    free_gb: float


class Memory(NamedTuple):
    """Memory in GB. `gpus` is empty without an NVIDIA driver."""

    total_gb: float
    available_gb: float
    gpus: tuple[Gpu, ...]


def read_memory() -> Memory:
    """Read the main memory, within a container's limit, and the GPUs' memory from nvidia-smi."""
    total = available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024 / GB
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        total = min(total, int(limit) / GB)
        available = max(0.0, min(available, (int(limit) - int(used)) / GB))
    return Memory(total, available, list_gpus())


def list_gpus() -> tuple[Gpu, ...]:
    """List the NVIDIA GPUs that nvidia-smi knows; none where it does not answer."""
    if not has_gpu():
        return ()
    query = [
        str(shutil.which("nvidia-smi")),
        "--query-gpu=name,memory.total,memory.free",
        "--format=csv,noheader,nounits",
    ]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
        rows = [line.rsplit(",", 2) for line in lines if line.strip()]
        return tuple(
            Gpu(name.strip(), float(total) * 2**20 / GB, float(free) * 2**20 / GB) for name, total, free in rows
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
