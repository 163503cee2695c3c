"""Reads responses into a `Reply`, and answers into JSON or a choice.

A response is untrusted: whatever a server sends, it is a reply, or it is none and there is a reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from agentkd.teacher.chat import Reply, replace_surrogates
from agentkd.teacher.prices import Price
from agentkd.teacher.thoughts import split_thoughts
from agentkd.trace import ToolCall, Usage

FENCE = re.compile(r"^(```|~~~)[^\n]*\n(.*?)^\1", re.DOTALL | re.MULTILINE)
WHOLE = {"", "stop", "stop_sequence", "stop_token", "eos", "eos_token", "end", "end_turn", "complete"}
WHOLE |= {"completed", "done", "finished", "tool_call", "tool_calls", "tool_use", "function_call"}
CUT = {"length", "max_tokens", "max_length", "max_output_tokens"}
"""The finish reasons of answers. Any other, such as `abort` or `content_filter`, says that the answer is none."""
REMEDY = "switch thinking off, or start the server with the parser of this model's family"
MOST_TOKENS = 10_000_000  # of one response; a server that counts more does not count


NO_RESPONSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What reading a response raises where it is none."""


class NoReply(ValueError):
    """A response holds no answer. `usage` is what it cost all the same."""

    def __init__(self, reason: str, usage: Usage) -> None:
        super().__init__(replace_surrogates(reason))
        self.usage = usage


def load_json(text: str | bytes) -> Any:
    """Parse JSON that others wrote. Raises ValueError for anything else, also where it is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_reply(content: Any, price: Price | None, *, seconds: float = 0.0) -> Reply:
    """Read the reply in a response's JSON, which took `seconds`.

    Raises NoReply for a response that holds no answer, and another of NO_RESPONSE for anything that is no response."""
    choices = content["choices"]
    usage = read_usage(content.get("usage"), price, seconds)
    read = [read_choice(choice) for choice in choices]
    calls = read_tool_calls(choices[0].get("message"))
    reasons = [normalize_reason(choice.get("finish_reason")) for choice in choices]
    for choice, reason in zip(choices, reasons, strict=True):
        if error := choice.get("error"):
            raise NoReply(f"the answer ends in an error: {str(error)[:200]}", usage)
        if reason not in WHOLE | CUT:
            raise NoReply(f"the answer is not whole, it ends with '{reason[:80]}'", usage)
    cut = not CUT.isdisjoint(reasons)
    thoughts = read[0][0]
    said = calls or any(answer.strip() for _, answer in read)
    if not said and not (cut and (thoughts or usage.completion_tokens)):
        if thoughts:
            raise NoReply(f"the answer is empty, all text is in the thoughts ({REMEDY})", usage)
        if not usage.completion_tokens:
            raise NoReply("the answer is empty, and has no tokens", usage)
    return Reply(
        texts=tuple(answer for _, answer in read),
        finish_reason="length" if cut else reasons[0],
        usage=usage,
        reasoning=thoughts,
        tool_calls=calls,
    )


def read_tool_calls(message: Any) -> tuple[ToolCall, ...]:
    """Read the tool calls of a choice's message. One without an id gets its place as one; the arguments stay as they
    are. Raises TypeError for what is none."""
    found = []
    for place, call in enumerate((message or {}).get("tool_calls") or ()):
        function = call["function"]
        texts = [call.get("id") or f"call_{place}", function["name"], function.get("arguments") or ""]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a tool call has an id, a name or arguments that are no text")
        id, name, arguments = map(replace_surrogates, texts)
        found.append(ToolCall(id=id, name=name, arguments=arguments))
    return tuple(found)


def read_usage(counts: Any, price: Price | None, seconds: float) -> Usage:
    """Read what a response cost. Counts that cannot be are none."""
    counts = counts if isinstance(counts, dict) else {}
    prompt, completion = read_count(counts.get("prompt_tokens")), read_count(counts.get("completion_tokens"))
    if prompt is None or completion is None:
        prompt = completion = 0
    details = counts.get("prompt_tokens_details")
    read_before = min(prompt, read_count(details.get("cached_tokens")) or 0) if isinstance(details, dict) else 0
    return Usage(
        calls=1,
        prompt_tokens=prompt,
        completion_tokens=completion,
        seconds=round(seconds, 4),
        usd=price.usd(prompt, completion, read_before) if price else 0.0,
    )


def read_count(value: Any) -> int | None:
    """Read a number of tokens, as a number or a text; 0 where there is none, None where it cannot be."""
    try:
        count = int(value or 0)
    except (ValueError, TypeError, OverflowError):
        return None
    return count if 0 <= count <= MOST_TOKENS else None


def normalize_reason(reason: Any) -> str:
    """A finish reason in lower case, with one spelling. Raises TypeError for anything but a text or null."""
    if reason is not None and not isinstance(reason, str):
        raise TypeError(f"the finish reason is a {type(reason).__name__}")
    return (reason or "").strip().lower().replace("-", "_")


def read_choice(choice: dict[str, Any]) -> tuple[str, str]:
    """Read the thoughts and the answer of one choice of a chat or a completion."""
    if "message" not in choice:
        if not isinstance(choice["text"], str | None):
            raise TypeError(f"the text is a {type(choice['text']).__name__}")
        return split_thoughts(choice["text"] or "")
    message = choice["message"] or {}
    thoughts, text = read_content(message.get("content"))
    text = text or read_content(message.get("refusal"))[1]  # the model's own word, in a field of its own
    apart = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(apart, str):
        thoughts = apart
    within, answer = split_thoughts(text)
    return thoughts or within, answer


def read_content(content: Any) -> tuple[str, str]:
    """Read the thoughts and the text of a message's content: a text, or a list of parts. Raises TypeError."""
    if content is None or isinstance(content, str):
        return "", content or ""
    if not isinstance(content, list):
        raise TypeError(f"the content is a {type(content).__name__}")
    thoughts, texts = [], []
    for part in content:
        kind = part.get("type", "text")
        value = part.get(kind, part.get("text", part.get("summary")))
        if kind in ("thinking", "reasoning", "redacted_thinking"):
            thoughts.append("".join(read_content(value)))
        elif kind in ("text", "output_text", "refusal") and isinstance(value, str):
            texts.append(value)
        else:
            raise TypeError(f"the content has a part of type {str(kind)[:40]}")
    return "".join(thoughts), "".join(texts)


