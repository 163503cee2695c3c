"""The agents' memory: worked examples from verified traces, searched by similarity to a question.

KD-CoT (arXiv 2308.13259, section 3.3) shows the most similar finished question. A path is one short line, so a prompt
has room for several examples. Each question gives its verified trace of the highest reward.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from agentkd.agents.survey import proven_label, trace_reward
from agentkd.prompts import demonstrations
from agentkd.proof import Proof
from agentkd.retrievers.bm25 import score_texts
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.trace import Trace

if TYPE_CHECKING:
    from agentkd.retrievers.dense import Encoder, Vectors

SHARPNESS = 20.0  # nats per unit of cosine: examples unlike the question get no weight
FAR, NEAR = 0.5, 0.8  # cosines of the nearest example: of another task, and of the same
OTHER, SAME = 0.8, 1.0  # of another question of the task, and of the same in other words


class Example(NamedTuple):
    """A question without its topics' names, and the label of its proven path. `id` names the question."""

    id: str
    question: str
    label: str


class Recall(NamedTuple):
    """The shares of labels among the examples most like a question.

    `likeness` is the cosine of the nearest one; None without an encoder, whose scale it needs."""

    shares: dict[str, float]
    likeness: float | None

    @property
    def nearness(self) -> float:
        """How much the examples tell: from 0, for those of another task, to 1, for those of the same, or unknown."""
        return 1.0 if self.likeness is None else rise(self.likeness, FAR, NEAR)

    @property
    def familiarity(self) -> float | None:
        """Whether the question itself is among the examples, in other words perhaps: from 0 to 1; None if unknown."""
        return None if self.likeness is None else rise(self.likeness, OTHER, SAME)


def rise(value: float, low: float, high: float) -> float:
    """From 0 at `low` and below, in a straight line, to 1 at `high` and above."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


class Memory:
    """Worked examples with a search by similarity: by the encoder where there is one, else by BM25."""

    def __init__(self, examples: Iterable[Example], encoder: Encoder | None) -> None:
        self.examples = list(examples)
        self.encoder = encoder

    @cached_property
    def _vectors(self) -> Vectors:
        assert self.encoder is not None
        return self.encoder.labels([example.question for example in self.examples])

    def _scores(self, query: str) -> npt.NDArray[np.float64]:
        """The likeness of each example to a masked question, as logits."""
        if self.encoder is not None:
            return SHARPNESS * self.encoder.similarities(query, self._vectors).astype(np.float64)
        return score_texts(query, [example.question for example in self.examples]).astype(np.float64)

    def recall(self, id: str, question: str, topics: Sequence[str]) -> Recall:
        """The share of each label among examples, weighted by their likeness to the question.

        The weights are a softmax over the likeness of all examples but the question's own."""
        others = [i for i, example in enumerate(self.examples) if example.id != id]
        if not others:
            return Recall({}, 0.0)
        scores = self._scores(mask_topics(question, topics))[others]
        weights = np.exp(scores - scores.max())
        found: dict[str, float] = defaultdict(float)
        for i, weight in zip(others, weights / weights.sum(), strict=True):
            found[self.examples[i].label] += float(weight)
        return Recall(dict(found), None if self.encoder is None else float(scores.max()) / SHARPNESS)

    def nearest(self, id: str, question: str, topics: Sequence[str], k: int) -> list[Example]:
        """The k examples most like the question, the nearest last, where a model looks first.

        The question's own example is left out: it would give the answer away."""
        if not self.examples:
            return []
        scores = self._scores(mask_topics(question, topics))
        found = [self.examples[i] for i in np.argsort(-scores, kind="stable") if self.examples[i].id != id]
        return found[:k][::-1]


@dataclass(frozen=True)
class MemorySearch:
    """A memory as an agent searches it. `lock` guards the encoder, which the retriever may share."""

    memory: Memory | None
    shown: int
    lock: asyncio.Lock

    async def examples(self, id: str, question: str, topics: Sequence[str]) -> list[Example]:
        """The `shown` worked examples most like a question, the most similar last."""
        if self.memory is None or not self.shown:
            return []
        async with self.lock:
            return await asyncio.to_thread(self.memory.nearest, id, question, topics, self.shown)

    async def recall(self, id: str, question: str, topics: Sequence[str]) -> Recall:
        """The shares of labels among similar questions (`Memory.recall`); empty without a memory."""
        if self.memory is None:
            return Recall({}, None)
        async with self.lock:
            return await asyncio.to_thread(self.memory.recall, id, question, topics)


def examples_from_traces(traces: Iterable[Trace]) -> list[Example]:
    """One example per question, from its best verified trace."""
    best: dict[str, tuple[float, Example]] = {}
    for trace in traces:
        proof = Proof.of(trace)
        label = None if proof.others else proven_label(trace)
        if label is None or (trace.id in best and trace_reward(trace) <= best[trace.id][0]):
            continue
        question = mask_topics(trace.question, proof.topics)
        best[trace.id] = (trace_reward(trace), Example(trace.id, question, label))
    return [example for _, example in best.values()]


def packaged_examples() -> list[Example]:
    """The packaged examples on geography, made by `scripts/build_demonstrations.py`."""
    return [
        Example(
            demo["id"],
            mask_topics(demo["question"], demo["rounds"][0]["topics"]),
            " > ".join(done["label"] for done in demo["rounds"]),
        )
        for demo in demonstrations("kd_cot/demonstrations")
    ]
