"""A user's own function as a verifier, named as `pkg.mod:function`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from agentkd.errors import UserError
from agentkd.runs.disk import hash_file
from agentkd.user_code import find_source, import_name
from agentkd.verifiers.contract import PASS, Item, Judgement


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
    function = import_name(spec)
    if not callable(function):
        raise UserError(f"{spec} is a {type(function).__name__}: name a function of (item, answer)")
    return function  # type: ignore[no-any-return]


def source_of(spec: str) -> str:
    """The SHA-256 of the file that holds a function's module, without importing it; empty where it is not found.

    Verdicts of two versions of a function are not mixed in one run."""
    found = find_source(spec)
    return "" if found is None else hash_file(found)
