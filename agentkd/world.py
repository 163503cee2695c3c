"""A task with its knowledge base, retriever and worked examples, loaded once per command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents import MODEL_FREE, WITH_TOOLS, make_agent
from agentkd.agents.base import AgentContext, ReadingSettings
from agentkd.agents.judge import JudgedAgent
from agentkd.agents.with_tools import make_tool_agent
from agentkd.agents.with_tools.context import ToolContext
from agentkd.agents.worked_examples import Example, Memory, examples_from_traces, packaged_examples
from agentkd.config import GenerateConfig
from agentkd.errors import UserError
from agentkd.models import PACKAGED
from agentkd.prompts import prompts_hash
from agentkd.retrievers import default_retriever, make_retriever
from agentkd.retrievers.graph import require_in_memory
from agentkd.runs.read import read_config, read_traces
from agentkd.tasks.tool_task import ToolTask
from agentkd.teacher.chat import NO_TEACHER
from agentkd.trace import content_hash

if TYPE_CHECKING:
    from agentkd.agents.base import Agent
    from agentkd.retrievers.bm25 import BM25Passages
    from agentkd.retrievers.graph import Graph
    from agentkd.retrievers.path_retriever import PathRetriever
    from agentkd.tasks.task import Task
    from agentkd.teacher.chat import Chat

PATHS = 5
PATHS_BY_AGENT = {"path-writer": 12}  # a path costs a student about four tokens: its answers are not shown
VOTES = 8
TRUST_IN_STUDENT = 3.0  # nats that the vote of a student which was taught to write paths adds


@dataclass(frozen=True)
class TaskWorld:
    """Everything that the agents of a command share. Gold is in the task; the agents made here get none."""

    task: Task
    kb: Graph
    config: GenerateConfig

    @classmethod
    def load(cls, config: GenerateConfig) -> TaskWorld:
        """Load the task and its knowledge base; retriever and memory are loaded when they are first used."""
        from agentkd.tasks.load import load_task

        task = load_task(config.task, data=config.data, kb=config.kb, aliases=config.aliases, columns=config.kb_columns)
        kb = task.knowledge_base()
        return cls(task, require_in_memory(kb, "shuffle=true").shuffled(config.seed) if config.shuffle else kb, config)

    @property
    def tool(self) -> str:
        """The agent that alone can answer the task, by a tool; empty for tasks with a knowledge base."""
        return self.task.tool if isinstance(self.task, ToolTask) else ""

    @property
    def identity(self) -> dict[str, str]:
        """The hashes that identify a run besides its config: data, KB, prompts, encoder, examples."""
        data = content_hash(self.task.hashes(self.config.split))
        if self.tool:
            return {"hash_data": data, "hash_prompts": prompts_hash(self.tool)}
        identity = {"hash_data": data, "hash_kb": self.kb.sha256, "hash_prompts": prompts_hash()}
        if (folder := Path(str(self.config.retriever))).is_dir():
            from agentkd.retrievers.dense import hash_encoder

            identity["hash_retriever"] = hash_encoder(folder)
        if (reranker := self._reranker()) is not None:
            from agentkd.retrievers.reranker import hash_reranker

            identity["hash_reranker"] = hash_reranker(reranker)
        if self.config.demos:
            identity["hash_demos"] = content_hash(self.memory.examples)
        return identity

    @cached_property
    def memory(self) -> Memory:
        """The worked examples: from the runs that `demos` names, else the packaged ones."""
        folders = [Path(name.strip()) for name in (self.config.demos or "").split(",") if name.strip()]
        for folder in folders:
            read_config(folder)  # raises where a folder is no run
        traces = (trace for folder in folders for trace in read_traces(folder))
        examples = examples_from_traces(traces) if folders else packaged_examples()
        if not examples:
            raise UserError(f"no verified trace in {self.config.demos}: generate some, or leave demos= out")
        return Memory(examples, getattr(self.retriever, "encoder", None))

    @cached_property
    def retriever(self) -> PathRetriever:
        return make_retriever(self.config.retriever or default_retriever(), self.kb)

    def _reranker(self) -> Path | None:
        """The folder of the reranker that may be asked. Raises UserError where it is wanted and missing."""
        from agentkd.retrievers.reranker import find_reranker

        folder = None if self.config.rerank is False else find_reranker(Path(str(self.config.retriever)))
        if self.config.rerank and folder is None:
            raise UserError(
                f"rerank=true, and retriever {self.config.retriever} has no reranker: make one with `agentkd feedback`"
            )
        return folder

    @cached_property
    def reranked(self) -> PathRetriever:
        """The retriever with its reranker, or alone where it has none."""
        from agentkd.retrievers.dense import DensePaths
        from agentkd.retrievers.reranker import RerankedPaths

        folder, retriever = self._reranker(), self.retriever
        return RerankedPaths(retriever, folder) if folder and isinstance(retriever, DensePaths) else retriever

    @cached_property
    def passages(self) -> BM25Passages:
        """An index of the whole KB as text, for the agent `rag`. Raises UserError for a KB behind an endpoint."""
        from agentkd.retrievers.bm25 import BM25Passages

        return BM25Passages(require_in_memory(self.kb, "agent rag"))

    def agent(self, name: str, model: Chat, lessons: Sequence[Example] = ()) -> Agent:
        """Make the agent of that name over this world. Raises UserError for an unknown one.

        `lessons`: what the model was taught, where it is a student that writes paths."""
        if name in WITH_TOOLS and isinstance(self.task, ToolTask):
            return make_tool_agent(name, ToolContext(model, self.config.temperature or 0.0, self.task.database))
        context = self.context(model, name, lessons)
        agent = make_agent(name, context)
        return JudgedAgent(agent, context) if self.config.judge else agent

    def context(self, model: Chat, agent: str = "", lessons: Sequence[Example] = ()) -> AgentContext:
        """Make all that the agent may use. The memory of a path-writer is what it was taught."""
        memory: Memory | None = None
        if agent != "path-writer":
            memory = self.memory
        elif lessons:
            memory = Memory(lessons, getattr(self.retriever, "encoder", None))
        plain = agent in MODEL_FREE and not self.config.rerank  # the control is the ranking alone
        return AgentContext.build(
            self.kb,
            self.retriever if plain else self.reranked,
            model,
            reading_settings(self.config, model.name, agent, max_hops=self.task.max_hops),
            memory,
            self.passages if agent == "rag" else None,
        )


def path_count(config: GenerateConfig, agent: str) -> int:
    """The number of relation paths that the agent chooses from."""
    return config.paths or PATHS_BY_AGENT.get(agent, PATHS)


def reading_settings(config: GenerateConfig, model: str, agent: str, *, max_hops: int) -> ReadingSettings:
    """Choose how a model reads paths, where the user left it open (docs/kd-cot.md).

    The packaged 135M model continues a pattern, and its choice is worth about one nat; any other model is instructed
    and decides alone. A server that shares the prompt answers eight votes at hardly more than the cost of one; the
    embedded server reads the prompt again for each. A student that writes paths votes as often, and its votes count
    for more, since it was taught to. Without a model nobody votes: ranking, memory and agreement decide."""
    small = model in ("local", NO_TEACHER) or model.endswith(PACKAGED)
    if agent == "path-writer":
        reader, votes, trust = "complete", VOTES, TRUST_IN_STUDENT
    else:
        reader = config.reader or ("complete" if small else "choose")
        votes = VOTES if reader == "complete" and model != "local" else 1
        trust = 1.0 if small else 20.0
    return ReadingSettings(
        paths=path_count(config, agent),
        hops=config.hops or max_hops,
        rounds=config.rounds,
        trust=trust if config.trust is None else config.trust,
        votes=config.votes or votes,
        reader=reader,
        constrain=config.constrain or "kb",
        examples=config.examples,
        temperature=config.temperature or 0.0,
    )
