"""A loopback server of the OpenAI protocol for benchmarks: seeded latencies and faults, in a process of its own.

Latency and answer are functions of the seed and the request's last message; faults depend on the seed, the request and
how often it came before. So every client meets the same world, in whatever order it sends, and a run and its resumed
twin get the same answers. The server logs all requests and their outcomes. The benches measure by this log: its clock
is the same for every client, whatever a client counts as its own start.

    python -m agentkd.eval.bench.mock '{"seed": 0, "latency": "lognormal"}'

prints its port and that of its log (which never refuses), and lives until its standard input is closed, so that it
cannot outlive the bench.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from math import exp, log
from statistics import NormalDist
from typing import Any

from aiohttp import web

from agentkd.errors import WorldError

MODEL = "mock-1"
LATENCIES = ("zero", "lognormal")
SIGMA = 1.2  # of the logarithm: a long tail, as reasoning models' answers have
FAULTS = ("429", "500", "garbage", "hang", "reset", "refused")
FAULTY_TRIES = 3  # a request's first tries may fail, later ones never do: a client that retries gets through
GONE = 30.0  # seconds in which a server learns that its client was killed
OK, CUT = "ok", "cut"  # outcomes beside the faults; cut: the client was gone before it had its answer


@dataclass(frozen=True)
class MockWorld:
    """The behaviour of a mock server: a function of its seed.

    `mean` is the mean latency in seconds, `fault_rate` the share of tries that fail. After the fault `refused` nobody
    listens for `refusing` seconds.
    """

    seed: int = 0
    latency: str = "zero"
    mean: float = 0.25
    fault_rate: float = 0.0
    refusing: float = 0.1

    def seconds(self, text: str) -> float:
        """Return the latency of an answer to `text`: 0, or lognormal with mean `mean` and sigma SIGMA."""
        if self.latency == "zero":
            return 0.0
        normal = NormalDist().inv_cdf(uniform(self.seed, "latency", text))
        return exp(log(self.mean) - SIGMA**2 / 2 + SIGMA * normal)

    def fault(self, key: str, tries: int) -> str | None:
        """Return the fault that try number `tries` (from 0) of a request meets, if any."""
        if tries >= FAULTY_TRIES or uniform(self.seed, "fault", key, tries) >= self.fault_rate:
            return None
        return FAULTS[int(uniform(self.seed, "which", key, tries) * len(FAULTS))]

    def answer(self, request: dict[str, Any]) -> str:
        """Return a value that the request's schema allows, else a line of text."""
        schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
        text = last_text(request)
        return json.dumps(self.value(schema, text)) if schema else f"The answer to '{text[-40:]}' is: nothing"

    def value(self, schema: dict[str, Any], text: str) -> Any:
        if "enum" in schema:
            return schema["enum"][int(uniform(self.seed, "answer", text) * len(schema["enum"]))]
        if schema.get("type") == "object":
            return {name: self.value(part, text) for name, part in schema["properties"].items()}
        return "what is it"


def uniform(*parts: object) -> float:
    """Return a number in (0, 1) that depends on the parts alone."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) + 0.5) / 2**64


def last_text(request: dict[str, Any]) -> str:
    """Return the last message of a chat, or the prompt.

    Some clients send a message's content as a list of parts. curator's first request has no message at all: it asks for
    the rate limits in the headers.
    """
    content = request["prompt"] if "prompt" in request else (request["messages"] or [{"content": ""}])[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def text_key(text: str) -> str:
    """Return a hash of a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def request_key(request: dict[str, Any]) -> str:
    """Return a key that is equal for requests that one answer serves."""
    asked = {name: request.get(name) for name in ("messages", "prompt", "seed", "n", "response_format")}
    return text_key(json.dumps(asked, sort_keys=True))


@dataclass
class LogEntry:
    """One request in the server's log.

    `text` and `key` are hashes of its last message and of the whole request, `epoch` counts the marks set before it,
    `came` and `left` are seconds since the server's start, `outcome` is OK, CUT or a fault.
    """

    text: str
    key: str
    epoch: int
    came: float
    left: float = 0.0
    outcome: str = CUT


