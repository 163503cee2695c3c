"""`agentkd bench server`: our client's tokens per second against a raw aiohttp client's, on the same real server.

The requests are KD-CoT's own on questions of geo: a shared system prompt and worked example, then what differs, with
a JSON schema. They are cut into blocks by question. No block is sent twice and the two clients take turns, so that the
server's prefix cache favours neither; one block warms up all three. `ratio` is our completion tokens per second over
the raw client's of the same pair: median, lowest and highest over the pairs.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from agentkd.agents.kd_cot import KDCoT
from agentkd.config import GenerateConfig
from agentkd.errors import UserError, WorldError
from agentkd.eval.bench.mock import MODEL, MockWorld, request_key
from agentkd.runs.disk import write_atomically
from agentkd.runs.engine import run_items
from agentkd.runs.progress import say
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import Reply
from agentkd.teacher.client import Teacher
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import Endpoint, TeacherOptions
from agentkd.trace import Message, Usage
from agentkd.world import TaskWorld

TIMEOUT = 600.0  # seconds for one answer


@dataclass(frozen=True)
class Request:
    """A request of an agent."""

    messages: tuple[Message, ...]
    max_tokens: int
    schema: dict[str, Any] | None

    def body(self, model: str) -> dict[str, Any]:
        """Return the request as our client sends it."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [message.model_dump() for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": 0.0,
            "seed": 0,
        }
        if self.schema is not None:
            reply = {"name": "reply", "schema": self.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": reply}
        return body


class Recorder:
    """A stand-in for a model that answers by seed and keeps what it is asked.

    Each request is kept once: our client would answer a second one from its cache.
    """

    name = MODEL
    weighs = False

    def __init__(self, seed: int) -> None:
        self.world = MockWorld(seed)
        self.asked: list[Request] = []
        self.seen: set[str] = set()

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply:
        request = Request(tuple(messages), max_tokens, schema)
        body = request.body(self.name)
        if (key := request_key(body)) not in self.seen:
            self.seen.add(key)
            self.asked.append(request)
        text = self.world.answer(body)
        return Reply(texts=(text,), finish_reason="stop", usage=Usage())

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        raise NotImplementedError("the reader of a large model asks in chats alone")


async def make_blocks(count: int, size: int, seed: int) -> list[list[Request]]:
    """Return `count` blocks of `size` requests; those of one question are in one block.

    Raises UserError where geo has too few questions.
    """
    world = TaskWorld.load(GenerateConfig(retriever="bm25", agent="kd-cot", seed=seed))
    questions = iter(world.task.pick("train", None, seed))
    recorder = Recorder(seed)
    agent = KDCoT(world.context(recorder))
    found: list[list[Request]] = []
    for _ in range(count):
        recorder.asked = []
        for question in questions:
            await agent.solve(question, 0)
            if len(recorder.asked) >= size:
                break
        else:
            raise UserError(f"{count} blocks of {size} requests are more than geo's questions bring: lower --requests")
        found.append(recorder.asked[:size])
    return found


@dataclass(frozen=True)
class BlockRun:
    """One block through one client; `prompt` and `completion` are the server's token counts."""

    seconds: float
    prompt: int
    completion: int

    @property
    def rate(self) -> float:
        """Completion tokens per second."""
        return self.completion / self.seconds


async def send_with_agentkd(url: str, model: str, block: Sequence[Request], in_flight: int, folder: Path) -> BlockRun:
    """Send a block with our client as `generate` uses it, with a fresh cache on disk."""
    teacher = Teacher(Endpoint((url,), model), cache=Cache(folder), options=TeacherOptions(timeout=TIMEOUT))

    async def one(request: Request) -> Reply:
        return await teacher.chat(request.messages, max_tokens=request.max_tokens, schema=request.schema)

    start = time.monotonic()
    usages: list[Usage] = []
    try:
        async for _, reply in run_items(block, one, in_flight):
            if isinstance(reply, Exception):
                raise reply
            usages.append(reply.usage)
    finally:
        await teacher.close()
    usage = Usage.total(usages)
    return BlockRun(time.monotonic() - start, usage.prompt_tokens, usage.completion_tokens)


async def send_with_aiohttp(url: str, model: str, block: Sequence[Request], in_flight: int) -> BlockRun:
    """Send a block with aiohttp: a fixed number of workers, and nothing else."""
    waiting = iter(block)
    counts: list[dict[str, int]] = []

    async def worker(session: aiohttp.ClientSession) -> None:
        for request in waiting:
            async with session.post(f"{url}/chat/completions", json=request.body(model)) as response:
                counts.append((await response.json())["usage"])

    start = time.monotonic()
    connector, timeout = aiohttp.TCPConnector(limit=in_flight), aiohttp.ClientTimeout(TIMEOUT)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(worker(session) for _ in range(in_flight)))
    except (aiohttp.ClientError, KeyError, TimeoutError) as error:
        raise WorldError(f"{url} failed a raw request ({type(error).__name__} {error}): is the server up?") from None
    seconds = time.monotonic() - start
    return BlockRun(seconds, sum(c["prompt_tokens"] for c in counts), sum(c["completion_tokens"] for c in counts))


