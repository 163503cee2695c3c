"""A fixed number in flight, refilled one by one; nothing is left running."""

from __future__ import annotations

import asyncio

import pytest

from agentkd.runs.engine import run_items


def test_never_more_than_asked_and_never_fewer_while_there_is_work() -> None:
    flying, most = 0, 0

    async def work(item: int) -> int:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0)
        flying -= 1
        return item * item

    async def run() -> dict[int, int | Exception]:
        return {item: result async for item, result in run_items(range(50), work, 7)}

    assert asyncio.run(run()) == {n: n * n for n in range(50)}
    assert most == 7


def test_a_slow_item_holds_up_nobody() -> None:
    gate = asyncio.Event()
    order: list[str] = []

    async def work(item: str) -> None:
        if item == "slow":
            await gate.wait()

    async def run() -> None:
        async for item, _ in run_items(["slow", *"abcdefgh"], work, 2):
            order.append(item)
            if item == "h":
                gate.set()

    asyncio.run(run())
    assert order == [*"abcdefgh", "slow"]


def test_an_error_comes_back_with_its_item() -> None:
    async def work(item: int) -> int:
        return 1 // item

    async def run() -> list[tuple[int, int | Exception]]:
        return [pair async for pair in run_items([1, 0], work, 1)]

    (_, one), (item, error) = asyncio.run(run())
    assert one == 1 and item == 0 and isinstance(error, ZeroDivisionError)


def test_what_is_no_ordinary_error_ends_the_loop() -> None:
    class Stop(BaseException):
        pass

    async def work(item: int) -> None:
        raise Stop

    async def run() -> None:
        async for _ in run_items([1], work, 1):
            raise AssertionError("yielded")

    with pytest.raises(Stop):
        asyncio.run(run())


@pytest.mark.parametrize("stop", ["break", "raise"])
def test_leaving_early_cancels_what_is_in_flight(stop: str) -> None:
    cancelled: list[int] = []

    async def work(item: int) -> None:
        try:
            await asyncio.sleep(0 if item == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    async def run() -> None:
        jobs = run_items(range(10), work, 3)
        try:
            async for _ in jobs:
                if stop == "raise":
                    raise RuntimeError
                break
        except RuntimeError:
            pass
        await jobs.aclose()
        assert sorted(cancelled) == [1, 2]  # here already: nothing outlives the loop

    asyncio.run(run())
