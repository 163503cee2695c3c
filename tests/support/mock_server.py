"""A loopback server that speaks the OpenAI chat protocol, with scripted faults.

Answers are a function of the request alone: the first choice of an enum, the smallest object of a schema, else a line
of text, so that a run and its resumed twin see the same world. A test may give a function of its own, which returns the
assistant's message.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "mock-1"
GARBAGE, RESET, HANG = "garbage", "reset", "hang"  # faults beside HTTP status codes
Reply = Callable[[dict[str, Any]], dict[str, Any]]
Fault = int | str | tuple[int, dict[str, str]] | dict[str, Any] | tuple[int, dict[str, str], bytes]
"""A fault of the kinds above, a status with headers, or with a body too, or a JSON body to send instead."""


def answer(request: dict[str, Any]) -> str:
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
    return json.dumps(smallest(schema)) if schema else "So the answer is: nothing"


def plain(request: dict[str, Any]) -> dict[str, Any]:
    return {"content": answer(request)}


def smallest(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][-1] if "Finish" in schema["enum"] else schema["enum"][0]
    if schema.get("type") == "object":
        return {name: smallest(part) for name, part in schema["properties"].items()}
    return "what is it"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faults: Sequence[Fault], latency: float, refused: Sequence[str], reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.latency, self.refused, self.reply = list(faults), latency, refused, reply
        self.released = threading.Event()  # what hangs waits for it
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[tuple[str, dict[str, str]]] = []  # path and headers of each request, checks included
        self.answered: Counter[str] = Counter()
        self.reached = threading.Condition(self.lock)  # told after each answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def spec(self) -> str:
        return f"{self.url}#{MODEL}"

    def wait_for(self, count: int) -> bool:
        """Until `count` requests have been answered; False if they never come."""
        with self.reached:
            return self.reached.wait_for(lambda: self.answered.total() >= count, timeout=60)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.headers.append((self.path, dict(self.headers)))
        self.send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        with server.lock:
            server.headers.append((self.path, dict(self.headers)))
            server.requests.append(json.loads(body))
            fault = server.faults.pop(0) if server.faults else None
        if fault == RESET:
            self.connection.shutdown(socket.SHUT_RDWR)  # closed, it would live on in rfile and wfile
            return
        if fault == GARBAGE:
            self.send_bytes(200, b"<html>not json")
            return
        if fault == HANG:
            server.released.wait(60)
        for field in server.refused:
            if field in json.loads(body):
                self.send(400, {"error": {"message": f"this {field} type is unavailable now"}})
                return
        if isinstance(fault, int):
            fault = (fault, {"Retry-After": "0"})
        if isinstance(fault, tuple):
            scripted = json.dumps({"error": {"message": f"scripted {fault[0]}"}}).encode()
            self.send_bytes(fault[0], fault[2] if len(fault) > 2 else scripted, fault[1])
            return
        if isinstance(fault, dict):
            self.send(200, fault)
            return
        time.sleep(server.latency)
        said = server.reply(json.loads(body))
        chat = "chat" in self.path
        spoken = {"message": {"role": "assistant", **said}} if chat else {"text": said.get("content", "")}
        self.send(
            200,
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": MODEL,
                "choices": [{"index": 0, **spoken, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
            },
        )
        with server.reached:
            server.answered[body.decode()] += 1
            server.reached.notify_all()

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(content).encode(), headers)

    def send_bytes(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # the client was killed
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def mock_server(
    *, faults: Sequence[Fault] = (), latency: float = 0.0, refused: Sequence[str] = (), reply: Reply = plain
) -> Iterator[Server]:
    """`refused` are fields of a request that the server answers with 400; `reply` makes the message of an answer."""
    server = Server(faults, latency, refused, reply)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
