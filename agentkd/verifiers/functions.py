"""A user's own function as a verifier, named as `pkg.mod:function`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentkd.errors import UserError, did_you_mean
from agentkd.runs.disk import hash_file
from agentkd.verifiers.contract import PASS, Item, Judgement, describe_error


class Function:
    """A user's function, whose scores pass from `at_least`."""

    def __init__(self, function: Callable[[dict[str, Any], str], Any], name: str, at_least: float = PASS) -> None:
        self.function, self.name, self.at_least = function, name, at_least

    async def __call__(self, item: Item, answer: str) -> Judgement:
        value: Any = self.function(dict(item), answer)
        if inspect.isawaitable(value):
            value = await value
        return value  # type: ignore[no-any-return]  # `read_judgement` looks at it


def import_function(spec: str) -> Callable[..., Any]:
    """Import `pkg.mod:function`; modules of the working directory are found, too. UserError where it is not there."""
    module_name, _, name = spec.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UserError(f"{spec}: there is no module {error.name}; run in its folder, or set PYTHONPATH") from None
        raise UserError(f"{spec}: importing it failed: {describe_error(error)}") from None
    except Exception as error:
        raise UserError(f"{spec}: importing it failed: {describe_error(error)}") from None
    function = getattr(module, name, None)
    if function is None:
        raise UserError(f"{spec}: {module_name} has no {name!r}{did_you_mean(name, vars(module))}")
    if not callable(function):
        raise UserError(f"{spec} is a {type(function).__name__}: name a function of (item, answer)")
    return function  # type: ignore[no-any-return]


def source_of(spec: str) -> str:
    """The SHA-256 of the file that holds a function's module, without importing it; empty where it is not found.

    Verdicts of two versions of a function are not mixed in one run."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.util.find_spec(spec.partition(":")[0])
    except (ImportError, ValueError, AttributeError):
        return ""
    if found is None or not found.origin or not os.path.isfile(found.origin):
        return ""
    return hash_file(Path(found.origin))
