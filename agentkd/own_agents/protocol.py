"""OpenAI's chat protocol, as the server sees it: requests into messages, replies into completions and streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from agentkd.teacher.chat import Reply, replace_surrogates
from agentkd.trace import Message, ToolCall

ROLES = ("system", "developer", "user", "assistant", "tool")


def read_messages(messages: Any) -> tuple[Message, ...]:
    """Read the messages of a request. Raises ValueError, with the reason, for what is none."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("'messages' is no list of messages")
    return tuple(map(_read_message, messages))


def _read_message(message: Any) -> Message:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise ValueError(f"a message's role is none of {', '.join(ROLES)}: {str(message)[:80]}")
    calls = [(call.get("id") or "", call.get("function") or {}) for call in message.get("tool_calls") or ()]
    return Message(
        role=message["role"],
        content=read_text(message.get("content")),
        name=message.get("name"),
        tool_calls=tuple(
            ToolCall(id=id, name=str(function.get("name")), arguments=clean(function.get("arguments")))
            for id, function in calls
        ),
        tool_call_id=message.get("tool_call_id"),
        reasoning=message.get("reasoning_content") or None,
    )


def clean(text: Any) -> str:
    """A text without half characters; what is no text becomes its JSON, and nothing the empty text."""
    if text is None:
        return ""
    return str(replace_surrogates(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)))


def read_text(content: Any) -> str:
    """The text of a message's content. A part that is no text, such as an image, is named in brackets."""
    if not isinstance(content, list):
        return clean(content)
    parts = []
    for part in content:
        text = part.get("text", part.get("refusal")) if isinstance(part, dict) else part
        parts.append(text if isinstance(text, str) else f"[{part.get('type', 'part')}]")
    return clean("\n".join(parts))


def write_completion(model: str, id: str, replies: Sequence[Reply]) -> dict[str, Any]:
    """A completion with a choice for each reply."""
    usage = [reply.usage for reply in replies]
    prompt, completion = (sum(getattr(each, name) for each in usage) for name in ("prompt_tokens", "completion_tokens"))
    return {
        "id": id,
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {"index": place, "message": write_message(reply), "logprobs": None, "finish_reason": finish_reason(reply)}
            for place, reply in enumerate(replies)
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }


def write_message(reply: Reply) -> dict[str, Any]:
    """The assistant's message; its content is null where the model only called tools, as OpenAI has it."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or (None if reply.tool_calls else "")}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = [write_call(call) for call in reply.tool_calls]
    return message


def write_call(call: ToolCall) -> dict[str, Any]:
    """A tool call in OpenAI's form; the arguments are the model's own text."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def finish_reason(reply: Reply) -> str:
    """Why the model ended: a cut answer's calls may be cut, too, so that is told first."""
    if reply.finish_reason == "length":
        return "length"
    return "tool_calls" if reply.tool_calls else "stop"


def write_stream(model: str, id: str, replies: Sequence[Reply], *, usage: bool) -> Iterator[bytes]:
    """The same as server-sent events. The answer is whole before the first of them: what is paid for is kept first."""
    whole = write_completion(model, id, replies)
    head = {"id": id, "object": "chat.completion.chunk", "created": 0, "model": model}
    for choice in whole["choices"]:
        delta = choice["message"]
        for place, call in enumerate(delta.get("tool_calls", ())):
            call["index"] = place
        yield _event(head | {"choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]})
        last = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        yield _event(head | {"choices": [last]})
    if usage:
        yield _event(head | {"choices": [], "usage": whole["usage"]})
    yield b"data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"
