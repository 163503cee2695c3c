"""Messages in OpenAI's form and back: what `Message` has a field for, and what it has none for beside it.

Nothing is dropped: keys that `Message` does not know come back from `read_message` as a dict, for the trace's
provenance, and go into `write_message` again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkd.interchange.rows import Malformed
from agentkd.trace import Message, ToolCall

ROLES = ("system", "developer", "user", "assistant", "tool")
REASONING = ("reasoning_content", "reasoning", "thinking")
_KNOWN = {"role", "content", "name", "tool_calls", "tool_call_id", *REASONING}
_EMPTY: tuple[Any, ...] = (None, [], {}, "")
Extra = dict[str, Any]
Said = tuple[Message, Extra]


def read_message(value: Any, where: str) -> Said:
    """Read a message and its further keys. Raises Malformed with `where`, such as "message 3"."""
    if not isinstance(value, dict):
        raise Malformed(f"{where} is no object")
    role, extra = (
        value.get("role"),
        {key: each for key, each in value.items() if key not in _KNOWN and each not in _EMPTY},
    )
    calls = [
        read_call(each, f"a tool call of {where}") for each in _list(value.get("tool_calls"), f"tool_calls of {where}")
    ]
    if role == "function":  # how tools answered before there were tool calls
        role, extra["role"] = "tool", "function"
    if isinstance(old := extra.get("function_call"), dict):
        calls.append(read_call({"id": "", "function": old}, f"function_call of {where}"))
        extra["function_call"] = True
    if role not in ROLES:
        raise Malformed(f"{where} has the role {str(role)[:40]!r}: it must be one of {', '.join(ROLES)}")
    reasoning = next((value[key] for key in REASONING if value.get(key)), None)
    if reasoning is not None and not isinstance(reasoning, str):
        raise Malformed(f"the reasoning of {where} is no text")
    message = Message(
        role=role,
        content=read_content(value.get("content"), where),
        name=_text_or_none(value.get("name"), f"the name of {where}"),
        tool_calls=tuple(calls),
        tool_call_id=_text_or_none(value.get("tool_call_id"), f"the tool_call_id of {where}"),
        reasoning=reasoning,
    )
    return message, extra


def write_message(message: Message, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Write a message as a JSON object; the inverse of `read_message`."""
    found: dict[str, Any] = {"role": extra.get("role", message.role), "content": message.content}
    if message.name is not None:
        found["name"] = message.name
    if message.reasoning is not None:
        found["reasoning_content"] = message.reasoning
    calls = list(message.tool_calls)
    if extra.get("function_call") is True:
        old = calls.pop()
        found["function_call"] = {"name": old.name, "arguments": old.arguments}
    if calls:
        found["tool_calls"] = [write_call(call) for call in calls]
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    return found | {key: value for key, value in extra.items() if key not in ("role", "function_call")}


def read_call(value: Any, where: str) -> ToolCall:
    """Read a tool call `{"id", "function": {"name", "arguments"}}`. Text of arguments stays as it is."""
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Malformed(f"{where} has no function with a name")
    return ToolCall(
        id=_text_or_none(value.get("id"), f"the id of {where}") or "",
        name=function["name"],
        arguments=read_arguments(function.get("arguments")),
    )


def write_call(call: ToolCall) -> dict[str, Any]:
    """Write a tool call in OpenAI's form."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def read_arguments(value: Any) -> str:
    """Arguments as text: text stays as it is, all else becomes JSON."""
    return value if isinstance(value, str) else "" if value is None else to_text(value)


def write_arguments(text: str) -> Any:
    """Arguments as a JSON object where `read_arguments` makes the same text of it again, else the text."""
    try:
        value = json.loads(text)
        return value if isinstance(value, dict) and to_text(value) == text else text
    except (ValueError, RecursionError):
        return text


def to_text(value: Any) -> str:
    """A JSON value as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_content(value: Any, where: str) -> str:
    """Content as text: a text, nothing, or parts that are texts, one per line. Malformed for images and the like."""
    if value is None or isinstance(value, str):
        return value or ""
    parts = []
    for part in _list(value, f"the content of {where}"):
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise Malformed(f"{where} has a part of type {str(kind)[:40]!r}, which is no text")
        parts.append(text)
    return "\n".join(parts)


def read_tools(value: Any) -> tuple[dict[str, Any], ...]:
    """Schemas of tools in OpenAI's form; those that lack the wrapper `{"type": "function", …}` get it."""
    found = []
    for tool in _list(value, "the list of tools"):
        if not isinstance(tool, dict):
            raise Malformed("a tool is no object")
        found.append(tool if "type" in tool else {"type": "function", "function": tool})
    return tuple(found)


def read_count(value: Any, what: str) -> int:
    """A number of tokens; 0 for none. Malformed for anything else."""
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**12:
        raise Malformed(f"{what} is {str(value)[:40]!r}, no number of tokens")
    return value


def read_object(value: Any, what: str) -> dict[str, Any]:
    """An object; an empty one for none. Malformed for anything else."""
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"{what} is no object")
    return value or {}


def _list(value: Any, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Malformed(f"{what} is no list")
    return value


def _text_or_none(value: Any, what: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Malformed(f"{what} is no text")
