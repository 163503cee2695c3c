"""An append-only file of JSON lines that survives `kill -9` of its writer.

The kernel has a line when `append` returns. A thread brings it to the disk within SYNC_SECONDS, so that the writer,
often an event loop with 64 requests in flight, never waits for the disk.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentkd.runs.disk import disk_error, sync_folder, write_atomically

# A power cut may take the lines of this time, and those of the fsync in progress. An fsync per line would be much
# slower (docs/serving.md).
SYNC_SECONDS = 0.05


class Shard:
    """A file of lines, open for appending until `close`. All methods raise WorldError with a remedy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._error: OSError | None = None
        self._dirty, self._closing = threading.Event(), threading.Event()
        try:
            new = not path.exists()
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if new:
                sync_folder(path.parent)
        except OSError as error:
            raise disk_error(path, error) from None
        self._syncer = threading.Thread(target=self._keep_syncing, name=f"fsync {path.name}", daemon=True)
        self._syncer.start()

    def append(self, line: bytes) -> None:
        """Append a line, whole or not at all."""
        self._check()
        try:
            state = os.fstat(self._file)
            if not state.st_nlink:  # removed: the kernel would still write, into a file that nobody can open
                raise FileNotFoundError(errno.ENOENT, "removed while it was being written")
            try:
                left = memoryview(line + b"\n")
                while left:
                    left = left[os.write(self._file, left) :]
            except OSError:
                self._cut(state.st_size)
                raise
        except OSError as error:
            raise disk_error(self.path, error) from None
        self._dirty.set()

    def sync(self) -> None:
        """Wait until all appended lines are on the disk."""
        self._dirty.clear()
        self._fsync()
        self._check()

    def close(self) -> None:
        """Bring the rest to the disk and close the file; it is closed even when this raises."""
        if self._file < 0:
            return
        self._closing.set()
        self._dirty.set()
        self._syncer.join()
        self._fsync()
        os.close(self._file)
        self._file = -1
        self._check()

    def _cut(self, size: int) -> None:
        """Remove a torn line, so that later ones can still be written."""
        try:
            os.ftruncate(self._file, size)
        except OSError as error:
            self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise disk_error(self.path, self._error)

    def _fsync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            # The kernel may have dropped lines that it could not write, and reports it only once. Only reading the file
            # again, at resume, shows which: nothing more is appended.
            self._error = error

    def _keep_syncing(self) -> None:
        while not self._closing.is_set():
            self._dirty.wait()
            self._closing.wait(SYNC_SECONDS)
            if not self._closing.is_set() and self._dirty.is_set():
                self._dirty.clear()
                self._fsync()


def repair_shard(path: Path) -> int:
    """Move lines that are not records to `SHARD.torn`, and return their number.

    All others stay as they are, in order. Such lines come from a write that was cut off, or from a block that a power
    cut left as zeros."""
    with path.open("rb") as file:
        if all(line.endswith(b"\n") and parse_record(line) is not None for line in file):
            return 0
    good: list[bytes] = []
    torn: list[bytes] = []
    with path.open("rb") as file:
        for line in file:
            content = line.rstrip(b"\n")
            body = content.strip(b"\0")  # a whole line may have zeros before or behind it
            if parse_record(body) is None:
                torn.append(content + b"\n")
            else:
                good.append(body + b"\n")
    if torn:
        beside = path.with_suffix(".jsonl.torn")
        try:
            with beside.open("ab") as file:
                file.writelines(torn)
        except OSError as error:
            raise disk_error(beside, error) from None
    write_atomically(path, b"".join(good))
    return len(torn)


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Parse a line as a JSON object that names its sample; None for anything else."""
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    named = isinstance(value, dict) and isinstance(value.get("id"), str) and isinstance(value.get("sample"), int)
    return value if named else None


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a repaired shard."""
    with path.open("rb") as file:
        yield from filter(None, map(parse_record, file))
