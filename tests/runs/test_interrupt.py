"""The first ctrl-C lets a block end in order, the second one ends it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from agentkd.runs.interrupt import Interrupt


async def interrupted(times: int, seconds: float, seen: list[str]) -> None:
    """A block that works for `seconds` and is interrupted so many times by real signals."""
    with Interrupt(lambda: seen.append("stop")) as interrupt:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.15)  # signals that come together are one
        await asyncio.sleep(seconds)
        seen.append(f"ended, {interrupt.requested}")


def test_the_first_lets_the_block_end() -> None:
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted(1, 0.05, seen))
    assert seen == ["stop", "ended, True"]


def test_the_second_ends_it_at_once() -> None:
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted(2, 3.0, seen))
    assert seen == ["stop"]


def test_without_one_the_block_is_as_it_was() -> None:
    seen: list[str] = []
    asyncio.run(interrupted(0, 0.0, seen))
    assert seen == ["ended, False"]
