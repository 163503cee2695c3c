"""Checkpoints of the graph's state: plain values in MessagePack, and nothing else is ever read back.

LangGraph's own serializer imports and calls whatever a checkpoint names, and a run directory may come from anybody.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import ormsgpack
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic checks it, and needs this one before Python 3.12

from agentkd.agents.agent_k.context import RunState
from agentkd.agents.agent_k.results import read_best, read_results
from agentkd.errors import UserError
from agentkd.trace import Step, Usage

FILE = "checkpoints.sqlite"
_OPTIONS = ormsgpack.OPT_NON_STR_KEYS | ormsgpack.OPT_SERIALIZE_NUMPY | ormsgpack.OPT_REPLACE_SURROGATES
_REMEDY = f"remove {FILE} of the run directory, then the run begins anew and pays for no answer twice"


class PlainSerializer:
    """LangGraph's SerializerProtocol for None, booleans, numbers, strings, bytes, lists and dicts."""

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        """Return the form's name and the bytes. Raises TypeError for a value that is not plain."""
        if value is None:
            return "null", b""
        return "msgpack", ormsgpack.packb(value, default=_describe_error, option=_OPTIONS)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value. Raises UserError for another form, an extension type, and damaged bytes."""
        form, content = data
        if form == "null":
            return None
        if form != "msgpack":
            raise UserError(f"{FILE} holds values in the form {form[:40]!r}, which agentkd does not write: {_REMEDY}")
        try:
            return ormsgpack.unpackb(content, option=ormsgpack.OPT_NON_STR_KEYS)
        except ValueError as error:
            raise UserError(f"{FILE} is damaged, or was not written by agentkd ({error}): {_REMEDY}") from None


async def read_state(graph: Any, thread: Any) -> Any:
    """Read the last checkpoint of a graph. Raises UserError where it is damaged."""
    try:
        snapshot = await graph.aget_state(thread)
    except (UserError, sqlite3.Error, OSError):
        raise
    except Exception as error:  # LangGraph takes it for granted that what it reads is what it wrote
        raise UserError(f"{FILE} is damaged ({type(error).__name__}: {str(error)[:80]}): {_REMEDY}") from error
    check_state(snapshot.values)
    return snapshot


def check_state(values: Any) -> None:
    """Raise UserError unless a state that was read has the fields of a `RunState`."""
    try:
        TypeAdapter(RunState).validate_python(values, extra="forbid")
        read_results(values), read_best(values)
        TypeAdapter(list[Step]).validate_python(values.get("steps", []))
        TypeAdapter(list[Usage]).validate_python(values.get("usage", []))
        TypeAdapter(list[MemoryEntry]).validate_python(values.get("memory", []))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{FILE} is damaged ({where[:80]}: {first['msg'].lower()}): {_REMEDY}") from None


class MemoryEntry(TypedDict):
    """An entry of the working memory."""

    tags: list[str]
    content: str


def _describe_error(value: Any) -> str:
    """LangGraph notes the error of a stage that failed; its text is enough."""
    if isinstance(value, BaseException):
        return repr(value)
    raise TypeError
