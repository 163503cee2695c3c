"""Runs a list of items: a fixed number in flight, refilled as each one ends.

No batches: a slow item holds up nobody but itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def run_items(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], concurrency: int
) -> AsyncIterator[tuple[Item, Result | Exception]]:
    """Yield (item, result or the exception it ended in) in the order of completion.

    Leaving the loop early (break, ctrl-C, an error in the consumer) cancels what is still in flight."""
    waiting = iter(items)
    flying: dict[asyncio.Task[Result], Item] = {}

    def refill() -> None:
        while len(flying) < concurrency:
            try:
                item = next(waiting)
            except StopIteration:
                return
            flying[asyncio.ensure_future(work(item))] = item

    try:
        refill()
        while flying:
            done, _ = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                item = flying.pop(task)
                error = task.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield item, (error if error is not None else task.result())
            refill()
    finally:
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
