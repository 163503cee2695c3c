"""An append-only file of JSON lines that survives `kill -9` of its writer.

The kernel has a line when `append` returns. A thread brings it to the disk within SYNC_SECONDS, so that the writer,
often an event loop with 64 requests in flight, never waits for the disk.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.errors import UserError
from agentkd.runs.disk import disk_error, sync_folder, write_atomically
from agentkd.runs.untrusted import parse_json, read_file_lines

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
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o644)
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


class Repair(NamedTuple):
    """The numbers of lines that a repair took out: torn ones, and those that stood there a second time."""

    torn: int = 0
    doubled: int = 0


def repair_shard(path: Path, *, once: bool = False) -> Repair:
    """Move lines that are not records to `SHARD.torn`; all others stay as they are, in order.

    Such lines come from a write that was cut off, or from a block that a power cut left as zeros. With `once`, each
    sample may have one record: of equal lines the first stays. Raises UserError where two differ."""
    if _is_sound(path, once):
        return Repair()
    good: list[bytes] = []
    torn: list[bytes] = []
    places: dict[tuple[str, int], int] = {}
    doubled = 0
    for line in read_file_lines(path):
        content = line.rstrip(b"\n")
        body = content.strip(b"\0")  # a whole line may have zeros before or behind it
        record = parse_record(body)
        if record is None:
            torn.append(content + b"\n")
            continue
        place = places.setdefault((record["id"], record["sample"]), len(good)) if once else len(good)
        if place == len(good):
            good.append(body + b"\n")
        elif good[place] == body + b"\n":
            doubled += 1
        else:
            raise UserError(
                f"{path} holds two different records of sample {record['sample']} of {record['id'][:80]!r}: "
                f"remove one of the lines, or restore the file"
            )
    if torn:
        beside = path.with_suffix(".jsonl.torn")
        try:
            with beside.open("ab") as file:
                file.writelines(torn)
        except OSError as error:
            raise disk_error(beside, error) from None
    write_atomically(path, b"".join(good))
    return Repair(len(torn), doubled)


def _is_sound(path: Path, once: bool) -> bool:
    """Whether every line is a whole record, and with `once` of another sample than those before."""
    seen: set[tuple[str, int]] = set()
    for line in read_file_lines(path):
        record = parse_record(line) if line.endswith(b"\n") else None
        if record is None:
            return False
        key = record["id"], record["sample"]
        if once and key in seen:
            return False
        seen.add(key)
    return True


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Parse a line as a JSON object that names its sample; None for anything else."""
    try:
        value = parse_json(line)
    except ValueError:
        return None
    named = isinstance(value, dict) and isinstance(value.get("id"), str) and isinstance(value.get("sample"), int)
    return value if named else None


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a repaired shard."""
    yield from filter(None, map(parse_record, read_file_lines(path)))
