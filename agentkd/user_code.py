"""The user's own code by name: `pkg.module:name` or `FILE.py:name`, imported, found as a file, and its errors told."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from agentkd.errors import UserError, did_you_mean, near_file

SHOWN = 200  # characters of an error's text


def import_name(spec: str) -> Any:
    """Import what a name says; modules of the working directory are found, too. UserError where it is not there."""
    name, _, attribute = spec.rpartition(":")
    look_here()
    try:
        module = _import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UserError(f"{spec}: there is no module {error.name}; run in its folder, or set PYTHONPATH") from None
        raise UserError(f"{spec}: importing it failed: {describe_error(error)}") from None
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{spec}: importing it failed: {describe_error(error)}") from None
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(f"{spec}: {name} has no {part!r}{did_you_mean(part, vars(module))}")
        found = getattr(found, part)
    return found


def find_source(spec: str) -> Path | None:
    """The file that holds a name's module, without importing it; None where it is not found.

    Raises UserError for a file that is not there."""
    name = spec.rpartition(":")[0]
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{spec}: no file {path}{near_file(path)}")
        return path
    look_here()
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(found.origin) if found is not None and found.origin and os.path.isfile(found.origin) else None


def look_here() -> None:
    """Let modules of the working directory be found."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no file {path}{near_file(path)}: write FILE.py:NAME or pkg.module:NAME")
    sys.path.insert(0, str(path.resolve().parent))  # as `python FILE.py` has it
    made = importlib.util.spec_from_file_location(path.stem, path)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    sys.modules[path.stem] = module
    made.loader.exec_module(module)
    return module


def describe_error(error: BaseException) -> str:
    """An error of the user's code in one short line: its kind, its text, and the user's line that raised it."""
    text = " ".join(str(error).split())[:SHOWN]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def is_users(filename: str) -> bool:
    """Whether a file is the user's: none of ours, of an installed package or of Python itself."""
    ours, pythons = str(Path(__file__).resolve().parent), os.path.dirname(os.__file__)
    return not filename.startswith((ours, "<", pythons)) and not any(
        part in filename for part in ("site-packages", "dist-packages")
    )
