"""A process that runs verifiers which may hang, and the pool of such processes. A call that is late ends its process.

Called as `python -m agentkd.verifiers.worker SPEC…`. It reads a JSON line `[place, item, answer]` and writes one: the
finding, or the line of an error. What a user's function prints goes to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from agentkd.errors import UserError
from agentkd.trace import Check, Evidence
from agentkd.verifiers.contract import Finding, Item, Judgement, VerifierFailed, call_verifier, describe_error
from agentkd.verifiers.names import Spec, parse_spec

START = 120.0  # seconds until a process has imported the user's modules
LINE = 64 << 20  # bytes of an item
_EVIDENCE: TypeAdapter[tuple[Evidence, ...]] = TypeAdapter(tuple[Evidence, ...])


class Workers:
    """A pool of at most `count` processes, each of which holds all the verifiers; they start when they are needed."""

    def __init__(self, specs: Sequence[Spec], count: int, timeout: float) -> None:
        self.specs, self.timeout = [spec.text for spec in specs], timeout
        self._free = asyncio.Semaphore(count)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def judge(self, place: int, item: Item, answer: str) -> Judgement:
        """Ask the verifier in that place. Raises VerifierFailed where it raises, hangs, or its process dies."""
        line = json.dumps([place, dict(item), answer], default=str).encode() + b"\n"
        async with self._free:
            process = self._idle.pop() if self._idle else await self.start()
            try:
                async with asyncio.timeout(self.timeout):
                    reply = await self._exchange(process, line)
            except TimeoutError:
                raise VerifierFailed(f"it took longer than {self.timeout:g} s") from None
            else:
                self._idle.append(process)
            finally:
                if process not in self._idle:
                    await self._end(process)
        if "error" in reply:
            raise VerifierFailed(reply["error"])
        return Finding(Check.model_validate(reply["check"]), _EVIDENCE.validate_python(reply["evidence"]))

    async def start(self) -> asyncio.subprocess.Process:
        """Start a process. Raises UserError where the verifiers cannot be made."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "agentkd.verifiers.worker", *self.specs),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._all.add(process)
        try:
            async with asyncio.timeout(START):
                ready = await self._exchange(process, b"")
        except (TimeoutError, VerifierFailed) as error:
            await self._end(process)
            why = str(error) or f"it took longer than {START:g} s"
            raise UserError(f"--verify {', '.join(self.specs)}: loading failed: {why}") from None
        except BaseException:
            await self._end(process)
            raise
        if "error" in ready:
            await self._end(process)
            raise UserError(ready["error"])
        return process

    async def check(self) -> None:
        """Start the first process, so that a wrong name is told before a sample is paid for."""
        self._idle.append(await self.start())

    async def close(self) -> None:
        """End all processes."""
        for process in list(self._all):
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._all.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())

    @staticmethod
    async def _exchange(process: asyncio.subprocess.Process, line: bytes) -> dict[str, Any]:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(line)
            await process.stdin.drain()
            reply = await process.stdout.readline()
            found: dict[str, Any] = json.loads(reply)
        except (OSError, ValueError):
            raise VerifierFailed("its process ended") from None
        return found


class Remote:
    """A verifier of the pool, as one in this process. The pool keeps the time of a call, not of the wait for it."""

    timeout = None

    def __init__(self, workers: Workers, place: int, name: str) -> None:
        self.workers, self.place, self.name = workers, place, name

    async def __call__(self, item: Item, answer: str) -> Judgement:
        return await self.workers.judge(self.place, item, answer)


def main(texts: Sequence[str]) -> None:
    """Serve until the pipe ends. The process ends with its parent, however that ends."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the parent's
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG; Linux alone has it
    if os.getppid() != parent:
        return
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(**fields: Any) -> None:
        replies.write(json.dumps(fields) + "\n")
        replies.flush()

    try:
        verifiers = [parse_spec(text).make() for text in texts]
    except UserError as error:
        return reply(error=str(error))
    reply(ready=True)
    for line in sys.stdin:
        place, item, answer = json.loads(line)
        try:
            finding = asyncio.run(call_verifier(verifiers[place], item, answer, timeout=None))  # the pool keeps time
        except VerifierFailed as error:
            reply(error=str(error))
        except BaseException as error:
            reply(error=describe_error(error))
        else:
            reply(check=finding.check.model_dump(), evidence=_EVIDENCE.dump_python(finding.evidence, mode="json"))


if __name__ == "__main__":
    main(sys.argv[1:])
