"""`agentkd serve`: a model on a port, for any number of commands, until ctrl-C.

The model is loaded once, and `--teacher URL#MODEL` uses it from any terminal. The model server listens on a private
socket, and a gateway (`gateway.py`) on the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from agentkd.config import slug
from agentkd.errors import UserError
from agentkd.models import PACKAGED, agentkd_home, find_gguf, find_weights, is_hub_name
from agentkd.runs.progress import say
from agentkd.runs.signals import catch_signals
from agentkd.serving.gateway import Gateway
from agentkd.serving.llama import LOCAL_CONTEXT, LOCAL_SLOTS, make_llama_server
from agentkd.serving.managed import ManagedServer, ServerOptions, make_wait_reporter
from agentkd.serving.ports import take_port
from agentkd.serving.visitors import LOOPBACK_NAMES
from agentkd.serving.vllm import make_vllm_server


def serve(
    model: str,
    *,
    host: str,
    port: int,
    names: Collection[str],
    slots: int | None,
    vllm_args: str,
    on_up: Callable[[dict[str, Any]], None],
) -> None:
    """Serve a model until ctrl-C, SIGTERM or SIGHUP, which is a server's normal end.

    `names` are further host names by which clients may ask. `on_up` gets the `server_facts` once the server answers.
    Raises UserError or WorldError when the model or the port is not available, or the server ends by itself, and
    KeyboardInterrupt when it is stopped before it is up."""
    with take_port(host, port) as listener, private_folder() as folder:  # before anything is loaded
        server = choose_server(model, port=port, slots=slots, vllm_args=vllm_args, folder=folder)
        assert server.socket is not None
        asyncio.run(_until_stopped(server, Gateway(server.socket, host, listener, names), on_up))


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that no other user can enter, for a socket: a socket's path has at most 107 bytes."""
    folder = tempfile.mkdtemp(prefix="serve-")
    if len(folder) > 80:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="agentkd-serve-", dir="/tmp")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose_server(model: str, *, port: int, slots: int | None, vllm_args: str, folder: Path) -> ManagedServer:
    """Make the server of a model, on a socket in `folder`: llama.cpp for `local`, the packaged model and GGUF files,
    else vLLM."""
    if "://" in model or model.startswith("openai:"):
        raise UserError(f"{model!r} is served already: give it as --teacher to the other commands")
    spec = PACKAGED if model == "local" else model.removeprefix("local:").removeprefix("vllm:")
    llama = not model.startswith("vllm:") and (spec == PACKAGED or spec.endswith(".gguf"))
    if llama and vllm_args:
        raise UserError(f"{model} is served by llama.cpp: leave --vllm-args out, or name a model that vLLM can serve")
    gguf = find_gguf(spec) if llama else None
    if gguf is None and spec != PACKAGED and not is_hub_name(spec):
        find_weights(spec)  # report a bad directory before a missing vLLM
    place = port or f"process-{os.getpid()}"
    log = agentkd_home() / "logs" / f"serve-{slug(gguf.stem if gguf else spec)}-{place}.log"
    with contextlib.suppress(OSError):
        log.unlink()  # from an earlier server on this port
    options = ServerOptions(log=log, socket=folder / "model.sock", on_wait=make_wait_reporter(say))
    if gguf is not None:
        # The packaged model keeps its name: agents choose their prompts by it.
        name = PACKAGED if spec == PACKAGED else None
        return make_llama_server(gguf, slots=slots or LOCAL_SLOTS, context=LOCAL_CONTEXT, options=options, name=name)
    in_flight = ["--max-num-seqs", str(slots)] if slots else []
    return make_vllm_server(spec, args=[*in_flight, *shlex.split(vllm_args)], options=options)


async def _until_stopped(server: ManagedServer, gateway: Gateway, on_up: Callable[[dict[str, Any]], None]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    start, up = time.monotonic(), False
    say(f"starting {server.model} (log: {server.log})")
    try:
        with catch_signals(lambda *_: loop.call_soon_threadsafe(task.cancel)):
            async with server, gateway:
                up = True
                seconds = round(time.monotonic() - start, 1)
                on_up({**server_facts(server, gateway), "seconds": seconds})
                await server.wait_until_ended()
    except asyncio.CancelledError:
        if not up:
            raise KeyboardInterrupt from None
        say(f"{server.model} is stopped")


def server_facts(server: ManagedServer, gateway: Gateway) -> dict[str, Any]:
    """Facts that a user needs about a server that is up, as `serve --json` prints them."""
    return {
        "url": gateway.url,
        "model": server.model,
        "teacher": f"{gateway.url}#{server.model}",
        "log": str(server.log),
        "open": gateway.host not in LOOPBACK_NAMES,
    }


def format_facts(up: dict[str, Any]) -> list[str]:
    """Format `server_facts` as lines that a user can copy."""
    state = f"{up['model']} is up after {up['seconds']} s; ctrl-C ends it"
    return [state, f"  --teacher {up['teacher']}", *format_request(up, "Hello")]


def format_request(up: dict[str, Any], question: str) -> list[str]:
    """A request to a server that is up, to copy, and a warning where anybody may ask it."""
    body = f'{{"model": "{up["model"]}", "messages": [{{"role": "user", "content": "{question}"}}]}}'
    lines = [f"  curl {up['url']}/chat/completions -H 'Content-Type: application/json' -d '{body}'"]
    if up["open"]:
        lines.append("  no key protects it: everybody who reaches this machine may use it")
    return lines
