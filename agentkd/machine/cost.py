"""Estimates the cost of a thousand questions: tokens, hours on this machine, dollars on an API.

The packaged model is asked once per question (docs/results/webqsp-dev-300.json); larger models also plan, which takes
more calls (docs/log.md). The speed of reading and writing is measured for a few seconds on the packaged model, with as
many requests in flight as the local teacher takes.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agentkd.config import default_teacher
from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.models import PACKAGED, find_gguf
from agentkd.runs.progress import say
from agentkd.serving.llama import LOCAL_SLOTS, make_llama_server
from agentkd.serving.managed import ServerOptions
from agentkd.teacher.prices import BATCH_SHARE, PRICE_TABLE, Price, find_price, read_price_table

QUESTIONS = 1000
API_SECONDS, API_IN_FLIGHT = 2.0, 32  # seconds per call; assumed, because no API is called to measure it

READ, WRITE = 256, 16  # tokens per measured request
SECONDS = 3.0  # per measurement; there are two
PATIENCE = 120.0  # seconds for one request on a machine that is busy with other work


class Need(NamedTuple):
    """Calls, tokens read and tokens written that KD-CoT needs per question."""

    calls: float
    read: int
    written: int


SMALL, PLANNING = Need(1.0, 140, 12), Need(2.7, 670, 80)


class Speed(NamedTuple):
    """Tokens per second over all requests in flight, and the machine's load average before."""

    read: float
    write: float
    load: float


def measure_speed() -> Speed:
    """Measure the local teacher's speed under the machine's present load, in about 10 s.

    Raises UserError or WorldError where the teacher does not start or does not answer."""
    return asyncio.run(_measure())


def try_measure_speed() -> Speed | None:
    """Announce and run `measure_speed`; where that fails, say why and return None."""
    say(f"measuring the local teacher for about {3 * SECONDS:.0f} s (--no-measure leaves it out)")
    try:
        return measure_speed()
    except AgentkdError as error:
        say(f"not measured: {error}")
        return None


async def _measure() -> Speed:
    with tempfile.TemporaryDirectory(prefix="agentkd-") as folder:
        gguf, options = find_gguf(PACKAGED), ServerOptions(log=Path(folder) / "llama.log")
        async with make_llama_server(gguf, slots=LOCAL_SLOTS, context=READ + WRITE, options=options) as server:
            return await asyncio.to_thread(_speed, server.url)


def _speed(url: str) -> Speed:
    rng = random.Random(0)

    def request(read: int, write: int) -> dict[str, Any]:
        # Token ids, so that their number is known; random, so that no prefix is in the cache.
        prompt = [rng.randrange(1000, 40_000) for _ in range(read)]
        return {"prompt": prompt, "n_predict": write, "ignore_eos": True, "cache_prompt": False}

    with ThreadPoolExecutor(LOCAL_SLOTS) as pool:

        def rate(read: int, write: int, count: Callable[[dict[str, Any]], int]) -> float:
            tokens, start = 0, time.monotonic()
            while (seconds := time.monotonic() - start) < SECONDS:
                replies = pool.map(lambda body: _post(url, body), [request(read, write) for _ in range(LOCAL_SLOTS)])
                tokens += sum(map(count, replies))
            return tokens / seconds

        load = os.getloadavg()[0]
        _post(url, request(8, 1))  # the first request pays for lazy loading
        return Speed(
            read=rate(READ, 1, lambda reply: int(reply["tokens_evaluated"])),
            write=rate(8, WRITE, lambda reply: int(reply["tokens_predicted"])),
            load=load,
        )


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """llama.cpp's own /completion, which takes token ids and counts them."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=PATIENCE)
    try:
        connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
        reply: dict[str, Any] = json.loads(connection.getresponse().read())
        return {"tokens_evaluated": reply["tokens_evaluated"], "tokens_predicted": reply["tokens_predicted"]}
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise WorldError(f"the local teacher gave no answer ({error!r}); is the machine overloaded?") from None
    finally:
        connection.close()


def find_api_price(model: str, prices: Path | None) -> Price:
    """Find a model's price in the user's table or the packaged one; UserError where neither has it."""
    price = find_price(model, prices)
    if price is None:
        raise UserError(
            f"no price known for {model!r}: give --prices FILE, or one of {', '.join(read_price_table(PRICE_TABLE))}"
        )
    return price


def estimate_costs(speed: Speed | None, *, api: str, price: Price) -> list[dict[str, Any]]:
    """One record per teacher: tokens, hours (None: not measured), USD, and the basis of the figures."""

    def count(need: Need) -> dict[str, Any]:
        tokens = QUESTIONS * (need.read + need.written)
        return {"questions": QUESTIONS, "calls": round(QUESTIONS * need.calls), "tokens": tokens}

    free: dict[str, Any] = {"hours": None, "usd": 0.0, "usd_batch": None}
    own: dict[str, Any] = {"teacher": "local", **count(SMALL), **free, "basis": "not measured"}
    if speed is not None:
        own["hours"] = round(QUESTIONS * (SMALL.read / speed.read + SMALL.written / speed.write) / 3600, 2)
        own["basis"] = f"reads {speed.read:.0f} and writes {speed.write:.0f} tokens/s, at a load of {speed.load:.1f}"
    rows = [own]
    if (default := default_teacher()).startswith("vllm:"):
        basis = "not measured: it would have to be loaded first"
        rows.append({"teacher": default, **count(PLANNING), **free, "basis": basis})
    usd = price.usd(QUESTIONS * PLANNING.read, QUESTIONS * PLANNING.written)
    rows.append(
        {
            "teacher": f"openai:{api}",
            **count(PLANNING),
            "hours": round(QUESTIONS * PLANNING.calls * API_SECONDS / API_IN_FLIGHT / 3600, 2),
            "usd": round(usd, 4),
            "usd_batch": round(usd * BATCH_SHARE, 4),
            "basis": f"assumed: {API_IN_FLIGHT} in flight, {API_SECONDS:g} s a call",
        }
    )
    return rows
