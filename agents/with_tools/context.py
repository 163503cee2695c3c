"""What agents with a tool share: the context that they work in, and their state."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypedDict

from langgraph.graph import END, START, StateGraph

from agentkd.trace import Draft, Message, Step, Usage

if TYPE_CHECKING:
    from agentkd.teacher.chat import Chat


@dataclass(frozen=True)
class ToolContext:
    """All that an agent with a tool may use; `database` is for SQL. There is no gold in it."""

    model: Chat
    temperature: float = 0.0
    database: Path | None = None


class ToolState(TypedDict):
    """What the nodes of such an agent pass on. `messages` is the conversation, `done` says that it is over.

    Lists that a node returns are joined to those that are there."""

    sample: int
    messages: Annotated[list[Message], operator.add]
    steps: Annotated[list[Step], operator.add]
    usage: Annotated[list[Usage], operator.add]
    answers: list[str]
    done: bool


class Node(Protocol):
    """A node of such an agent: the state so far → its update."""

    __name__: str

    async def __call__(self, state: ToolState) -> dict[str, Any]: ...


def build_loop(write: Node, act: Node) -> Any:
    """The graph of two nodes, named as their functions, that come in turn until the state is done."""
    first, second = write.__name__, act.__name__
    graph = StateGraph(ToolState)
    graph.add_node(first, write)
    graph.add_node(second, act)
    graph.add_edge(START, first)
    graph.add_edge(first, second)
    graph.add_conditional_edges(second, lambda state: END if state["done"] else first, [first, END])
    return graph.compile()


def begin(messages: Sequence[Message], sample: int) -> ToolState:
    """The state before the first call."""
    return ToolState(sample=sample, messages=list(messages), steps=[], usage=[], answers=[], done=False)


async def ask(context: ToolContext, state: ToolState, kind: str, max_tokens: int) -> dict[str, Any]:
    """Let the model go on with the conversation, and update the state with the step."""
    prompt = state["messages"]
    reply = await context.model.chat(
        prompt, max_tokens=max_tokens, temperature=context.temperature, sample=state["sample"]
    )
    text = reply.text.strip()
    step = Step(kind=kind, messages=tuple(prompt), output=text)
    return {"messages": [Message(role="assistant", content=text)], "steps": [step], "usage": [reply.usage]}


def draft_of(state: Any) -> Draft:
    """The draft that a state ends in."""
    return Draft(steps=tuple(state["steps"]), answers=tuple(state["answers"]), usage=Usage.total(state["usage"]))
