"""`agentkd serve STUDENT --kb FILE`: a student that answers with evidence, on a port, until ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from typing import Any

from agentkd.ask.endpoint import SLOTS, Endpoint
from agentkd.ask.student import open_answerer
from agentkd.config import EvalConfig
from agentkd.runs.progress import say
from agentkd.runs.signals import catch_signals
from agentkd.serving.ports import take_port
from agentkd.serving.serve import format_request
from agentkd.serving.visitors import LOOPBACK_NAMES


def serve_student(
    config: EvalConfig,
    *,
    host: str,
    port: int,
    names: Collection[str],
    slots: int | None,
    evidence: bool,
    on_up: Callable[[dict[str, Any]], None],
) -> None:
    """Serve the student of a config until ctrl-C, SIGTERM or SIGHUP, which is a server's normal end.

    `names` are further host names by which clients may ask. `on_up` gets url, model and what else a user needs, once
    the server answers. Raises UserError or WorldError when student, knowledge base or port are not available, and
    KeyboardInterrupt when it is stopped before it is up."""

    async def run() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        start, up = time.monotonic(), False
        try:
            with catch_signals(lambda *_: loop.call_soon_threadsafe(task.cancel)):
                async with (
                    open_answerer(config) as answerer,
                    Endpoint(answerer, host, listener, names, evidence=evidence, slots=slots or SLOTS) as endpoint,
                ):
                    up = True
                    on_up({**endpoint_facts(endpoint), "seconds": round(time.monotonic() - start, 1)})
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not up:
                raise KeyboardInterrupt from None
            say(f"{config.model} is stopped")

    with take_port(host, port) as listener, contextlib.suppress(BrokenPipeError):  # before anything is loaded
        asyncio.run(run())


def endpoint_facts(endpoint: Endpoint) -> dict[str, Any]:
    """Facts that a user needs about a student that is up, as `serve --json` prints them."""
    return {"url": endpoint.url, "model": endpoint.model, "open": endpoint.host not in LOOPBACK_NAMES}


def format_up(up: dict[str, Any]) -> list[str]:
    """Format `endpoint_facts` as lines that a user can copy."""
    state = f"{up['model']} answers after {up['seconds']} s; ctrl-C ends it"
    return [state, f"  OPENAI_BASE_URL={up['url']} OPENAI_API_KEY=none", *format_request(up, "QUESTION")]
