"""The model calls of one sample: each is answered by the teacher, once, and becomes a step.

An agent may ask the same thing twice and mean two answers, as for a vote. So the n-th equal request of a sample is a
request of its own, with a seed of its own, and a resumed run finds the same answers again. Only a request whose answer
never reached the agent, because its client had given up waiting, is the same request when it comes again.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentkd.errors import AgentkdError, SampleFailed
from agentkd.own_agents.protocol import read_messages
from agentkd.teacher.chat import Reply
from agentkd.teacher.client import Teacher
from agentkd.trace import Step, ToolResult, Usage

SEEDS = 1_000_003  # between the seeds of equal requests: more than any run has samples


class BadRequest(ValueError):
    """A request that is none, with the reason."""


@dataclass(frozen=True)
class CallOptions:
    """What holds for every call of a run: most calls of a sample, tokens of an answer where the agent names no bound,
    and the temperature where it names none."""

    most: int
    tokens: int
    temperature: float


@dataclass
class _Asked:
    """One of the equal requests of a sample. `gone` says whether whoever asked has hung up."""

    number: int
    gone: Callable[[], bool]
    delivered: bool = False


@dataclass
class Session:
    """The calls of a sample so far. `error` is the first error of ours that a call met: the sample ends with it."""

    teacher: Teacher
    options: CallOptions
    sample: int
    error: AgentkdError | None = None
    steps: dict[int, Step] = field(default_factory=dict)  # by the order of asking
    tools: list[dict[str, Any]] = field(default_factory=list)
    begun: int = 0
    _asked: dict[bytes, list[_Asked]] = field(default_factory=lambda: defaultdict(list))
    _places: dict[str, int] = field(default_factory=dict)  # of tools, by their JSON
    _in_flight: int = 0
    _since: float = field(default_factory=time.monotonic)
    _own: float = 0.0

    @property
    def own_seconds(self) -> float:
        """The seconds in which no call was in flight: those that the agent itself has taken."""
        return self._own + (0.0 if self._in_flight else time.monotonic() - self._since)

    @property
    def usage(self) -> Usage:
        return Usage.total(step.usage for step in self.steps.values() if step.usage is not None)

    async def answer(
        self, request: Mapping[str, Any], body: bytes | None = None, gone: Callable[[], bool] = lambda: False
    ) -> tuple[Reply, Callable[[], None]]:
        """The reply to a chat request, and what to call once it has reached the agent.

        Requests are equal where their bodies are; by default that is their JSON. `gone` says whether the one who asked
        has hung up.
        Raises BadRequest for a request that is none, and the error of ours that ends the sample."""
        if self.error is not None:
            raise self.error
        try:
            messages = read_messages(request.get("messages"))
            tools = self._place_tools(request.get("tools") or ())
        except (ValueError, TypeError, AttributeError) as error:
            raise BadRequest(f"{error}"[:200]) from None
        own = {"temperature": self.options.temperature} | dict(request)
        asked, again = self._count(json.dumps(request).encode() if body is None else body, gone)
        place = self.begun
        self.begun += not again
        if self.begun > self.options.most:
            raise self._fail(
                SampleFailed(
                    f"the agent made more than {self.options.most} model calls: see whether it loops, or raise "
                    f"agent_calls=…"
                )
            )
        seed = (request.get("seed") or 0) + self.sample + SEEDS * asked.number
        self._enter()
        try:
            reply = await self.teacher.relay(own, bound=self.options.tokens, seed=seed)
        except AgentkdError as error:
            raise self._fail(error) from None
        finally:
            self._leave()
        if not again:
            self.steps[place] = Step(
                kind="call",
                messages=messages,
                output=reply.text,
                tool_calls=reply.tool_calls,
                reasoning=reply.reasoning or None,
                tools=tools,
                usage=reply.usage,
            )

        def deliver() -> None:
            asked.delivered = True

        return reply, deliver

    def _fail(self, error: AgentkdError) -> AgentkdError:
        self.error = self.error or error
        return self.error

    def _count(self, key: bytes, gone: Callable[[], bool]) -> tuple[_Asked, bool]:
        """Which of the equal requests this is, and whether it is one that comes again."""
        before = self._asked[key]
        for each in before:
            if not each.delivered and each.gone():
                each.gone = gone
                return each, True
        before.append(_Asked(len(before), gone))
        return before[-1], False

    def _place_tools(self, tools: Sequence[Any]) -> tuple[int, ...]:
        found = []
        for tool in tools:
            if not isinstance(tool, dict):
                raise ValueError(f"a tool is no object: {str(tool)[:80]}")
            key = json.dumps(tool, sort_keys=True)
            if key not in self._places:
                self._places[key] = len(self.tools)
                self.tools.append(tool)
            found.append(self._places[key])
        return tuple(found)

    def _enter(self) -> None:
        if not self._in_flight:
            self._own += time.monotonic() - self._since
        self._in_flight += 1

    def _leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._since = time.monotonic()

    def steps_with(self, ran: Sequence[ToolResult]) -> tuple[Step, ...]:
        """The steps in their order, with the results of their tool calls as evidence.

        `ran` are the tools that were seen to run. A result that was only told to the model is taken from the message
        that told it; one of a tool that no model called stands in a last step, made by code."""
        steps = [self.steps[place] for place in sorted(self.steps)]
        found: dict[str, deque[ToolResult]] = defaultdict(deque)
        for result in ran:
            found[result.id].append(result)
        told = told_results(steps)
        rest = set(map(id, ran))
        whole = []
        for step in steps:
            evidence = []
            for call in step.tool_calls:  # a server may count its ids anew with every answer: each result counts once
                named = {"name": call.name, "arguments": call.arguments, "id": call.id}
                if found[call.id]:
                    result = found[call.id].popleft()
                    rest.discard(id(result))
                    evidence.append(result.model_copy(update=named))
                elif told[call.id]:
                    evidence.append(ToolResult(**named, result=told[call.id].popleft()))
            whole.append(step.model_copy(update={"evidence": tuple(evidence)}) if evidence else step)
        if left := tuple(result for result in ran if id(result) in rest):
            whole.append(Step(kind="tools", evidence=left))
        return tuple(whole)


def told_results(steps: Sequence[Step]) -> dict[str, deque[str]]:
    """What the model was told of tools' results, by the id of the call, in order.

    Steps repeat what was said before; the one that tells most of a call tells all of it."""
    told: dict[str, deque[str]] = defaultdict(deque)
    for step in steps:
        here: dict[str, deque[str]] = defaultdict(deque)
        for message in step.messages:
            if message.role == "tool" and message.tool_call_id:
                here[message.tool_call_id].append(message.content)
        told.update({name: texts for name, texts in here.items() if len(texts) > len(told[name])})
    return told