class Server:
    """The server's handlers and its log."""

    def __init__(self, world: MockWorld) -> None:
        self.world, self.start, self.epoch = world, time.monotonic(), 0
        self.log: list[LogEntry] = []
        self.tries: dict[str, int] = {}
        self.open = self.answered = 0
        self.port = 0
        self.site: web.TCPSite | None = None
        self.refusing: asyncio.Task[None] | None = None

    @cached_property
    def runner(self) -> web.ServerRunner:
        # a client's death cancels its handlers, so that the log tells an answer from a request that was cut off
        return web.ServerRunner(web.Server(self.handle, handler_cancellation=True))

    async def start_up(self) -> tuple[int, int]:
        """Return the ports for clients and for the bench."""
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        control = self.runner.addresses[0][1]
        await self.listen()
        self.port = next(port for _, port in self.runner.addresses if port != control)
        return self.port, control

    async def listen(self, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        self.site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True, backlog=1024)
        await self.site.start()

    async def refuse(self) -> None:
        """Refuse new connections for a moment; open ones stay."""
        if self.refusing is None or self.refusing.done():
            assert self.site is not None
            self.refusing = asyncio.create_task(self.listen(after=self.world.refusing))
            await self.site.stop()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.method == "POST" and http.path.startswith("/v1/"):
            return await self.complete(http)
        if http.path == "/mark":
            self.epoch += 1
        if http.path == "/log":
            return web.json_response([asdict(entry) for entry in self.log])
        if http.path in ("/mark", "/count"):
            return web.json_response({"answered": self.answered, "open": self.open, "start": self.start})
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def complete(self, http: web.BaseRequest) -> web.StreamResponse:
        request = json.loads(await http.read())
        text, key = last_text(request), request_key(request)
        entry = LogEntry(text_key(text), key, self.epoch, time.monotonic() - self.start)
        self.log.append(entry)
        tries = self.tries[key] = self.tries.get(key, -1) + 1
        self.open += 1
        try:
            if fault := self.world.fault(key, tries):
                entry.outcome = fault
                return await self.fail(http, fault)
            if seconds := self.world.seconds(text):
                await asyncio.sleep(seconds)
            response = web.Response(body=self.body(request, text), content_type="application/json")
            await response.prepare(http)
            await response.write_eof()
            entry.outcome = OK
            self.answered += 1
            return response
        finally:
            entry.left = time.monotonic() - self.start
            self.open -= 1

    async def fail(self, http: web.BaseRequest, fault: str) -> web.StreamResponse:
        if fault in ("429", "500"):
            body = {"error": {"message": f"seeded {fault}", "type": "seeded"}}
            return web.json_response(body, status=int(fault), headers={"Retry-After": "0.1"} if fault == "429" else {})
        if fault == "hang":
            await asyncio.Event().wait()  # until the client gives up and handler_cancellation ends it
        if fault == "refused":
            await self.refuse()
        if fault in ("reset", "refused") and http.transport is not None:
            http.transport.abort()
        return web.Response(text="<html>no JSON at all", content_type="text/html")

    def body(self, request: dict[str, Any], text: str) -> bytes:
        answer = self.world.answer(request)
        chat = "messages" in request
        said = {"message": {"role": "assistant", "content": answer}} if chat else {"text": answer}
        prompt, completion = len(text) // 4 + 1, len(answer) // 4 + 1
        body = {
            "id": "mock",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": k, **said, "finish_reason": "stop"} for k in range(request.get("n") or 1)],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
        }
        return json.dumps(body).encode()


@dataclass(frozen=True)
class Mock:
    """A running server, as the bench sees it."""

    root: str
    control: str

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def spec(self) -> str:
        return f"{self.url}#{MODEL}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.control}/{path}", timeout=30) as response:
            return json.load(response)

    def log(self, texts: Sequence[str] | None = None) -> list[LogEntry]:
        """Return all requests so far, or only those for the given texts (some clients send one of their own first)."""
        keys = None if texts is None else {text_key(text) for text in texts}
        return [LogEntry(**row) for row in self.get("log") if keys is None or row["text"] in keys]

    def answered(self) -> int:
        return int(self.get("count")["answered"])

    def mark(self) -> None:
        """Begin a new epoch; call it when no client lives. Waits until the server knows that the last one is gone.

        Raises WorldError when requests stay open."""
        end = time.monotonic() + GONE
        while left := self.get("count")["open"]:
            if time.monotonic() > end:
                raise WorldError(f"{left} requests are still open at {self.root}: end the client first")
            time.sleep(0.01)
        self.get("mark")


@contextmanager
def mock_server(world: MockWorld) -> Iterator[Mock]:
    """Context manager: a mock server in a process of its own, which ends with the context or with this process.

    Raises WorldError when it does not come up.
    """
    argv = [sys.executable, "-m", "agentkd.eval.bench.mock", json.dumps(asdict(world))]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        if not (ports := process.stdout.readline().split()):
            raise WorldError(f"the mock server ended with {process.wait()}: run `{' '.join(argv)}` to see why")
        yield Mock(*(f"http://127.0.0.1:{port}" for port in ports))
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


async def serve(world: MockWorld) -> None:
    """Serve until standard input is closed."""
    server = Server(world)
    print(*await server.start_up(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.runner.shutdown()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(MockWorld(**json.loads(sys.argv[1]))))
