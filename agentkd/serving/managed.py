"""Starts, awaits and stops a model server.

    options = ServerOptions(log=run / "logs/llama.log")
    async with make_llama_server(find_gguf("smollm2-135m"), slots=4, context=4096, options=options) as server:
        client = AsyncOpenAI(base_url=server.url, api_key="none")

A server never outlives agentkd: `supervisor.py` holds it on a pipe and ends its whole process group.
"""

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkd.errors import WorldError
from agentkd.runs.progress import Say
from agentkd.serving.ports import LOOPBACK, bracket_ipv6, check_port, find_free_port, local_address
from agentkd.serving.supervisor import GRACE_SECONDS

OnWait = Callable[[float, str], None]

WAIT_LINES = 15  # seconds between two lines while a server starts
TIMEOUT_SECONDS = 300.0  # for a start

_HERE = Path(__file__).parent
_PORT_TRIES = 3
_POLL_SECONDS = 0.2
_ASK_SECONDS = 5.0
_PORT_TAKEN = re.compile(r"address already in use|couldn't bind|bind HTTP server socket", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# The error that ended a traceback; vLLM's own last one only points at an earlier one.
_ERROR = re.compile(r"\b\w*(Error|Exception): (?!Engine core|.*See root cause)\S|^\S+ E |: error: ")


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens and logs, and how long its start may take.

    `log` gets its stdout and stderr. It listens on `host`, on `port` or else a free one, or on the Unix socket `socket`
    alone. `on_wait(seconds, last_line)` is called about once a second until it answers. `timeout_seconds` is for the
    start; None leaves it to the kind of server."""

    log: Path
    host: str = LOOPBACK
    port: int | None = None
    socket: Path | None = None
    on_wait: OnWait | None = None
    timeout_seconds: float | None = None


class ManagedServer:
    """One server process as an async context manager: up inside the block, gone after it.

    `command` takes the port and returns the argv of a server that listens there. `url` ends in /v1, or is empty for a
    server on a Unix socket; `model` is the name to send. Entering raises WorldError when the port is taken, the server
    ends or the timeout passes. One object serves one block."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        *,
        model: str,
        options: ServerOptions,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.url = ""
        self.log, self.host, self.port, self.socket = options.log, options.host, options.port, options.socket
        self.on_wait = options.on_wait
        self.timeout_seconds = TIMEOUT_SECONDS if options.timeout_seconds is None else options.timeout_seconds
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    async def __aenter__(self) -> "ManagedServer":
        for tries_left in reversed(range(_PORT_TRIES if self.port is None else 1)):
            if self.port is not None:
                check_port(self.host, self.port)
            port = self.port if self.port is not None else find_free_port()
            if self.socket is None:
                self.url = f"http://{bracket_ipv6(local_address(self.host))}:{port}/v1"
            self._start(port)
            try:
                await self._until_up(port)
                return self
            except WorldError:
                await self._stop()
                # Another process may have taken the port before the server could bind it.
                if not tries_left or not _PORT_TAKEN.search(self._log_text()):
                    raise
            except BaseException:
                await self._stop()
                raise
        raise AssertionError("the last try returns or raises")

    async def __aexit__(self, *error: object) -> None:
        await self._stop()

    async def wait_until_ended(self) -> None:
        """Wait as long as the server runs.

        When it ends by itself, raises WorldError with the last error of its log."""
        process = self._process
        assert process is not None
        while process.poll() is None:
            await asyncio.sleep(_POLL_SECONDS)
        raise WorldError(
            f"the server of {self.model!r} ended with status {process.returncode}: {self._complaint()} "
            f"(log: {self.log}); start it again"
        )

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def last_line(self) -> str:
        """The last non-empty line of the log since this start."""
        lines = self._lines()
        return lines[-1] if lines else ""

    def _start(self, port: int) -> None:
        argv = [sys.executable, "-P", str(_HERE / "supervisor.py"), "--parent", str(os.getpid()), "--"]
        argv += self._command(port)
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,  # a ctrl-C in the terminal is for agentkd alone
                )
        except OSError as error:
            raise WorldError(f"cannot start {self.model!r} with log {self.log}: {error}", retry=False) from error

    async def _until_up(self, port: int) -> None:
        process = self._process
        assert process is not None
        started = reported = time.monotonic()
        while not await asyncio.to_thread(_answers, self.socket or (local_address(self.host), port), self.model):
            now = time.monotonic()
            seconds = now - started
            if process.poll() is not None:
                raise WorldError(
                    f"the server of {self.model!r} ended with status {process.returncode} "
                    f"after {seconds:.0f} s: {self._complaint()} (log: {self.log})"
                )
            if seconds > self.timeout_seconds:
                raise WorldError(
                    f"the server of {self.model!r} did not answer within {self.timeout_seconds:.0f} s, "
                    f"last: {self._complaint()} (log: {self.log})"
                )
            if self.on_wait is not None and now - reported >= 1:
                reported = now
                self.on_wait(seconds, self.last_line())
            await asyncio.sleep(_POLL_SECONDS)

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the supervisor takes this as the order to end everything
        try:
            await asyncio.to_thread(process.wait, GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    def _log_text(self) -> str:
        """The end of what this start wrote to the log."""
        try:
            with self.log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start, end - 64 * 1024))
                return _ANSI.sub("", file.read().decode("utf-8", "replace"))
        except OSError:
            return ""

    def _lines(self) -> list[str]:
        return [line.strip() for line in re.split(r"[\r\n]+", self._log_text()) if line.strip()]

    def _complaint(self) -> str:
        """The log's last line that names an error, else its last line."""
        lines = self._lines()
        errors = [line for line in lines if _ERROR.search(line)]
        return (errors or lines or ["it wrote nothing"])[-1][:300]


def make_wait_reporter(say: Say) -> OnWait:
    """Make an `on_wait` that reports a slow start.

    Every WAIT_LINES seconds it says that the server is still starting, with its last log line."""
    reported = 0

    def on_wait(seconds: float, last_line: str) -> None:
        nonlocal reported
        if seconds >= (reported + 1) * WAIT_LINES:
            reported = int(seconds // WAIT_LINES)
            say(f"still starting after {seconds:.0f} s: {last_line[:100]}")

    return on_wait


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ASK_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ASK_SECONDS)
        self.sock.connect(str(self._path))


def _answers(where: Path | tuple[str, int], model: str) -> bool:
    """Whether the server at a socket or an address lists `model`, so that it is ours and ready. Uses no proxy."""
    if isinstance(where, Path):
        connection: http.client.HTTPConnection = _SocketConnection(where)
    else:
        connection = http.client.HTTPConnection(*where, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/v1/models")
        reply = connection.getresponse()
        return reply.status == 200 and model in [entry["id"] for entry in json.loads(reply.read())["data"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()
