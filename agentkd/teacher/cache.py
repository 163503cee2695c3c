"""Responses on disk, by content address: no answer is paid for twice.

Each process appends to a shard of its own, one response per line. After `kill -9` all earlier lines are safe with the
kernel, and at most the last line is torn. A torn line is ignored. Lines are not synced to
the disk one by one, which would be far slower (docs/log.md). The index in memory holds places, not contents.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from agentkd.runs.disk import disk_error
from agentkd.runs.progress import Say
from agentkd.runs.shard import Shard
from agentkd.teacher.chat import Reply

HEAD = re.compile(rb'\{"key": "([0-9a-f]{64})", "tokens": (\d+), "usd": ([0-9.e+-]+), "value": (?=\{)')
MOST_TOKENS = 10**9  # of one response
Place = tuple[int, int, int]  # number of the shard, offset and length in bytes


class Cache:
    """Responses by key (64 hex digits). `tokens` and `usd` are the cost of all of them together.

    A stored response that cannot be read is no response: it is asked for again, which is said once."""

    def __init__(self, folder: Path, say: Say = lambda line: None) -> None:
        self.folder, self.say = folder, say
        self._damaged = False
        self.tokens, self.usd = 0, 0.0
        self._places: dict[bytes, Place] = {}
        self._shards: list[IO[bytes]] = []
        self._own: Shard | None = None
        self._number, self._size = -1, 0  # of the shard that is written
        for path in sorted(folder.glob("responses-*.jsonl")):
            self._read(path)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def get(self, key: str) -> dict[str, Any] | None:
        """The response; None where it is unknown or its line is damaged."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        number, start, length = place
        line = os.pread(self._shards[number].fileno(), length, start)
        try:
            value = json.loads(line)["value"]
        except (ValueError, KeyError, TypeError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
        self._count_damaged()
        return None

    def reply(self, key: str) -> Reply | None:
        """The reply that was stored; None where it is unknown or damaged."""
        value = self.get(key)
        try:
            return None if value is None else Reply.model_validate(value)
        except ValidationError:
            self._count_damaged()
            return None

    def _count_damaged(self) -> None:
        if not self._damaged:
            self._damaged = True
            self.say(f"{self.folder} has damaged answers: they are asked for again")

    def put(self, key: str, value: dict[str, Any], *, tokens: int = 0, usd: float = 0.0) -> None:
        """Store a response with its cost. Raises WorldError where it cannot be written whole."""
        text = json.dumps({"key": key, "tokens": tokens, "usd": usd, "value": value}, ensure_ascii=False)
        line = text.encode(errors="surrogatepass")
        own = self._own or self._open()
        own.append(line)
        self._places[bytes.fromhex(key)] = (self._number, self._size, len(line) + 1)
        self._size += len(line) + 1
        self.tokens += tokens
        self.usd += usd

    def close(self) -> None:
        """Release the shard; a later `put` takes one again."""
        if self._own is not None:
            own, self._own = self._own, None
            fcntl.flock(self._shards[self._number], fcntl.LOCK_UN)
            own.close()

    def _open(self) -> Shard:
        """Open the first shard that no other process holds, and end its torn last line, if any."""
        path, number = self.folder, 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                path = self.folder / f"responses-{number}.jsonl"
                file = path.open("a+b", buffering=0)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it when the process dies
                    break
                except BlockingIOError:
                    file.close()
                    number += 1
            self._size = os.fstat(file.fileno()).st_size
            torn = self._size and os.pread(file.fileno(), 1, self._size - 1) != b"\n"
        except OSError as error:
            raise disk_error(path, error) from None
        own = Shard(path)
        if torn:
            own.append(b"")
            self._size += 1
        self._shards.append(file)
        self._number, self._own = len(self._shards) - 1, own
        return own

    def _read(self, path: Path) -> None:
        """Index the whole lines of a shard. A key that occurs twice was asked by two processes at once: both paid."""
        file = path.open("rb")
        self._shards.append(file)
        number, start = len(self._shards) - 1, 0
        for line in file:
            head = HEAD.match(line)
            if head and line.endswith(b"}}\n") and (cost := read_cost(head[2], head[3])):
                self._places[bytes.fromhex(head[1].decode())] = (number, start, len(line))
                self.tokens += cost[0]
                self.usd += cost[1]
            start += len(line)


def read_cost(tokens: bytes, usd: bytes) -> tuple[int, float] | None:
    """Read the cost of a response; None where it is damaged."""
    try:
        cost = int(tokens), float(usd)
    except ValueError:
        return None
    return cost if cost[0] <= MOST_TOKENS and cost[1] >= 0 and math.isfinite(cost[1]) else None
