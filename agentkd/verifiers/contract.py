"""What a verifier is, and one bounded call of it: it may raise, hang or return anything, and costs only its sample."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from agentkd.errors import UserError, WorldError
from agentkd.trace import Check, Evidence, Usage

Item = Mapping[str, Any]
PASS = 0.5  # a score passes from here on, unless its verifier says otherwise (`at_least`)
TIMEOUT = 30.0  # seconds for one call
SHOWN = 200  # characters of a detail


class Finding(NamedTuple):
    """A check with more than its outcome: evidence that can be looked at, and the cost of a model that was asked."""

    check: Check
    evidence: tuple[Evidence, ...] = ()
    usage: Usage = Usage()


Judgement = bool | float | Check | Finding
Verifier = Callable[[dict[str, Any], str], Judgement | Awaitable[Judgement]]


class VerifierFailed(Exception):
    """A verifier raised, ran out of time, or returned what is no judgement; the text says which, in one line."""


def name_of(verifier: Verifier) -> str:
    """The name of a verifier on record: its attribute `name`, else that of the function or class."""
    name = getattr(verifier, "name", None) or getattr(verifier, "__name__", None)
    return str(name or type(verifier).__name__)


def read_judgement(name: str, value: object, at_least: float = PASS) -> Finding:
    """Read what a verifier returned. Raises VerifierFailed for anything that is no judgement."""
    if isinstance(value, Finding):
        return value
    if isinstance(value, Check):
        return Finding(value)
    if isinstance(value, bool) or type(value).__name__ == "bool_":  # NumPy's
        return Finding(Check(name=name, passed=bool(value)))
    if isinstance(value, int | float) or hasattr(value, "__float__"):
        score = float(value)
        if math.isnan(score):
            raise VerifierFailed("it returned NaN: return a bool, a score from 0 to 1 or a Check")
        return Finding(Check(name=name, passed=score >= at_least, score=score))
    raise VerifierFailed(f"it returned {type(value).__name__}: return a bool, a score from 0 to 1 or a Check")


async def call_verifier(verifier: Verifier, item: Item, answer: str, *, timeout: float | None = TIMEOUT) -> Finding:
    """Call a verifier within `timeout` seconds; None where it keeps its own time.

    A plain function runs in a thread of its own, which is left behind where it hangs. Raises VerifierFailed where it
    raises, hangs or returns no judgement; a WorldError (a judge's server is down) goes through, as the verdict is still
    open."""
    name = name_of(verifier)
    try:
        async with asyncio.timeout(timeout):
            if is_async(verifier):
                value: object = verifier(dict(item), answer)
            else:
                value = await _in_thread(lambda: verifier(dict(item), answer))
            if inspect.isawaitable(value):
                value = await value
    except TimeoutError:
        raise VerifierFailed(f"it took longer than {timeout:g} s") from None
    except (VerifierFailed, WorldError):
        raise
    except Exception as error:
        raise VerifierFailed(describe_error(error)) from error
    return read_judgement(name, value, getattr(verifier, "at_least", PASS))


def is_async(verifier: Verifier) -> bool:
    """Whether calling it makes a coroutine at once, without work in the caller's thread."""
    return inspect.iscoroutinefunction(verifier) or inspect.iscoroutinefunction(getattr(verifier, "__call__", None))  # noqa: B004


def describe_error(error: BaseException) -> str:
    """An error in one short line: the text of ours, else its type and the first line of its text."""
    text = " ".join(str(error).split())
    if not isinstance(error, UserError):
        text = f"it raised {type(error).__name__}{': ' if text else ''}{text}"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


async def _in_thread(work: Callable[[], object]) -> object:
    """Run `work` in a daemon thread: a pool would run out of threads that hang, and wait for them at the end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()

    def settle(value: object, error: BaseException | None) -> None:
        if future.done():  # too late
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def run() -> None:
        value: object = None
        error: BaseException | None = None
        try:
            value = work()
        except StopIteration as stop:  # a future refuses it
            error = RuntimeError(f"StopIteration: {stop}")
        except BaseException as caught:
            error = caught if isinstance(caught, Exception) else VerifierFailed(describe_error(caught))
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:  # the loop is closed
            return

    threading.Thread(target=run, daemon=True, name="verifier").start()
    return await future
