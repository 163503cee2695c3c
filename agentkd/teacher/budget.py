"""The run's limits on tokens and money.

The cost of a request is reserved before it is sent, and settled when its answer is there. So a limit holds with any
number of requests in flight: they share what is left, and near the limit fewer are sent. The reservation is an upper
estimate (`prompt bytes × 1.2 × the most tokens per byte seen so far + max_tokens`), so a run stops before its limit
rather than after it. Where a server writes more than it was asked for, the run exceeds the limit by that much.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from agentkd.errors import WorldError

FIRST_RATE = 0.6  # tokens per byte of a prompt's JSON, until a server has counted some; English has about 0.25
LEAST_RATE, MARGIN = 0.05, 1.2
FRAME = 16  # tokens that a chat template adds to each message, about


class TokenLimit(WorldError):
    """The run has used the tokens that `--max-tokens` allows."""


class BudgetLimit(TokenLimit):
    """The run has spent the money that `--max-usd` allows."""


class Cost(NamedTuple):
    """Tokens, prompt and completion, and their price."""

    tokens: int
    usd: float


class Budget:
    """The limits of a run, with the sums that are spent and reserved. None means no limit."""

    def __init__(self, *, max_tokens: int | None, max_usd: float | None, spent: Cost) -> None:
        self.max_tokens, self.max_usd = max_tokens, max_usd
        self.spent = spent
        self.reserved = Cost(0, 0.0)
        self.in_flight = 0
        self._seen = 0.0  # tokens per byte, the most so far
        self._settled = asyncio.Event()
        self._ended: WorldError | None = None

    def prompt_tokens(self, size: int, messages: int) -> int:
        """An upper estimate for a prompt of `size` bytes."""
        rate = max(self._seen * MARGIN, LEAST_RATE) if self._seen else FIRST_RATE
        return round(size * rate) + messages * FRAME

    def learn(self, size: int, messages: int, prompt_tokens: int) -> None:
        """Learn from the server's count: the most tokens per byte so far make the next estimates."""
        if prompt_tokens:
            self._seen = max(self._seen, LEAST_RATE, (prompt_tokens - messages * FRAME) / size)

    async def reserve(self, cost: Cost) -> None:
        """Wait until `cost` fits besides the requests in flight, and reserve it.

        Raises TokenLimit or BudgetLimit once it does not fit although nothing is in flight any more, and for every
        later request."""
        while (error := self._excess(cost)) is not None:
            if self._ended is not None or not self.in_flight:
                self._ended = error
                self._wake()
                raise error
            await self._settled.wait()
        self.in_flight += 1
        self.expect(cost)

    def expect(self, cost: Cost) -> None:
        """Reserve the cost of a request that was sent before and may be billed at any moment."""
        self.reserved = Cost(self.reserved.tokens + cost.tokens, self.reserved.usd + cost.usd)

    def settle(self, cost: Cost, paid: Cost) -> None:
        """Settle a request that has ended and has cost `paid`."""
        self._land()
        self.reserved = Cost(self.reserved.tokens - cost.tokens, self.reserved.usd - cost.usd)
        self.spent = Cost(self.spent.tokens + paid.tokens, self.spent.usd + paid.usd)

    def put_off(self) -> None:
        """Put a request off: it is no longer in flight, and its cost stays reserved."""
        self._land()

    def _land(self) -> None:
        self.in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()

    def _excess(self, cost: Cost) -> WorldError | None:
        if self._ended is not None:
            return self._ended
        tokens = self.spent.tokens + self.reserved.tokens + cost.tokens
        usd = self.spent.usd + self.reserved.usd + cost.usd
        if self.max_tokens is not None and tokens > self.max_tokens:
            return TokenLimit(
                f"{self.spent.tokens} tokens used and the next request may take {cost.tokens}, "
                f"--max-tokens is {self.max_tokens}: raise it to go on"
            )
        if self.max_usd is not None and usd > self.max_usd + 1e-9:
            return BudgetLimit(
                f"${self.spent.usd:.4f} spent and the next request may cost ${cost.usd:.4f}, "
                f"--max-usd is {self.max_usd:g}: raise it to go on"
            )
        return None
