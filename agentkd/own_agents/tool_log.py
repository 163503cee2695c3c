"""The tools that LangChain or LangGraph runs in this process, as they were called and what they gave.

The handler is the default of a context variable, so that LangChain adds it to every run, in whatever thread or task,
without a word in the user's code.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from agentkd.own_agents.inputs import write_text
from agentkd.own_agents.protocol import clean


class ToolLog(BaseCallbackHandler):
    """Records every tool that ran: name, arguments, result, whether it went well, and the id of the model's call."""

    def __init__(self) -> None:
        self.ran: list[dict[str, Any]] = []
        self._open: dict[UUID, dict[str, Any]] = {}

    def on_tool_start(
        self, serialized: dict[str, Any] | None, input_str: str, *, run_id: UUID, inputs: Any = None, **kwargs: Any
    ) -> None:
        name = (serialized or {}).get("name") or kwargs.get("name") or "tool"
        arguments = input_str if inputs is None else json.dumps(inputs, ensure_ascii=False, default=str)
        record = {"name": name, "arguments": clean(arguments), "result": "", "ok": False, "id": ""}
        record["id"] = str(kwargs.get("tool_call_id") or "")
        self._open[run_id] = record
        self.ran.append(record)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if (record := self._open.pop(run_id, None)) is not None:
            record["result"] = clean(write_text(output))
            record["ok"] = getattr(output, "status", "success") != "error"
            record["id"] = record["id"] or str(getattr(output, "tool_call_id", "") or "")

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if (record := self._open.pop(run_id, None)) is not None:
            record["result"] = clean(f"{type(error).__name__}: {error}")

    def take(self) -> list[dict[str, Any]]:
        """The tools that ran since the last time."""
        ran, self.ran, self._open = self.ran, [], {}
        return ran


def follow_tools() -> ToolLog:
    """Record the tools of all runs of LangChain from now on."""
    log = ToolLog()
    register_configure_hook(ContextVar("agentkd_tool_log", default=log), inheritable=True)
    return log
