"""The agent that a user names: a compiled LangGraph, an async callable, or a function that makes one of them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from agentkd.errors import UserError, did_you_mean, near_file

SHOWN = 200  # characters of an error's text


def find_file(spec: str) -> Path | None:
    """The file of an agent's module, without importing it; None where there is none.

    Raises UserError for a module that is not there."""
    name, _, _ = spec.rpartition(":")
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"--agent {spec}: no file {path}{near_file(path)}; write FILE.py:NAME or pkg.module:NAME")
        return path
    for folder in [os.getcwd(), *sys.path]:
        base = Path(folder or ".", *name.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def load_agent(spec: str) -> Any:
    """Import what an agent's name says: a module of the working directory or an installed one, and a name in it.

    Raises UserError, in one line, where it is not there or is no agent."""
    name, _, attribute = spec.rpartition(":")
    try:
        module = _import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UserError(
                f"--agent {spec}: there is no module {error.name} here: run in its folder, or set PYTHONPATH"
            ) from None
        raise UserError(f"--agent {spec}: importing it failed: {describe_error(error)}") from None
    except Exception as error:
        raise UserError(f"--agent {spec}: importing it failed: {describe_error(error)}") from None
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(f"--agent {spec}: {name} has no {part!r}{did_you_mean(part, vars(module))}")
        found = getattr(found, part)
    check_kind(spec, found)
    return found


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModuleNotFoundError(f"no file {path}")
    sys.path.insert(0, str(path.resolve().parent))  # as `python FILE.py` has it
    made = importlib.util.spec_from_file_location(path.stem, path)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    sys.modules[path.stem] = module
    made.loader.exec_module(module)
    return module


def check_kind(spec: str, found: Any) -> None:
    """Raise UserError for what is no agent."""
    if is_runnable(found) or callable(found):
        return
    kind = type(found).__name__
    if hasattr(found, "compile") and hasattr(found, "add_node"):
        raise UserError(f"--agent {spec} is a {kind} that is not compiled: name the result of its .compile()")
    raise UserError(f"--agent {spec} is a {kind}: name a compiled LangGraph or an async function of an item's input")


def is_runnable(found: Any) -> bool:
    """Whether something is a compiled graph, or another Runnable of LangChain."""
    return callable(getattr(found, "ainvoke", None)) and not inspect.isclass(found)


def call_factory(spec: str, found: Any, make_model: Callable[[], Any]) -> Any:
    """What a factory makes, which may have to be awaited; anything else as it is.

    A factory is a function that needs nothing, or nothing but `model`: a chat model of LangChain."""
    if is_runnable(found) or not callable(found):
        return found
    try:
        parameters = inspect.signature(found).parameters.values()
    except (ValueError, TypeError):  # of a built-in function
        return found
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in (2, 4)]
    if any(each.kind is each.VAR_POSITIONAL for each in parameters) or needed not in ([], ["model"]):
        return found
    try:
        return found(**{name: make_model() for name in needed})
    except Exception as error:
        raise UserError(f"--agent {spec}: making it failed: {describe_error(error)}") from None


def describe_error(error: BaseException) -> str:
    """An error of the user's code in one short line: its kind, its text, and the user's line that raised it."""
    text = " ".join(str(error).split())[:SHOWN]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def is_users(filename: str) -> bool:
    """Whether a file is the user's: none of ours, of an installed package or of Python itself."""
    ours = str(Path(__file__).resolve().parent)
    outside = ("site-packages", "dist-packages", "<", os.path.dirname(os.__file__))
    return not filename.startswith((ours, *outside[2:])) and not any(part in filename for part in outside[:2])
