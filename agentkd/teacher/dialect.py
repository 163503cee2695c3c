"""Requests without the fields that a server does not take.

Which fields these are is learned from the server's refusals (`refusal.py`). A request keeps its identity in the cache
whatever is left out of it on the wire.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from agentkd.teacher.refusal import SYSTEM

BOUNDS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
LEARNED = (*BOUNDS, "temperature", "seed", "stop", "json_schema", SYSTEM)
"""What a request can do without. The schema itself and `n` cannot be left out unnoticed: the client asks otherwise."""


def list_fields(request: dict[str, Any]) -> list[str]:
    """The fields of a request that a server may refuse."""
    system = any(message["role"] == "system" for message in request.get("messages", ()))
    return [name for name in request if name not in ("model", "messages", "prompt")] + [SYSTEM] * system


def leave_out(request: dict[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """The request without the refused fields.

    A bound on the answer's length takes its other name, a system message becomes the beginning of the first turn."""
    if not refused:
        return request
    left = {name: value for name, value in request.items() if name not in refused}
    for name, other in BOUNDS.items():
        if name in request and name in refused and other not in refused:
            left[other] = request[name]
    if SYSTEM in refused and "messages" in request:
        left["messages"] = merge_system(request["messages"])
    return left


def merge_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Messages without a system role: its text begins the user's first turn."""
    texts = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    if not texts or not all(isinstance(text, str) for text in texts):  # parts are another program's
        return others if not texts else messages
    if others and others[0]["role"] == "user" and isinstance(others[0]["content"], str):
        texts, others = [*texts, others[0]["content"]], others[1:]
    return [{"role": "user", "content": "\n\n".join(texts)}, *others]


def describe_change(field: str) -> str:
    """What becomes of a refused field, for the user."""
    if field in BOUNDS:
        return f"the server does not take {field}: it is asked with {BOUNDS[field]}"
    if field == SYSTEM:
        return "the server takes no system message: its text begins the user's first turn"
    return f"the server does not take {field}: it is left out"
