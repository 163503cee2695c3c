"""The teachers that a user can name, opened: `local`, `vllm:MODEL`, `openai:MODEL`, `URL#MODEL`.

The client itself is `client.Teacher`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.serving.server import LOCAL_SLOTS, llama_server, make_wait_reporter, vllm_server
from agentkd.teacher.budget import BudgetLimit, TokenLimit
from agentkd.teacher.cache import Cache
from agentkd.teacher.client import TOKEN_TIMEOUT, Chat, Reply, Teacher
from agentkd.teacher.prices import Price, price_of
from agentkd.trace import Message

__all__ = ["BudgetLimit", "Cache", "Chat", "NoTeacher", "Reply", "Teacher", "TokenLimit", "open_teacher"]

NO_TEACHER = "none"

Progress = Callable[[str], None]


class NoTeacher:
    """Stands where a model would, for agents that ask none."""

    name = NO_TEACHER
    weighs = False

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply:
        raise UserError("this agent asks a model: give --teacher (local, vllm:MODEL, openai:MODEL or URL#MODEL)")

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        return await self.chat([], max_tokens=0)


def split_specs(text: str) -> list[str]:
    """A comma-separated list of teachers. An address without `#MODEL` belongs to the next piece: `URL,URL#MODEL` is
    one teacher with two addresses."""
    found, addresses = [], ""
    for piece in (part.strip() for part in text.split(",")):
        if is_url(piece) and "#" not in piece:
            addresses += f"{piece},"
        elif piece:
            found.append(addresses + piece)
            addresses = ""
    return [*found, addresses.rstrip(",")] if addresses else found


def is_url(spec: str) -> bool:
    return spec.startswith(("http://", "https://"))


def price_for(spec: str, model: str, own: Path | None, max_usd: float | None, say: Progress) -> Price | None:
    """The price of a teacher's tokens. A model on this machine costs nothing, if the user's table does not say
    otherwise; that a price is unknown is said. Raises UserError where `--max-usd` could not be kept."""
    remote = is_url(spec) or spec.startswith("openai:")
    price = price_of(model, own, packaged=remote)
    if price is None and spec.startswith("openai:") and max_usd is not None:
        raise UserError(f"--max-usd cannot be kept, no price is known for '{model}': give prices=FILE.yaml")
    if price is None and (remote or max_usd is not None):
        bound = "" if max_usd is None else ", so --max-usd cannot stop it"
        say(f"no price is known for '{model}': it counts as $0{bound} (prices=FILE.yaml sets one)")
    return price


@asynccontextmanager
async def open_teacher(
    spec: str,
    *,
    run: Path,
    timeout: float = 600.0,
    token_timeout: float = TOKEN_TIMEOUT,
    max_tokens: int | None = None,
    max_usd: float | None = None,
    prices: Path | None = None,
    batch: Path | None = None,
    vllm_args: Sequence[str] = (),
    slots: int = LOCAL_SLOTS,
    say: Progress = lambda line: None,
) -> AsyncIterator[Chat]:
    """Open the teacher that `--teacher` names: `local[:FILE.gguf]`, `vllm:MODEL`, `openai:MODEL`, `URL[,URL]#MODEL`,
    `none`.

    A server that agentkd starts lives as long as the context, its log stands in `run`/logs. Responses are cached in
    `run`/cache. With `batch` nothing is sent or started: requests go into files there (`batch.py`). Raises UserError
    for a spec that names none of these."""
    from agentkd.models import PACKAGED, find_gguf

    if spec == NO_TEACHER:
        yield NoTeacher()
        return
    kind, _, rest = spec.partition(":")
    urls: list[str] = []
    server = None
    if is_url(spec):
        addresses, _, rest = spec.partition("#")
        urls = [url.strip() for url in addresses.split(",")]
        if not rest or not all(map(is_url, urls)):
            raise UserError(f"--teacher {spec} names no model: write URL#MODEL, for example {urls[0]}#my-model")
    elif kind == "openai" and rest:
        urls = [os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")]
    elif batch is not None and kind == "local":
        raise UserError("--batch is for a teacher that others run: vllm:MODEL, openai:MODEL or URL#MODEL, not 'local'")
    elif batch is not None and kind == "vllm" and rest:
        pass
    elif kind == "local":
        log = run / "logs" / "llama.log"
        gguf = find_gguf(rest or PACKAGED)
        server = llama_server(gguf, slots=slots, context=4096, log=log, on_wait=make_wait_reporter(say))
    elif kind == "vllm" and rest:
        server = vllm_server(rest, args=vllm_args, log=run / "logs" / "vllm.log", on_wait=make_wait_reporter(say))
    else:
        raise UserError(f"unknown teacher '{spec}': use local, vllm:MODEL, openai:MODEL or URL#MODEL")
    options: dict[str, Any] = {
        "cache": Cache(run / "cache"),
        "timeout": timeout,
        "token_timeout": token_timeout,
        "max_tokens": max_tokens,
        "max_usd": max_usd,
        "price": price_for(spec, rest or spec, prices, max_usd, say),
        "say": say,
    }
    identity = rest if is_url(spec) else spec
    if batch is not None:
        from agentkd.teacher.batch import open_batch
        from agentkd.teacher.batch_api import BatchApi

        key = os.environ.get("OPENAI_API_KEY")
        api = BatchApi(urls[0], key) if kind == "openai" and key else None
        async with open_batch(rest, identity=identity, folder=batch, api=api, **options) as teacher:
            yield teacher
        return
    if server is None:
        teacher = Teacher(urls, rest, identity=identity, **options)
        try:
            for complaint in await teacher.check():
                say(f"{complaint}; the other addresses carry on")
            yield teacher
        finally:
            await teacher.close()
        return
    say(f"starting {spec} (log: {server.log})")
    async with server:
        teacher = Teacher(server.url, server.model, identity=spec, together=kind != "local", **options)
        try:
            yield teacher
        finally:
            await teacher.close()
