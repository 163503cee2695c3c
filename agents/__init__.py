"""Agents: a question in, a draft with evidence out. None sees gold but the `Rationaliser` of `rationalise=true`.

May import: tasks, retrievers, prompts, teacher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentkd.errors import unknown_name

if TYPE_CHECKING:
    from agentkd.agents.base import Agent, AgentContext

NAMES = ("kd-cot", "cot", "rag", "one-call", "path-writer", "dialogue", "top-path")
MODEL_FREE = ("top-path",)
WITH_TOOLS = ("sql", "math")  # they answer the packaged tasks of their names


def check_agent(name: str) -> None:
    """Raise UserError for a name that is no agent's."""
    if name not in (*NAMES, *WITH_TOOLS):
        raise unknown_name("agent", name, (*NAMES, *WITH_TOOLS))


def make_agent(name: str, context: AgentContext) -> Agent:
    """Make the agent of that name. Raises UserError for an unknown one."""
    from agentkd.agents.cot import CoT
    from agentkd.agents.dialogue import Dialogue
    from agentkd.agents.kd_cot import KDCoT
    from agentkd.agents.one_call import OneCall
    from agentkd.agents.path_writer import PathWriter
    from agentkd.agents.rag import RAG
    from agentkd.agents.top_path import TopPath

    agents: dict[str, Callable[[AgentContext], Agent]] = {
        agent.name: agent for agent in (KDCoT, CoT, RAG, OneCall, PathWriter, Dialogue, TopPath)
    }
    check_agent(name)
    return agents[name](context)
