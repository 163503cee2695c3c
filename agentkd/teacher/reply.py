"""Reads responses into a `Reply`, and answers into thoughts, JSON or a choice."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from agentkd.teacher.chat import Reply
from agentkd.teacher.prices import Price
from agentkd.trace import Usage

THOUGHTS = re.compile(r"\A\s*<think>(.*?)(?:</think>|\Z)|\A((?:(?!<think>).)*?)</think>", re.DOTALL)
FENCE = re.compile(r"^(```|~~~)[^\n]*\n(.*?)^\1", re.DOTALL | re.MULTILINE)


def read_reply(content: Any, price: Price | None, *, seconds: float = 0.0) -> Reply:
    """Read the reply in a response's JSON, which took `seconds`.

    Raises ValueError, KeyError, TypeError or AttributeError for anything that is not a reply."""
    choices = content["choices"]
    read = [split_thoughts(choice_text(choice)) for choice in choices]
    reasons = [choice.get("finish_reason") or "" for choice in choices]
    if not read or "abort" in reasons or "error" in reasons:  # vLLM and routers say so when they gave up
        raise ValueError("no answer")
    message = choices[0].get("message") or {}
    counts = content.get("usage") or {}
    prompt, completion = int(counts.get("prompt_tokens") or 0), int(counts.get("completion_tokens") or 0)
    read_before = int((counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    return Reply(
        texts=tuple(text for _, text in read),
        finish_reason="length" if "length" in reasons else reasons[0],
        usage=Usage(
            calls=1,
            prompt_tokens=prompt,
            completion_tokens=completion,
            seconds=round(seconds, 4),
            usd=price.usd(prompt, completion, read_before) if price else 0.0,
        ),
        reasoning=message.get("reasoning_content") or message.get("reasoning") or read[0][0],
    )


def choice_text(choice: dict[str, Any]) -> str:
    """The text of a choice of a chat or a completion; empty for a refusal to answer or a null."""
    text = choice["message"].get("content") if "message" in choice else choice["text"]
    if text is not None and not isinstance(text, str):
        raise TypeError(f"text is a {type(text).__name__}")
    return text or ""


def mark_cached(reply: Reply) -> Reply:
    """Mark a reply as one that cost no call: its tokens and price are those of the first time."""
    return reply.model_copy(update={"usage": reply.usage.model_copy(update={"cached": 1, "seconds": 0.0})})


def split_thoughts(text: str) -> tuple[str, str]:
    """Split a text into the thoughts between <think> and </think> at its head, and the answer.

    The answer is empty where the text was cut inside the thoughts. Some templates open <think> themselves, so that the
    text only closes it."""
    found = THOUGHTS.match(text) if "think>" in text else None
    if found is None:
        return "", text
    return (found[1] or found[2] or "").strip(), text[found.end() :].lstrip()


def strip_fence(text: str) -> str:
    """The content of a text's code fence, where it is JSON; else the whole text."""
    found = FENCE.search(text)
    with suppress(ValueError):
        if found:
            json.loads(found[2])
            return found[2].strip()
    return text


def read_string(text: str) -> str:
    """The JSON string that a text begins with, else its first line."""
    text = text.strip()
    with suppress(ValueError):
        return str(json.JSONDecoder().raw_decode(text)[0])
    return text.partition("\n")[0].strip('" ')


def match_choice(text: str, choices: Sequence[str]) -> str:
    """The longest choice that a text begins with, as a JSON string or bare; empty where there is none.

    A JSON string that was cut may have been about to become a longer choice: it matches none then."""
    text = text.strip()
    cut = False
    try:
        found = str(json.JSONDecoder().raw_decode(text)[0])
    except ValueError:
        cut = text.startswith('"')
        found = text.strip('"')
    if cut and any(choice.startswith(found) and choice != found for choice in choices):
        return ""
    return max((choice for choice in choices if found.startswith(choice)), key=len, default="")
