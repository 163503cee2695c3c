"""Agent K as a LangGraph: one checkpointed node per stage, with ways back to a stage at fault.

    fetch → draft → understand → modalities → maps → metric → format → baseline → solve ⟲ → ensemble → validate
          → submit → credit → report

A later stage that finds the result of maps, metric or format at fault may send the run back to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph

from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.stages import ensemble, facts, finish, set_up, solve
from agentkd.errors import PutOff

Node = Callable[[Context, RunState], Awaitable[Any]]
NODES: dict[str, tuple[Node, tuple[str, ...]]] = {  # stage → its function, and the stages that may follow
    "fetch": (set_up.read_competition, ("draft",)),
    "draft": (solve.run_draft, ("understand",)),
    "understand": (facts.understand, ("modalities",)),
    "modalities": (facts.choose_modalities, ("maps",)),
    "maps": (set_up.choose_maps, ("metric",)),
    "metric": (set_up.choose_metric, ("format", "maps")),
    "format": (set_up.choose_format, ("baseline", "maps", "metric")),
    "baseline": (solve.run_baseline, ("solve", "format")),
    "solve": (solve.try_candidate, ("solve", "ensemble", "maps", "metric", "format")),
    "ensemble": (ensemble.blend_candidates, ("validate",)),
    "validate": (finish.validate, ("submit", "format", "solve")),
    "submit": (finish.submit, ("credit",)),
    "credit": (finish.credit, ("report",)),
    "report": (finish.end, ()),
}


def build_graph(context: Context, checkpointer: BaseCheckpointSaver[Any] | None) -> Any:
    """Compile the graph over the context of a run."""
    graph = StateGraph(RunState)
    for name, (function, after) in NODES.items():
        graph.add_node(name, bind_node(context, function), destinations=after)
    graph.add_edge(START, "fetch")
    graph.add_edge("report", END)
    return graph.compile(checkpointer=checkpointer)


def bind_node(context: Context, function: Node) -> Any:
    async def node(state: RunState) -> Any:
        if context.stop.is_set():
            raise PutOff("the run is stopping")
        try:
            return await function(context, state)
        finally:
            context.bench.clock.save()

    return node
