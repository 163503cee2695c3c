"""What the spans of tools tell beyond the messages: which calls failed, and results that no message repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkd.interchange.chat import to_text


def note_tool_run(answer: Mapping[str, Any], error: bool, failed: set[str], results: dict[str, str]) -> None:
    """Note a tool's answer `{"tool_call_id", "content", "status"}`; one without the id of its call says nothing."""
    call_id = answer.get("tool_call_id")
    if not isinstance(call_id, str) or not call_id:
        return
    if error or answer.get("status") == "error":
        failed.add(call_id)
    if answer.get("content") is not None:
        results[call_id] = to_text(answer["content"])
