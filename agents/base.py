"""The protocol of an agent, and the context that it works in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agentkd.agents.path_search import PathSearch
from agentkd.agents.worked_examples import Memory, MemorySearch
from agentkd.retrievers.graph import Graph
from agentkd.trace import Draft, Message

if TYPE_CHECKING:
    from agentkd.retrievers.bm25 import BM25Passages
    from agentkd.retrievers.path_retriever import PathRetriever
    from agentkd.tasks.question import Question
    from agentkd.teacher.chat import Chat


@dataclass(frozen=True)
class ReadingSettings:
    """How a model reads paths: the options of `agentkd generate` and `eval` of the same names."""

    paths: int = 5
    hops: int = 2
    rounds: int = 4
    trust: float = 1.0
    votes: int = 1
    reader: str = "complete"
    constrain: str = "kb"
    examples: int = 6
    temperature: float = 0.0


@dataclass(frozen=True)
class AgentContext:
    """All that an agent may use. There is no gold in it."""

    kb: Graph
    model: Chat
    settings: ReadingSettings
    retrieval: PathSearch
    memory: MemorySearch
    passages: BM25Passages | None = None

    @classmethod
    def build(
        cls,
        kb: Graph,
        retriever: PathRetriever,
        model: Chat,
        settings: ReadingSettings = ReadingSettings(),
        memory: Memory | None = None,
        passages: BM25Passages | None = None,
    ) -> AgentContext:
        """Join the parts, with one lock for retriever and memory, which may share an encoder."""
        lock = asyncio.Lock()
        retrieval = PathSearch(kb, retriever, settings.paths, settings.hops, lock)
        return cls(kb, model, settings, retrieval, MemorySearch(memory, settings.examples, lock), passages)


class Agent(Protocol):
    """A question in, a draft with evidence out."""

    @property
    def name(self) -> str: ...

    async def solve(self, question: Question, sample: int) -> Draft:
        """Answer the question; a higher `sample` may answer otherwise."""
        ...


def chat_messages(system: str, *turns: str) -> list[Message]:
    """A system message and turns that alternate between user and assistant, the user first."""
    roles = ("user", "assistant")
    return [
        Message(role="system", content=system),
        *(Message(role=roles[number % 2], content=turn) for number, turn in enumerate(turns)),
    ]
