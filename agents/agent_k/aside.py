"""Call slow functions beside the event loop, in a thread that does not keep the process alive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def call_aside(function: Callable[[], T]) -> T:
    """Return what `function` returns, and raise what it raises.

    The event loop goes on meanwhile, so that ctrl-C is heard. A cancelled call is left to itself: its daemon thread
    ends with the process, where a thread of an executor would be waited for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # cancelled
        if error is None:
            done.set_result(value)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def work() -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="aside", daemon=True).start()
    return await done
