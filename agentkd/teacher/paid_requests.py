"""Requests that are paid for once, and stay within the run's limits on tokens and money.

An answer comes from the cache on disk (also after `kill -9`), from an equal request that is in flight, or from the
server. `transport.py` sends, `cache.py` keeps, `budget.py` limits.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from agentkd.errors import AgentkdError, PutOff
from agentkd.runs.progress import Say
from agentkd.teacher.budget import Budget, Cost
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import Reply
from agentkd.teacher.dialect import LEARNED, describe_change, leave_out, list_fields
from agentkd.teacher.options import Endpoint, TeacherOptions
from agentkd.teacher.reply import NoReply, mark_cached, read_reply
from agentkd.teacher.transport import CancelledInFlight, Refused
from agentkd.trace import Usage

T = TypeVar("T")


class Wire(Protocol):
    """The carrier of requests: a `Transport`, or a `BatchFolder`.

    `notes` are lines for the user, `answered` is the number of answers that have come."""

    answered: int

    @property
    def notes(self) -> Sequence[str]: ...

    def admit(self, key: str) -> None: ...

    async def post(
        self, path: str, data: bytes, *, key: str, fields: Collection[str], seconds: float, read: Callable[[Any], T]
    ) -> T: ...

    def stop(self) -> None: ...

    async def close(self) -> None: ...


class AwaitsBatch(PutOff):
    """The answer comes with a batch; until then its cost stays reserved."""


class PaidRequests:
    """Answers requests to one endpoint from the cache, from an equal request in flight, or over the wire."""

    def __init__(
        self, endpoint: Endpoint, *, cache: Cache | None, options: TeacherOptions, wire: Wire, say: Say
    ) -> None:
        self.endpoint, self.cache, self.options, self.wire, self.say = endpoint, cache, options, wire, say
        self.refused: frozenset[str] = frozenset()  # what the server does not take, and is not sent any more
        spent = Cost(cache.tokens, cache.usd) if cache is not None else Cost(0, 0.0)
        self.budget = Budget(max_tokens=options.max_tokens, max_usd=options.max_usd, spent=spent)
        self._in_flight: dict[str, asyncio.Future[Reply | AgentkdError | None]] = {}

    def is_cached(self, path: str, request: dict[str, Any]) -> bool:
        """Whether the answer to a request is in the cache."""
        return self.cache is not None and self._key(path, json.dumps(request).encode()) in self.cache

    async def ask(self, path: str, request: dict[str, Any]) -> Reply:
        """The answer to a request: from the cache, from an equal request in flight, or from the server.

        Raises WorldError (with `retry`) when the server does not answer, TokenLimit or BudgetLimit at the run's limits,
        PutOff when the run is stopping."""
        data = json.dumps(request).encode()
        key = self._key(path, data)
        while True:
            if self.cache is not None and (hit := self.cache.reply(key)) is not None:
                return mark_cached(hit)
            if (shared := self._in_flight.get(key)) is None:
                break
            outcome = await asyncio.shield(shared)
            if isinstance(outcome, AgentkdError):
                raise outcome
            if outcome is not None:  # None: the other was cancelled, and we ask ourselves
                return mark_cached(outcome)
        own = asyncio.get_running_loop().create_future()
        self._in_flight[key] = own
        result: Reply | AgentkdError | None = None
        try:
            return (result := await self._pay(key, path, request, data))
        except AgentkdError as error:
            result = error
            raise
        finally:
            del self._in_flight[key]
            own.set_result(result)

    async def _pay(self, key: str, path: str, request: dict[str, Any], data: bytes) -> Reply:
        """Send a request within the budget; its answer is on disk before anybody sees it."""
        cost = self.estimate(request, len(data))
        lost: list[Usage] = []

        def read(content: Any) -> Reply:
            try:
                return read_reply(content, self.endpoint.price, seconds=time.monotonic() - start)
            except NoReply as error:
                lost.append(error.usage)
                raise

        self.wire.admit(key)
        await self.budget.reserve(cost)
        start = time.monotonic()
        try:
            reply = await self._send(key, path, request, data, read)
        except AwaitsBatch:
            self.budget.put_off()
            raise
        except CancelledInFlight:  # the server may bill an unread answer: count the upper estimate
            self.budget.settle(cost, self._waste(key, cost))
            raise asyncio.CancelledError from None
        except BaseException:
            self.budget.settle(cost, self._waste(key, sum_cost(lost)))
            raise
        usage = reply.usage
        # where no usage is reported, the estimate counts
        paid = Cost(usage.tokens, usage.usd) if usage.tokens else cost
        wasted = self._waste(key, sum_cost(lost))
        self.budget.settle(cost, Cost(paid.tokens + wasted.tokens, paid.usd + wasted.usd))
        self.budget.learn(len(data), count_messages(request), usage.prompt_tokens)
        if self.cache is not None:
            self.cache.put(key, reply.model_dump(mode="json"), tokens=paid.tokens, usd=paid.usd)
        return reply

    def _waste(self, key: str, cost: Cost) -> Cost:
        """Write down what was paid for no answer: it counts in a run that resumes, too."""
        if self.cache is not None and cost.tokens:
            # under another key, since the request itself is still to be answered
            other = hashlib.sha256(f"cut {key}".encode()).hexdigest()
            self.cache.put(other, {"cut": key}, tokens=cost.tokens, usd=cost.usd)
        return cost

    async def _send(
        self, key: str, path: str, request: dict[str, Any], data: bytes, read: Callable[[Any], Reply]
    ) -> Reply:
        """Send a request without what the server has refused before, and learn from what it refuses now.

        A refusal counts once the request has been answered without the field."""
        seconds = self.options.timeout + self.options.token_timeout * answer_tokens(request)
        refused = self.refused
        while True:
            sent = leave_out(request, refused)
            if sent is not request:
                data = json.dumps(sent).encode()
            try:
                reply = await self.wire.post(path, data, key=key, fields=list_fields(sent), seconds=seconds, read=read)
            except Refused as error:
                field = error.refusal.field
                if field not in LEARNED or field in refused:
                    raise
                refused |= {field}
                continue
            self.learn(refused)
            return reply

    def learn(self, refused: Collection[str]) -> None:
        """Leave fields out from now on, and say so."""
        for field in sorted(set(refused) - self.refused):
            self.say(f"{self.endpoint.name}: {describe_change(field)}, from now on")
        self.refused |= frozenset(refused)

    def estimate(self, request: dict[str, Any], size: int) -> Cost:
        """An upper estimate of the cost of a request of `size` bytes."""
        prompt = self.budget.prompt_tokens(size, count_messages(request))
        completion = answer_tokens(request) * request.get("n", 1)
        price = self.endpoint.price
        return Cost(prompt + completion, price.usd(prompt, completion) if price else 0.0)

    async def close(self) -> None:
        """Close the wire and the cache."""
        await self.wire.close()
        if self.cache is not None:
            self.cache.close()

    def _key(self, path: str, data: bytes) -> str:
        return hashlib.sha256(f"{self.endpoint.name}\n{path}\n".encode() + data).hexdigest()


def sum_cost(usages: Sequence[Usage]) -> Cost:
    """The cost of several responses."""
    return Cost(sum(usage.tokens for usage in usages), sum(usage.usd for usage in usages))


def count_messages(request: dict[str, Any]) -> int:
    """The number of messages of a chat request; 1 for a text to be completed."""
    return len(request["messages"]) if "messages" in request else 1


def answer_tokens(request: dict[str, Any]) -> int:
    """The number of tokens that an answer may have."""
    return int(request.get("max_completion_tokens") or request["max_tokens"])
