"""Values that a stage derives: the default teacher, what the machine can compute, and parts of folders' names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agentkd.credentials import take_secrets


def default_teacher() -> str:
    """`$AGENTKD_TEACHER`, else vLLM with Qwen3-8B where an NVIDIA GPU is seen, else the embedded llama.cpp."""
    if named := os.environ.get("AGENTKD_TEACHER"):
        return take_secrets(named)
    return "vllm:Qwen/Qwen3-8B" if has_gpu() else "local"


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded. Does not import torch, which takes seconds."""
    return shutil.which("nvidia-smi") is not None and Path("/proc/driver/nvidia/version").exists()


def task_label(task: str) -> str:
    """The task's name as it appears in the name of a run directory: the stem of a user's JSONL."""
    return Path(task).stem


def slug(text: str) -> str:
    """The text with every character that does not fit a folder's name replaced by a dash."""
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in text).strip("-")


def has_bf16() -> bool:
    """Whether bfloat16 is computed in hardware. A CPU without AVX512-BF16 or AMX emulates it, ten times slower than
    float32."""
    if has_gpu():
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:  # no Linux
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def user_data(name: str) -> Path:
    """A file of the user that outlives runs: in `$AGENTKD_DATA_HOME`, else `$XDG_DATA_HOME/agentkd`, else
    `~/.local/share/agentkd`."""
    own = os.environ.get("AGENTKD_DATA_HOME")
    folder = Path(own) if own else Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "agentkd"
    return folder.expanduser() / name
