"""Runs a list of items with a fixed number in flight.

There are no batches: a slow item delays only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def run_items(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], concurrency: int
) -> AsyncGenerator[tuple[Item, Result | Exception], None]:
    """Yield (item, its result or exception) in the order of completion.

    Closing it early (`contextlib.aclosing`: a break or an error in the consumer does not do it) cancels the items in
    flight."""
    waiting = iter(items)
    in_flight: dict[asyncio.Task[Result], Item] = {}

    def refill() -> None:
        while len(in_flight) < concurrency:
            try:
                item = next(waiting)
            except StopIteration:
                return
            in_flight[asyncio.ensure_future(work(item))] = item

    try:
        refill()
        while in_flight:
            done, _ = await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                item = in_flight.pop(task)
                error = task.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield item, (error if error is not None else task.result())
            refill()
    finally:
        for task in in_flight:
            task.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)
