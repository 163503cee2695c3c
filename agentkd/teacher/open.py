"""Opens the teacher that a user names: `local`, `vllm:MODEL`, `openai:MODEL`, `URL#MODEL` or `none`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from agentkd.credentials import is_azure, take_secrets
from agentkd.errors import UserError, did_you_mean
from agentkd.models import PACKAGED, find_gguf, find_weights, is_hub_name
from agentkd.runs.progress import Say
from agentkd.serving.llama import LOCAL_CONTEXT, make_llama_server
from agentkd.serving.managed import ManagedServer, ServerOptions, make_wait_reporter
from agentkd.serving.vllm import make_vllm_server
from agentkd.teacher.address import Address
from agentkd.teacher.batch import open_batch
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import NO_TEACHER, Chat, NoTeacher
from agentkd.teacher.client import Teacher
from agentkd.teacher.options import DEFAULTS, Endpoint, TeacherOptions
from agentkd.teacher.prices import Price, find_price
from agentkd.teacher.transport import Transport

Kind = Literal["local", "vllm", "openai", "url"]


@dataclass(frozen=True)
class TeacherSpec:
    """The parts of a teacher that a user names with `text`.

    `model` is empty for the packaged local model; `urls` are those of servers that run already."""

    text: str
    kind: Kind
    model: str
    urls: tuple[str, ...] = ()


def parse_spec(text: str) -> TeacherSpec:
    """Parse `local[:FILE.gguf]`, `vllm:MODEL`, `openai:MODEL` or `URL[,URL]#MODEL`.

    Raises UserError for anything else. Passwords and keys in a URL are no part of the spec."""
    text = take_secrets(text)
    if is_url(text):
        addresses, _, model = text.partition("#")
        urls = tuple(url.strip() for url in addresses.split(","))
        if not model or not all(map(is_url, urls)):
            raise UserError(f"--teacher {text} names no model: write URL#MODEL, for example {urls[0]}#my-model")
        return TeacherSpec(text, "url", model, urls)
    kind, _, model = text.partition(":")
    if kind == "openai" and model:
        base = os.environ.get("OPENAI_BASE_URL", "").strip() or "https://api.openai.com/v1"
        return TeacherSpec(text, "openai", model, (take_secrets(base),))
    if kind == "local":
        return TeacherSpec(text, "local", model)
    if kind == "vllm" and model:
        return TeacherSpec(text, "vllm", model)
    near = did_you_mean(kind, get_args(Kind)[:-1])
    if kind == "ollama" and model:
        near = f"; for a server on this machine write http://127.0.0.1:11434/v1#{model};"
    elif "/" in text and "#" in text:
        near = "; an address begins with http:// or https://;"
    raise UserError(f"unknown teacher '{text}'{near or ':'} use local, vllm:MODEL, openai:MODEL or URL#MODEL")


def check_teacher(text: str) -> None:
    """Raise UserError for a spec that is wrong, and where the file or directory that it names is not there."""
    if text == NO_TEACHER:
        return
    spec = parse_spec(text)
    if spec.kind == "local":
        find_gguf(spec.model or PACKAGED)
    if spec.kind == "vllm" and spec.model != PACKAGED and not is_hub_name(spec.model):
        find_weights(spec.model)


def split_specs(text: str) -> list[str]:
    """Split a comma-separated list of teachers.

    An address without `#MODEL` belongs to the next piece: `URL,URL#MODEL` is one teacher with two addresses."""
    found, addresses = [], ""
    for piece in (part.strip() for part in take_secrets(text).split(",")):
        if is_url(piece) and "#" not in piece:
            addresses += f"{piece},"
        elif piece:
            found.append(addresses + piece)
            addresses = ""
    return [*found, addresses.rstrip(",")] if addresses else found


def is_url(spec: str) -> bool:
    """Whether a spec begins with an HTTP address."""
    return spec.startswith(("http://", "https://"))


def find_teacher_price(spec: TeacherSpec, options: TeacherOptions, say: Say) -> Price | None:
    """Find the price of a teacher's tokens, and warn when it is unknown.

    A model on this machine costs nothing, unless the user's table has a price. Raises UserError where `max_usd` could
    not be kept."""
    model, max_usd = spec.model or spec.text, options.max_usd
    price = find_price(model, options.prices, packaged=bool(spec.urls))
    if price is None and spec.kind == "openai" and max_usd is not None:
        raise UserError(f"--max-usd cannot be kept, no price is known for '{model}': give prices=FILE.yaml")
    if price is None and (spec.urls or max_usd is not None):
        bound = "" if max_usd is None else ", so --max-usd cannot stop it"
        say(f"no price is known for '{model}': it counts as $0{bound} (prices=FILE.yaml sets one)")
    return price


@asynccontextmanager
async def open_teacher(
    spec: str, *, run: Path, options: TeacherOptions = DEFAULTS, say: Say = lambda line: None
) -> AsyncIterator[Chat]:
    """Open the teacher that `--teacher` names.

    A server that agentkd starts lives as long as the context; its log is in `run`/logs. Responses are cached in
    `run`/cache. With `options.batch` nothing is sent or started: requests go into files there (`batch.py`). Raises
    UserError for an unknown spec."""
    if spec == NO_TEACHER:
        yield NoTeacher()
        return
    parsed = parse_spec(spec)
    spec = parsed.text
    if options.batch is not None and parsed.kind == "local":
        raise UserError("--batch is for a teacher that others run: vllm:MODEL, openai:MODEL or URL#MODEL, not 'local'")
    server = None if options.batch is not None else make_server(parsed, run, options, say)
    cache = Cache(run / "cache", say)
    endpoint = Endpoint(
        parsed.urls,
        parsed.model,
        identity=parsed.model if parsed.kind == "url" else spec,
        price=find_teacher_price(parsed, options, say),
        together=parsed.kind != "local",
    )
    if options.batch is not None:
        address = Address(parsed.urls[0], insecure=options.insecure) if parsed.kind == "openai" else None
        api = None
        if address is not None and address.access.headers:
            from agentkd.teacher.batch_api import BatchApi

            api = BatchApi(address)
        async with open_batch(endpoint, folder=options.batch, api=api, cache=cache, options=options, say=say) as batch:
            yield batch
    elif server is None:
        teacher = Teacher(endpoint, cache=cache, options=options, wire=make_wire(parsed, options), say=say)
        try:
            for note in teacher.requests.wire.notes:
                say(note)
            for line in await teacher.check():
                say(line)
            yield teacher
        finally:
            await close_teacher(teacher, say)
    else:
        say(f"starting {spec} (log: {server.log})")
        async with server:
            started = replace(endpoint, urls=(server.url,), model=server.model)
            teacher = Teacher(started, cache=cache, options=options, say=say)
            try:
                yield teacher
            finally:
                await close_teacher(teacher, say)


async def close_teacher(teacher: Teacher, say: Say) -> None:
    """Close a teacher, and say how many of its replies were of no use."""
    await teacher.close()
    if line := teacher.tally.describe():
        say(f"{teacher.name}: {line}")


def make_wire(spec: TeacherSpec, options: TeacherOptions) -> Transport:
    """The wire to servers that run already: hosted ones are asked through the `openai` package."""
    if spec.kind == "openai" or all(is_azure(urlsplit(url).hostname or "") for url in spec.urls):
        from agentkd.teacher.hosted import HostedTransport

        return HostedTransport(spec.urls, insecure=options.insecure)
    return Transport(spec.urls, insecure=options.insecure)


def make_server(spec: TeacherSpec, run: Path, options: TeacherOptions, say: Say) -> ManagedServer | None:
    """The server to start for a spec; None for a teacher that is served already."""
    logs, on_wait = run / "logs", make_wait_reporter(say)
    if spec.kind == "local":
        gguf = find_gguf(spec.model or PACKAGED)
        where = ServerOptions(log=logs / "llama.log", on_wait=on_wait)
        return make_llama_server(gguf, slots=options.slots, context=LOCAL_CONTEXT, options=where)
    if spec.kind == "vllm":
        where = ServerOptions(log=logs / "vllm.log", on_wait=on_wait)
        return make_vllm_server(spec.model, args=options.vllm_args, options=where)
    return None
