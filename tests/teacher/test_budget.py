"""Limits: reservations, requests that wait, and requests that are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agentkd.teacher.budget import Budget, BudgetLimit, Cost, TokenLimit

NOTHING = Cost(0, 0.0)


def budget(max_tokens: int | None = None, max_usd: float | None = None, spent: Cost = NOTHING) -> Budget:
    return Budget(max_tokens=max_tokens, max_usd=max_usd, spent=spent)


def use(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(work(), 30)

    asyncio.run(run())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_does_not_fit_waits_and_takes_what_is_left_over() -> None:
    async def work() -> None:
        limit = budget(max_tokens=100)
        first, second = Cost(60, 0.0), Cost(50, 0.0)
        await limit.reserve(first)
        waiting = asyncio.ensure_future(limit.reserve(second))
        await turns()
        assert not waiting.done()
        limit.settle(first, Cost(10, 0.0))
        await waiting
        assert limit.spent.tokens == 10 and limit.reserved.tokens == 50 and limit.in_flight == 1

    use(work)


def test_once_the_limit_is_reached_all_who_wait_are_told_and_nothing_flies() -> None:
    async def work() -> None:
        limit = budget(max_usd=1.0)
        flying = Cost(0, 0.9)
        await limit.reserve(flying)
        waiting = [asyncio.ensure_future(limit.reserve(Cost(0, usd))) for usd in (0.5, 0.4, 0.3)]
        await turns()
        assert not any(task.done() for task in waiting)
        limit.settle(flying, Cost(0, 0.8))
        outcome = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(type(error) is BudgetLimit for error in outcome)
        with pytest.raises(BudgetLimit, match=r"\$0.8000 spent and the next request may cost \$0.5000, --max-usd is 1"):
            await limit.reserve(Cost(0, 0.01))  # it would fit, but the run is ending

    use(work)


def test_what_is_put_off_stays_reserved() -> None:
    async def work() -> None:
        limit = budget(max_tokens=100)
        limit.expect(Cost(30, 0.0))
        await limit.reserve(Cost(60, 0.0))
        limit.put_off()
        with pytest.raises(TokenLimit, match="0 tokens used and the next request may take 20, --max-tokens is 100"):
            await limit.reserve(Cost(20, 0.0))

    use(work)


def test_what_was_spent_before_counts() -> None:
    async def work() -> None:
        limit = budget(max_tokens=100, spent=Cost(95, 0.0))
        await limit.reserve(Cost(5, 9.9))
        with pytest.raises(TokenLimit):
            await budget(max_tokens=100, spent=Cost(95, 0.0)).reserve(Cost(6, 0.0))

    use(work)


def test_without_limits_nothing_waits() -> None:
    async def work() -> None:
        limit = budget()
        for _ in range(100):
            await limit.reserve(Cost(10**9, 1e9))

    use(work)


def test_estimates_learn_what_a_byte_costs() -> None:
    limit = budget()
    before = limit.prompt_tokens(1000, 2)
    limit.learn(1000, 2, 0)  # a server that counts nothing teaches nothing
    assert limit.prompt_tokens(1000, 2) == before >= 600
    limit.learn(1000, 2, 282)
    assert limit.prompt_tokens(1000, 2) == 32 + 300, "a fifth above what was seen"
    limit.learn(1000, 2, 132)
    assert limit.prompt_tokens(1000, 2) == 332, "the most of all"
    limit.learn(1000, 2, 932)
    assert limit.prompt_tokens(1000, 2) == 32 + 1080
