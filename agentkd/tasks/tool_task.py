"""Packaged tasks that are answered with a tool instead of a knowledge base: `sql` and `math`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, cast

from agentkd.errors import UserError
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb_index import hash_file
from agentkd.tasks.geo_tables import find_geo_database
from agentkd.tasks.question import Gold
from agentkd.tasks.task import Task, TaskSource

TOOL_TASKS = ("sql", "math")  # each has an agent of its name


class NoKnowledgeBase:
    """Stands where other tasks have a knowledge base; whoever asks it is told what the task is for."""

    sha256 = ""

    def __init__(self, task: str) -> None:
        self._task = task

    def describe(self) -> list[str]:
        """Nothing is known."""
        return []

    def __getattr__(self, name: str) -> Any:
        raise UserError(f"task {self._task} has no knowledge base: it is answered by --agent {self._task}")


class ToolTask(Task):
    """Questions that the agent of the task's name answers; `facts` are what the database of `sql` is made of."""

    def __init__(self, name: str, source: TaskSource, *, facts: Path | None, licence: str) -> None:
        super().__init__(name, source, max_hops=1, licence=licence)
        self.facts, self.tool = facts, name

    @cached_property
    def database(self) -> Path | None:
        """The database of `sql`, made at the first use."""
        return None if self.facts is None else find_geo_database(self.facts)

    def knowledge_base(self) -> Graph:
        return cast(Graph, NoKnowledgeBase(self.name))

    def _find_topics(self, texts: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
        return texts, {}

    def _find_gold(self, gold: Gold | None) -> Gold | None:
        return gold

    def unresolved(self, split: str) -> dict[str, tuple[str, ...]]:
        return {}

    def hashes(self, split: str | None = None) -> dict[str, str]:
        facts = {} if self.facts is None else {f"{self.facts.parent.name}/{self.facts.name}": hash_file(self.facts)}
        return {**facts, **super().hashes(split)}


def check_task_agents(task: Task, agents: list[str]) -> None:
    """Raise UserError for an agent that cannot answer the task."""
    tool = task.tool if isinstance(task, ToolTask) else ""
    for agent in agents:
        if tool and agent not in (tool, "none"):
            raise UserError(f"task {task.name} is answered by --agent {tool}, not by {agent}")
        if not tool and agent in TOOL_TASKS:
            raise UserError(f"--agent {agent} answers the packaged task {agent}, not {task.name}: add --task {agent}")
