"""`agentkd serve`: a model on a port, for any number of commands, until ctrl-C.

What a teacher's own server does for one command, this does for many: the model is loaded once, and
`--teacher URL#MODEL` finds it from any terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import time
from collections.abc import Callable
from typing import Any

from agentkd.config import slug
from agentkd.errors import UserError
from agentkd.models import PACKAGED, find_gguf, find_weights, home, is_hub_name
from agentkd.runs.progress import say
from agentkd.serving.server import (
    LOCAL_SLOTS,
    LOOPBACK,
    ManagedServer,
    check_port,
    llama_server,
    make_wait_reporter,
    reachable,
    vllm_server,
)

CONTEXT = 4096  # tokens of a llama.cpp slot, prompt and answer, as the local teacher has it


def serve(
    model: str, *, host: str, port: int, slots: int | None, vllm_args: str, on_up: Callable[[dict[str, Any]], None]
) -> None:
    """Serve until ctrl-C or SIGTERM, a server's normal end. `on_up` is told what stands where, once it answers.

    Raises UserError or WorldError when the model or the port cannot be had, or the server ends by itself, and
    KeyboardInterrupt when it is stopped before it is up."""
    server = choose(model, host=host, port=port, slots=slots, vllm_args=vllm_args)
    asyncio.run(_until_stopped(server, on_up))


def choose(model: str, *, host: str, port: int, slots: int | None, vllm_args: str) -> ManagedServer:
    """llama.cpp for `local`, the packaged model and GGUF files; vLLM for directories and hub names."""
    if "://" in model or model.startswith("openai:"):
        raise UserError(f"{model!r} is served already: give it as --teacher to the other commands")
    spec = PACKAGED if model == "local" else model.removeprefix("local:").removeprefix("vllm:")
    llama = not model.startswith("vllm:") and (spec == PACKAGED or spec.endswith(".gguf"))
    if llama and vllm_args:
        raise UserError(f"{model} is served by llama.cpp: leave --vllm-args out, or name a model that vLLM can serve")
    gguf = find_gguf(spec) if llama else None
    if gguf is None and spec != PACKAGED and not is_hub_name(spec):
        find_weights(spec)  # a directory that is none is told before a vLLM that is missing
    if port:
        check_port(host, port)
    place = port or f"process-{os.getpid()}"
    log = home() / "logs" / f"serve-{slug(gguf.stem if gguf else spec)}-{place}.log"
    with contextlib.suppress(OSError):
        log.unlink()  # of the server that had the port before
    shared: dict[str, Any] = {"log": log, "host": host, "port": port or None, "on_wait": make_wait_reporter(say)}
    if gguf is not None:
        # The packaged model keeps its name, by which agents know how it is to be asked.
        name = PACKAGED if spec == PACKAGED else None
        return llama_server(gguf, slots=slots or LOCAL_SLOTS, context=CONTEXT, name=name, **shared)
    in_flight = ["--max-num-seqs", str(slots)] if slots else []
    return vllm_server(spec, args=[*in_flight, *shlex.split(vllm_args)], **shared)


async def _until_stopped(server: ManagedServer, on_up: Callable[[dict[str, Any]], None]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, task.cancel)
    start, up = time.monotonic(), False
    say(f"starting {server.model} (log: {server.log})")
    try:
        async with server:
            up = True
            seconds = round(time.monotonic() - start, 1)
            on_up({**ready(server), "seconds": seconds})
            await server.ended()
    except asyncio.CancelledError:
        if not up:
            raise KeyboardInterrupt from None
        say(f"{server.model} is stopped")


def ready(server: ManagedServer) -> dict[str, Any]:
    """What a user needs to know of a server that is up."""
    return {
        "url": server.url,
        "model": server.model,
        "teacher": f"{server.url}#{server.model}",
        "log": str(server.log),
        "open": reachable(server.host) not in (LOOPBACK, "localhost", "::1") or server.host != reachable(server.host),
    }


def describe(up: dict[str, Any]) -> str:
    """The lines that a user copies."""
    body = f'{{"model": "{up["model"]}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    lines = [
        f"{up['model']} is up after {up['seconds']} s; ctrl-C ends it",
        f"  --teacher {up['teacher']}",
        f"  curl {up['url']}/chat/completions -H 'Content-Type: application/json' -d '{body}'",
    ]
    if up["open"]:
        lines.append("  no key protects it: everybody who reaches this machine may use it")
    return "\n".join(lines)
