"""Agent K as a LangGraph: one node a stage, kept by the checkpointer after each, with ways back to a stage at fault.

    fetch → draft → understand → modalities → maps → metric → format → baseline → solve ⟲ → ensemble → validate
          → submit → credit → report

maps, metric and format may be returned to from any later stage that finds their result at fault.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph

from agentkd.agents.agent_k.context import Around, State
from agentkd.agents.agent_k.stages import finish, set_up, solve
from agentkd.errors import PutOff

Node = Callable[[Around, State], Awaitable[Any]]
NODES: dict[str, tuple[Node, tuple[str, ...]]] = {
    "fetch": (set_up.fetch, ("draft",)),
    "draft": (solve.draft, ("understand",)),
    "understand": (set_up.understand, ("modalities",)),
    "modalities": (set_up.modalities, ("maps",)),
    "maps": (set_up.maps, ("metric",)),
    "metric": (set_up.metric, ("format", "maps")),
    "format": (set_up.form, ("baseline", "maps", "metric")),
    "baseline": (solve.baseline, ("solve", "format")),
    "solve": (solve.solve, ("solve", "ensemble", "maps", "metric", "format")),
    "ensemble": (solve.ensemble, ("validate",)),
    "validate": (finish.validate, ("submit", "format", "solve")),
    "submit": (finish.submit, ("credit",)),
    "credit": (finish.credit, ("report",)),
    "report": (finish.report, ()),
}


def build(around: Around, checkpointer: BaseCheckpointSaver[Any] | None) -> Any:
    """The compiled graph over these surroundings."""
    graph = StateGraph(State)
    for name, (function, after) in NODES.items():
        graph.add_node(name, bound(around, function), destinations=after)
    graph.add_edge(START, "fetch")
    graph.add_edge("report", END)
    return graph.compile(checkpointer=checkpointer)


def bound(around: Around, function: Node) -> Any:
    async def node(state: State) -> Any:
        if around.stop.is_set():
            raise PutOff("the run is stopping")
        try:
            return await function(around, state)
        finally:
            around.clock.keep()

    return node
