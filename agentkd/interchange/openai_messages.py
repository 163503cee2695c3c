"""`openai`: rows with `messages` in OpenAI's form, as fine-tuning files and most data sets of agents have them.

A row is `{"messages": […], "tools": […]}`; `id`, `model` and `usage` are read where they are there, and
`prompt` with `completion`, TRL's form, is one conversation. All other keys are kept. Source: OpenAI's API reference
("Create chat completion", "Fine-tuning: chat format"); TRL's "Dataset formats".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agentkd.interchange.chat import read_count, read_message, read_tools, write_message
from agentkd.interchange.rows import Malformed, Reject, Row
from agentkd.interchange.session import Session, conversation, make_calls, read_each
from agentkd.trace import Trace, Usage

_OWN = ("messages", "prompt", "completion", "tools", "functions", "id", "model")


def claims(value: Any) -> bool:
    """Whether a value looks like a row of this format."""
    if not isinstance(value, dict) or "run_type" in value or "resourceSpans" in value:
        return False
    messages = value.get("messages", value.get("prompt"))
    return isinstance(messages, list) and any(isinstance(one, dict) and "role" in one for one in messages)


def read(rows: Iterable[Row], reject: Reject, folder: Path) -> Iterator[Session]:
    """A session per row."""
    return read_each(rows, _read_row, reject)


def _read_row(row: Row) -> Session:
    value = row.value
    if not isinstance(value, dict):
        raise Malformed("the row is no object")
    listed = value.get("messages")
    if listed is None and isinstance(value.get("prompt"), list) and isinstance(value.get("completion"), list):
        listed = [*value["prompt"], *value["completion"]]
    if not isinstance(listed, list):
        raise Malformed("the row has no list of messages")
    messages = [read_message(each, f"message {number}") for number, each in enumerate(listed, 1)]
    usages = [read_usage(extra.pop("usage", None)) for message, extra in messages if message.role == "assistant"]
    calls, trailing = make_calls(messages, read_tools(value.get("tools") or value.get("functions")), usages)
    extra = {key: each for key, each in value.items() if key not in _OWN}
    name = read_id(value, f"{row.file.name.partition('.')[0]}-{row.line}", extra)
    model = value.get("model")
    return Session(
        id=name,
        calls=calls,
        file=row.file,
        line=row.line,
        model=model if isinstance(model, str) else "",
        trailing=trailing,
        usage=read_usage(value.get("usage")),
        extra=extra,
    )


def read_id(value: dict[str, Any], otherwise: str, extra: dict[str, Any]) -> str:
    """The id of a row as text; where it is a number, `extra` keeps it."""
    name = value.get("id")
    if isinstance(name, str) and name:
        return name
    if isinstance(name, int) and not isinstance(name, bool):
        extra["id"] = name
        return str(name)
    if name not in (None, ""):
        raise Malformed("the id is neither text nor a number")
    return otherwise


def read_usage(value: Any) -> Usage | None:
    """OpenAI's usage; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Malformed("usage is no object")
    return Usage(
        calls=1,
        prompt_tokens=read_count(value.get("prompt_tokens"), "usage.prompt_tokens"),
        completion_tokens=read_count(value.get("completion_tokens"), "usage.completion_tokens"),
    )


def write_usage(usage: Usage) -> dict[str, int]:
    """A usage in OpenAI's form."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.tokens,
    }


def write(sessions: Sequence[Session], trace: Trace, ended: int) -> Iterator[dict[str, Any]]:
    """A row per conversation."""
    for session in sessions:
        messages = []
        for message, extra, usage in conversation(session):
            messages.append(write_message(message, extra))
            if usage is not None:
                messages[-1]["usage"] = write_usage(usage)
        row: dict[str, Any] = {"id": session.id, "messages": messages}
        if tools := session.calls[-1].tools:
            row["tools"] = list(tools)
        if session.model:
            row["model"] = session.model
        if session.usage is not None and session.usage.tokens:
            row["usage"] = write_usage(session.usage)
        yield row | session.extra
