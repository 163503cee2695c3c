"""The environment of code in the sandbox: variables, interpreter, packages and agentkd."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # how many threads numerical libraries start


def make_environment(work: Path, temporary: Path, search: Path) -> dict[str, str]:
    """All variables that the code gets: none of ours, which may hold keys.

    `search` is the folder to import agentkd from, where it is not installed."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if not threads.isdigit():
        threads = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    package, user = package_folders()[0], _user_packages()
    trees = [Path(sys.prefix), Path(sys.base_prefix), *user]
    installed = any(package.is_relative_to(tree) for tree in trees)
    return {
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        **dict.fromkeys(THREADS, threads),
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "Agg",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # what was printed before a kill is not lost
        **({} if installed else {"PYTHONPATH": str(search)}),
        **({"PYTHONUSERBASE": site.getuserbase()} if user else {}),
    }


def package_folders() -> list[Path]:
    """The folders of agentkd: the package, then the targets of its links (agentkd/agents -> ../agents)."""
    package = Path(os.path.abspath(sys.modules["agentkd"].__file__ or "")).parent
    return [package, *(entry.resolve() for entry in package.iterdir() if entry.is_symlink())]


def interpreter_folders() -> list[Path]:
    """The folders of our Python, its packages and agentkd, also under the names of links to them."""
    named = [Path(sys.prefix), Path(sys.base_prefix), *_user_packages(), *package_folders()]
    return [path for path in dict.fromkeys(_with_target(named)) if path.exists() and path != Path("/usr")]


def _user_packages() -> list[Path]:
    """The folder that `pip install --user` fills; none in a virtual environment."""
    return [Path(site.getusersitepackages())] if site.ENABLE_USER_SITE else []


def _with_target(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield path
        yield path.resolve()
