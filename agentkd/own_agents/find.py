"""The agent that a user names: a compiled LangGraph, an async callable, or a function that makes one of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from agentkd.errors import UserError
from agentkd.user_code import describe_error, import_name


def load_agent(spec: str) -> Any:
    """Import an agent. Raises UserError, in one line, where it is not there or is none."""
    found = import_name(spec)
    check_kind(spec, found)
    return found


def check_kind(spec: str, found: Any) -> None:
    """Raise UserError for what is no agent."""
    if is_runnable(found) or callable(found):
        return
    kind = type(found).__name__
    if hasattr(found, "compile") and hasattr(found, "add_node"):
        raise UserError(f"{spec} is a {kind} that is not compiled: name the result of its .compile()")
    raise UserError(f"{spec} is a {kind}: name a compiled LangGraph or an async function of an item's input")


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
        raise UserError(f"{spec}: making it failed: {describe_error(error)}") from None
