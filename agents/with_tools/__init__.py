"""Agents that answer with a tool, one a file, what they share, and the scripted experts that stand in for a model.

May import: agents, tasks, prompts, teacher, verifiers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentkd.agents.base import Agent
    from agentkd.agents.with_tools.context import ToolContext


def make_tool_agent(name: str, context: ToolContext) -> Agent:
    """Make an agent of WITH_TOOLS. A model that is none is replaced by the scripted expert of the task."""
    from dataclasses import replace

    from agentkd.agents.with_tools.calculator import Calculator
    from agentkd.agents.with_tools.calculator_expert import list_programs
    from agentkd.agents.with_tools.expert import Expert
    from agentkd.agents.with_tools.sql_expert import SqlExpert
    from agentkd.agents.with_tools.sql_writer import SqlWriter
    from agentkd.teacher.chat import NO_TEACHER

    if context.model.name == NO_TEACHER:
        expert = list_programs if context.database is None else SqlExpert(context.database).list_programs
        context = replace(context, model=Expert(expert))
    agents: dict[str, Callable[[ToolContext], Agent]] = {"sql": SqlWriter, "math": Calculator}
    return agents[name](context)
