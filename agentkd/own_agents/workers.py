"""The processes of the user's agent: each works on one sample at a time, and is ended where the agent hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.errors import SampleFailed, UserError
from agentkd.own_agents.proxy import Proxy
from agentkd.own_agents.session import Session
from agentkd.own_agents.worker import LINE
from agentkd.runs.disk import disk_error
from agentkd.serving.ports import LOOPBACK
from agentkd.tasks.items import Item
from agentkd.trace import ToolResult

START = 300.0  # seconds until a process has imported the user's modules
GRACE = 2.0  # seconds in which an agent may end by itself, once a call of its sample was refused
POLL = 0.05


@dataclass
class _Process:
    """A process of the agent, with its end of the socket and the key of its calls."""

    key: str
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(frozen=True)
class Outcome:
    """What the agent made of an item: its answer, and the tools that were seen to run."""

    answer: str
    ran: tuple[ToolResult, ...]


class Workers:
    """Processes of one agent, started when they are needed. `seconds` is the agent's own time for a sample."""

    def __init__(self, spec: str, field: str | None, *, proxy: Proxy, log: Path, seconds: float) -> None:
        self.spec, self.field, self.proxy, self.log, self.seconds = spec, field, proxy, log, seconds
        self._idle: list[_Process] = []
        self._all: list[_Process] = []

    async def check(self) -> None:
        """Start the first process. Raises UserError for an agent that cannot be loaded, before anything is paid for."""
        self._idle.append(await self._start())

    async def run(self, item: Item, session: Session) -> Outcome:
        """Let the agent work on an item, with its calls in `session`.

        Raises SampleFailed where it raises, ends, hangs or gives no answer, and the error of the session where a call
        met one: what the agent made of that is not what it would have answered."""
        worker = self._idle.pop() if self._idle else await self._start()
        self.proxy.sessions[worker.key] = session
        job = json.dumps({"asked": item.asked, "thread": f"{item.id}-{session.sample}-{uuid.uuid4().hex}"})
        exchange = asyncio.ensure_future(self._exchange(worker, job.encode() + b"\n"))
        try:
            await self._await(exchange, session)
            if session.error is not None:
                raise session.error
            if not exchange.done():
                raise SampleFailed(
                    f"the agent took longer than {self.seconds:g} s beside the model's time: see whether it hangs, or "
                    f"raise agent_timeout=…"
                )
            reply = exchange.result()
        finally:
            del self.proxy.sessions[worker.key]
            if exchange.done() and not exchange.cancelled() and exchange.exception() is None:
                self._idle.append(worker)
            else:
                exchange.cancel()
                await self._end(worker)
                await asyncio.gather(exchange, return_exceptions=True)
        if "failed" in reply:
            raise SampleFailed(str(reply["failed"]))
        return Outcome(reply["answer"], tuple(ToolResult.model_validate(row) for row in reply["tools"]))

    async def _await(self, exchange: asyncio.Future[dict[str, Any]], session: Session) -> None:
        """Wait for the agent's end, for as long as it has time."""
        while not exchange.done() and session.error is None and (left := self.seconds - session.own_seconds) > 0:
            await asyncio.wait({exchange}, timeout=min(max(left, POLL), 1.0))
        if session.error is not None and not exchange.done():
            await asyncio.wait({exchange}, timeout=GRACE)

    async def _exchange(self, worker: _Process, line: bytes) -> dict[str, Any]:
        try:
            worker.writer.write(line)
            await worker.writer.drain()
            found: dict[str, Any] = json.loads(await worker.reader.readline())
        except (OSError, ValueError):
            code = await worker.process.wait()
            raise SampleFailed(f"the agent's process ended ({describe_exit(code)}): see {self.log}") from None
        return found

    async def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        key = self.proxy.new_key()
        path = [os.getcwd(), *filter(None, sys.path)]
        env = os.environ | {
            "OPENAI_BASE_URL": self.proxy.url,
            "OPENAI_API_BASE": self.proxy.url,
            "OPENAI_API_KEY": key,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUNBUFFERED": "1",
            **{name: ",".join(filter(None, (os.environ.get(name), LOOPBACK))) for name in ("NO_PROXY", "no_proxy")},
        }
        words = ("-m", "agentkd.own_agents.worker", str(theirs.fileno()), self.spec, self.field or "")
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with theirs, self.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", *words),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    env=env,
                    start_new_session=True,  # what the agent starts ends with it
                )
        except OSError as error:
            ours.close()
            raise disk_error(self.log, error) from None
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE)
        worker = _Process(key, process, reader, writer)
        self._all.append(worker)
        try:
            async with asyncio.timeout(START):
                ready = await self._exchange(worker, b"")
        except TimeoutError:
            await self._end(worker)
            raise UserError(f"--agent {self.spec}: importing it took longer than {START:g} s: see {self.log}") from None
        except SampleFailed as error:
            await self._end(worker)
            raise UserError(f"--agent {self.spec}: {error}") from None
        except BaseException:
            await self._end(worker)
            raise
        if "error" in ready:
            await self._end(worker)
            raise UserError(f"--agent {ready['error']}")
        return worker

    async def _end(self, worker: _Process) -> None:
        self._all.remove(worker)
        worker.writer.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        await asyncio.shield(worker.process.wait())

    async def close(self) -> None:
        """End all processes, and what they have started."""
        for worker in list(self._all):
            await self._end(worker)


def describe_exit(code: int) -> str:
    """How a process ended, in a few words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
