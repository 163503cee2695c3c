"""Offline batches: half the price of direct requests, with answers within a day.

`agentkd generate --batch DIR` sends nothing. Each pass runs the agents as far as the answers on disk go, writes the
requests at which they stop as OpenAI batch files (`DIR/requests-001.jsonl` …), and ends. A provider's batch API or
`vllm run-batch` works on the files, and its output goes into DIR as any other `*.jsonl`. The next call of the same
command reads it into the run's cache and goes on to the next round, until the run is complete. A request is known by
its cache key, so these files are the only state: a request without an answer is not written again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from agentkd.errors import PutOff, UserError, WorldError
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Say
from agentkd.teacher.cache import Cache
from agentkd.teacher.client import Teacher
from agentkd.teacher.dialect import LEARNED, list_fields
from agentkd.teacher.options import Endpoint, TeacherOptions
from agentkd.teacher.paid_requests import AwaitsBatch
from agentkd.teacher.prices import BATCH_SHARE, Price
from agentkd.teacher.refusal import describe_error, read_refusal
from agentkd.teacher.reply import NO_RESPONSE, load_json, read_count, read_reply
from agentkd.teacher.transport import Refused

if TYPE_CHECKING:
    from agentkd.teacher.batch_api import BatchApi

LINES, BYTES = 50_000, 190_000_000  # per file at most: OpenAI takes 50,000 requests and 200 MB
REQUESTS = re.compile(r"requests-(\d+)\.jsonl")

T = TypeVar("T")


class BatchFolder:
    """A folder of batch files: writes requests down instead of sending them.

    `waiting` maps the keys of requests without an answer to the files that hold them, `refused` the keys of refused
    requests to the reasons. `unknown` are fields that the batch does not take: their requests are written again without
    them."""

    notes = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: dict[str, str] = {}
        self.refused: dict[str, Refused] = {}
        self.answered = 0
        self.unknown: set[str] = set()
        self.again = ""  # why some requests are written again, though nothing was wrong with them
        self._new: dict[str, dict[str, bytes]] = {}
        self._stopped = False

    def admit(self, key: str) -> None:
        """Raise Refused for a request that was refused, PutOff for one that waits for its answer."""
        if key in self.refused:
            raise self.refused[key]
        if self._stopped or key in self.waiting or any(key in lines for lines in self._new.values()):
            raise PutOff("its answer comes with a batch")

    async def post(
        self, path: str, data: bytes, *, key: str, fields: Collection[str], seconds: float, read: Callable[[Any], T]
    ) -> NoReturn:
        head = json.dumps({"custom_id": key, "method": "POST", "url": f"/v1{path}"})
        self._new.setdefault(path, {})[key] = head[:-1].encode() + b', "body": ' + data + b"}\n"
        raise AwaitsBatch("its answer comes with a batch")

    def stop(self) -> None:
        self._stopped = True

    async def close(self) -> None:
        """Write the new requests; each file is for one endpoint, as the API requires."""
        for lines in self._new.values():
            size, part = 0, dict[str, bytes]()
            for key, line in lines.items():
                if part and (len(part) >= LINES or size + len(line) > BYTES):
                    self._write(part)
                    size, part = 0, {}
                part[key] = line
                size += len(line)
            self._write(part)
        self._new.clear()

    def _write(self, lines: dict[str, bytes]) -> None:
        numbers = [int(found[1]) for path in self.folder.iterdir() if (found := REQUESTS.fullmatch(path.name))]
        name = f"requests-{max(numbers, default=0) + 1:03}.jsonl"
        write_atomically(self.folder / name, b"".join(lines.values()))
        self.waiting.update(dict.fromkeys(lines, name))

    def read_outputs(self, cache: Cache, price: Price | None) -> list[dict[str, Any]]:
        """Put new answers into the cache, and return the bodies of the requests that still wait for theirs.

        A request that failed for no fault of its own (an expired batch, no funds, 429, 5xx) no longer waits: it is
        written into the next file, like one that is asked otherwise now."""
        fields: dict[str, list[str]] = {}
        for place, _, row in self._lines(outputs=False):
            if not isinstance(row.get("custom_id"), str) or not isinstance(row.get("body"), dict):
                raise UserError(f"{place} is no request of agentkd's: take it out")
            fields.setdefault(row["custom_id"], []).extend(list_fields(row["body"]))
        returned: Counter[str] = Counter()
        seen: set[bytes] = set()  # an output that was fetched twice counts once
        for place, line, row in self._lines(outputs=True):
            if line in seen:
                continue
            seen.add(line)
            key = row.get("custom_id")
            if not isinstance(key, str) or "response" not in row:
                raise UserError(f"{place} is no line of a batch's output: fetch the file again, or take it out")
            returned[key] += 1
            if not re.fullmatch(r"[0-9a-f]{64}", key):
                continue
            if key in cache:
                self.answered += 1
                continue
            response = row["response"] if isinstance(row["response"], dict) else {}
            status = read_count(response.get("status_code")) or 0
            try:
                reply = read_reply(response["body"], price)
            except NO_RESPONSE:
                if status >= 300:
                    self._read_refusal(key, status, response.get("body"), fields.get(key, ()))
                continue
            self.answered += 1
            usage = reply.usage
            cache.put(key, reply.model_dump(mode="json"), tokens=usage.tokens, usd=usage.usd)
        bodies = {}
        for place, _, row in self._lines(outputs=False):
            key = row["custom_id"]
            if returned[key]:
                returned[key] -= 1
            elif key not in cache:
                self.waiting[key] = place.rpartition("/")[2].partition(":")[0]
                bodies[key] = row["body"]
        return list(bodies.values())

    def _read_refusal(self, key: str, status: int, content: Any, fields: Collection[str]) -> None:
        refusal = read_refusal(status, content, fields)
        text = f"the batch refused the request ({status}): {describe_error(content)}"
        if refusal.field in LEARNED:
            self.unknown.add(refusal.field)
        elif refusal.cause in ("passing", "server"):
            self.again = text
        else:
            self.refused[key] = Refused(text, status, refusal)

    def _lines(self, *, outputs: bool) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
        """Yield place, text and content of each line of the outputs, or of our own request files."""
        for path in sorted(self.folder.glob("*.jsonl")):
            if outputs == bool(REQUESTS.fullmatch(path.name)):
                continue
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.strip():
                        continue
                    try:
                        row = load_json(line)
                    except ValueError:
                        row = None
                    if not isinstance(row, dict):
                        raise UserError(f"{path}:{number} is not JSON: fetch the file again, or take it out")
                    yield f"{path}:{number}", line.strip(), row


@asynccontextmanager
async def open_batch(
    endpoint: Endpoint, *, folder: Path, api: BatchApi | None, cache: Cache, options: TeacherOptions, say: Say
) -> AsyncIterator[Teacher]:
    """Open a teacher whose requests go into batch files.

    With `api` the files are submitted, and their outputs fetched when they are done. Leaving the block raises
    WorldError as long as answers are missing: the run is not complete."""
    price = endpoint.price
    folder.mkdir(parents=True, exist_ok=True)
    if api is not None:
        await api.fetch(folder, say)
    if price is not None:
        cached = None if price.cached is None else price.cached * BATCH_SHARE
        price = Price(prompt=price.prompt * BATCH_SHARE, completion=price.completion * BATCH_SHARE, cached=cached)
    desk = BatchFolder(folder)
    before = len(cache)
    bodies = desk.read_outputs(cache, price)
    say(f"batch {folder}: {len(cache) - before} answers taken in, {len(bodies)} awaited")
    if desk.again:
        say(f"{desk.again}; such requests are written again")
    unaddressed = replace(endpoint, urls=(), price=price)
    teacher = Teacher(unaddressed, cache=cache, options=options, wire=desk, say=say)
    teacher.requests.learn(desk.unknown)
    for body in bodies:  # they may be billed at any moment
        teacher.requests.budget.expect(teacher.requests.estimate(body, len(json.dumps(body))))
    try:
        yield teacher
    finally:
        await teacher.close()
        if line := teacher.tally.describe():
            say(f"{teacher.name}: {line}")
        if desk.waiting and api is not None:
            await api.submit(folder, say)
    if desk.waiting:
        files = ", ".join(sorted(set(desk.waiting.values())))
        work = "they are submitted" if api else f"submit each file as a batch and put its output into {folder}"
        raise WorldError(
            f"{len(desk.waiting)} requests wait for their answers ({files} in {folder}): {work}, "
            f"then run the same command again"
        )