def bench_server(
    *, teacher: str, requests: int, in_flight: int, pairs: int, seed: int, vllm_args: str, out: Path | None
) -> dict[str, Any]:
    """Run all pairs after a warm-up. Raises UserError for a teacher that is no server, WorldError when it fails."""
    return asyncio.run(bench_pairs(teacher, requests, in_flight, pairs, seed, vllm_args, out))


async def bench_pairs(
    spec: str, requests: int, in_flight: int, pairs: int, seed: int, vllm_args: str, out: Path | None
) -> dict[str, Any]:
    """Send the blocks in turn, and return the report."""
    warm, *work = await make_blocks(1 + 2 * pairs, requests, seed)
    done: dict[str, list[BlockRun]] = {"agentkd": [], "aiohttp": []}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        options = TeacherOptions(vllm_args=tuple(shlex.split(vllm_args)), slots=in_flight)
        async with open_teacher(spec, run=out or place, options=options, say=say) as opened:
            if not isinstance(opened, Teacher):
                raise UserError(f"--teacher {spec} is no server: use vllm:MODEL, local or URL#MODEL")
            url, model = opened.endpoint.urls[0], opened.endpoint.model
            await send_with_aiohttp(url, model, warm[::2], in_flight)
            await send_with_agentkd(url, model, warm[1::2], in_flight, place / "cache-warm")
            for number, block in enumerate(work):
                name = "agentkd" if number % 4 in (0, 3) else "aiohttp"  # A B, B A, A B, …
                if name == "agentkd":
                    done[name].append(await send_with_agentkd(url, model, block, in_flight, place / f"cache-{number}"))
                else:
                    done[name].append(await send_with_aiohttp(url, model, block, in_flight))
                say(f"{number + 1} of {len(work)} {name}: {done[name][-1].rate:.0f} tokens/s")
    ratios = [mine.rate / floor.rate for mine, floor in zip(done["agentkd"], done["aiohttp"], strict=True)]
    report = {
        "command": f"agentkd bench server --teacher {spec} --requests {requests} --in-flight {in_flight} "
        f"--pairs {pairs} --seed {seed}",
        "date": time.strftime("%Y-%m-%d"),
        "model": model,
        "requests": requests,
        "in_flight": in_flight,
        "pairs": pairs,
        "seed": seed,
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "ratios": ratios,
        "rows": [summarise_client(name, measured) for name, measured in done.items()],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "server.json", json.dumps(report, indent=1) + "\n")
        say(f"wrote {out / 'server.json'}")
    return report


def summarise_client(name: str, measured: Sequence[BlockRun]) -> dict[str, Any]:
    """Return medians over the blocks of a client."""
    return {
        "name": name,
        "tokens_per_second": statistics.median(one.rate for one in measured),
        "prompt_tokens_per_second": statistics.median(one.prompt / one.seconds for one in measured),
        "seconds": statistics.median(one.seconds for one in measured),
        "completion_tokens": sum(one.completion for one in measured),
        "prompt_tokens": sum(one.prompt for one in measured),
    }


def print_server(report: dict[str, Any]) -> None:
    """Print a table."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    console = Terminal()
    title = (
        f"{report['model']} · {report['pairs']} pairs of {report['requests']} requests of KD-CoT, "
        f"{report['in_flight']} in flight, seed {report['seed']}"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("client")
    for name in ("tokens/s", "prompt tokens/s", "seconds a block", "tokens", "prompt tokens"):
        table.add_column(name, justify="right")
    for item in report["rows"]:
        rates = [f"{item[name]:.1f}" for name in ("tokens_per_second", "prompt_tokens_per_second", "seconds")]
        table.add_row(item["name"], *rates, f"{item['completion_tokens']:,}", f"{item['prompt_tokens']:,}")
    console.print(table)
    console.print(
        f"agentkd / aiohttp, tokens/s: {report['ratio']:.3f} ({report['ratio_low']:.3f}–{report['ratio_high']:.3f})"
    )