def mark_cached(reply: Reply) -> Reply:
    """Mark a reply as one that cost no call: its tokens and price are those of the first time."""
    return reply.model_copy(update={"usage": reply.usage.model_copy(update={"cached": 1, "seconds": 0.0})})


def strip_fence(text: str) -> str:
    """The content of a text's code fence, where it is JSON; else the whole text."""
    found = FENCE.search(text)
    with suppress(ValueError):
        if found:
            load_json(found[2])
            return found[2].strip()
    return text


def read_string(text: str) -> str:
    """The JSON string that a text begins with, else its first line."""
    text = text.strip()
    with suppress(ValueError):
        return str(read_scalar(text))
    return text.partition("\n")[0].strip('" ')


def match_choice(text: str, choices: Sequence[str]) -> str:
    """The longest choice that a text begins with, as a JSON string or bare; empty where there is none.

    A JSON string that was cut may have been about to become a longer choice: it matches none then."""
    text = text.strip()
    cut = False
    try:
        found = str(read_scalar(text))
    except ValueError:
        cut = text.startswith('"')
        found = text.strip('"')
    if cut and any(choice.startswith(found) and choice != found for choice in choices):
        return ""
    return max((choice for choice in choices if found.startswith(choice)), key=len, default="")


def read_scalar(text: str) -> Any:
    """The text, number or constant of JSON that a text begins with. Raises ValueError."""
    if text.startswith(("[", "{")):
        raise ValueError("it is an array or an object")
    return json.JSONDecoder().raw_decode(text)[0]
