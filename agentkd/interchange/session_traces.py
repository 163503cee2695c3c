"""`sts`: the hub's Session Trace Simple Format, which its data sets and buckets render: a header, then its messages.

A file holds one session, or several one after another. A message that cannot be read costs its session. Source:
huggingface.co/docs/hub/session-traces-format. Schemas of tools, tokens, and roles that the format has not are further
keys, which it allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agentkd.interchange.chat import Said, read_message, read_tools, to_text, write_call
from agentkd.interchange.openai_messages import read_id, read_usage, write_usage
from agentkd.interchange.rows import Malformed, Reject, Row
from agentkd.interchange.session import NOT_CHECKED, Session, conversation, make_calls
from agentkd.trace import Trace

HARNESS = "agentkd"
NAME_LENGTH = 80  # characters of a session's title
_NAMES = {"reasoningContent": "reasoning_content", "toolCalls": "tool_calls", "toolCallId": "tool_call_id"}
_OWN = ("type", "id", "tools", "usage", "model")


def claims(value: Any) -> bool:
    """Whether a value looks like a line of this format."""
    if not isinstance(value, dict):
        return False
    message = value.get("message")
    is_message = value.get("type") == "message" and isinstance(message, dict) and "role" in message
    return is_message or (value.get("type") == "session" and "harness" in value)


def read(rows: Iterable[Row], reject: Reject, folder: Path) -> Iterator[Session]:
    """A session per header, at the next header or at the end of its file."""
    header: Row | None = None
    messages: list[Said] = []
    fault = file = None

    def finish() -> Iterator[Session]:
        if header is None or fault is not None:
            return
        try:
            yield _make_session(header, messages)
        except Malformed as error:
            reject(header.file, header.line, str(error), to_text(header.value))

    for row in rows:
        value = row.value
        kind = value.get("type") if isinstance(value, dict) else None
        if kind == "session" or row.file != file:
            yield from finish()
            header, messages, fault, file = None, [], None, row.file
        if kind == "session":
            header = row
        elif kind != "message":
            fault = fault or "type"
            reject(row.file, row.line, "neither a session nor a message: its session is left out", to_text(value))
        elif header is None:
            reject(row.file, row.line, "a message before any session", to_text(value))
        else:
            try:
                messages.append(_read_line(value))
            except Malformed as error:
                fault = str(error)
                reject(row.file, row.line, f"{error}: its session is left out", to_text(value))
    yield from finish()


def _read_line(value: dict[str, Any]) -> Said:
    inner = value.get("message")
    if not isinstance(inner, dict):
        raise Malformed("the line has no message")
    own = {_NAMES.get(key, key): each for key, each in inner.items()}
    role = own.pop("originalRole", None)
    message, extra = read_message(own | ({"role": role} if role else {}), "the message")
    return message, extra | {key: each for key, each in value.items() if key not in ("type", "message")}


def _make_session(header: Row, messages: Sequence[Said]) -> Session:
    value = header.value
    usages = [read_usage(extra.pop("usage", None)) for message, extra in messages if message.role == "assistant"]
    calls, trailing = make_calls(messages, read_tools(value.get("tools")), usages)
    extra = {key: each for key, each in value.items() if key not in _OWN}
    name = read_id(value, f"{header.file.name.partition('.')[0]}-{header.line}", extra)
    told = [extra.get("model") for message, extra in messages if message.role == "assistant"]
    models = {model for model in told if isinstance(model, str)}
    model = value.get("model") or (models.pop() if len(models) == 1 else "")
    return Session(
        id=name,
        calls=calls,
        file=header.file,
        line=header.line,
        model=model if isinstance(model, str) else "",
        trailing=trailing,
        usage=read_usage(value.get("usage")),
        extra=extra,
    )


def write(sessions: Sequence[Session], trace: Trace, ended: int) -> Iterator[dict[str, Any]]:
    """The lines of each session, its header first."""
    for session in sessions:
        header: dict[str, Any] = {"type": "session", "harness": HARNESS, "id": session.id}
        ask = next((one.content for one in session.calls[0].prompt if one.role == "user"), "")
        header["name"] = " ".join(ask.split())[:NAME_LENGTH] or session.id
        if tools := session.calls[-1].tools:
            header["tools"] = list(tools)
        if session.usage is not None and session.usage.tokens:
            header["usage"] = write_usage(session.usage)
        if session.model:
            header["model"] = session.model
        if trace.verdict != NOT_CHECKED:
            header["agentkd"] = {"verified": trace.verified, "rung": trace.verdict.rung, "sample": trace.sample}
        yield header | session.extra
        for message, extra, usage in conversation(session):
            inner: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
            inner |= {"originalRole": "developer"} if message.role == "developer" else {}
            inner["content"] = message.content
            if message.reasoning is not None:
                inner["reasoningContent"] = message.reasoning
            if message.tool_calls:
                inner["toolCalls"] = [write_call(call) for call in message.tool_calls]
            if message.tool_call_id is not None:
                inner["toolCallId"] = message.tool_call_id
            if message.name is not None:
                inner["name"] = message.name
            if usage is not None:
                inner["usage"] = write_usage(usage)
            yield {"type": "message", "message": inner | extra}
