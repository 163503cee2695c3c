"""The run directory: append-only shards behind a lock, resumed by opening it again.

Every finished sample is one line, flushed to disk before the next is begun, so a run can die at any moment and lose
only what was in flight. `manifest.json` is written last: where it exists, the run is complete.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import yaml

from agentkd.config import StageConfig
from agentkd.errors import UserError, WorldError
from agentkd.trace import Trace

Key = tuple[str, int]


class Run:
    """A run directory opened for writing by exactly one process.

    `identity` holds what else may not change in the directory: hashes of data, KB and prompts."""

    def __init__(self, path: Path, stage: str, config: StageConfig, identity: Mapping[str, str]) -> None:
        self.path = path
        self.values: dict[str, Any] = {"stage": stage, **config.model_dump(mode="json"), **identity}
        self.extent = config.EXTENT | {"out"}
        self.done: set[Key] = set()
        self.repaired = 0
        self._shards: dict[str, IO[bytes]] = {}
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorldError(f"cannot make {self.path}: {error.strerror}; choose another --out") from None
        self._take_lock()
        try:
            self._check_identity()
            write_atomically(self.path / "config.yaml", yaml.safe_dump(self.values, sort_keys=False))
            for shard in sorted(self.path.glob("*-0.jsonl")):
                self.repaired += repair(shard)
            self.done = {(trace["id"], trace["sample"]) for trace in read_lines(self.path, "traces")}
            self.done |= {(row["id"], row["sample"]) for row in read_lines(self.path, "failures") if not row["retry"]}
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _take_lock(self) -> None:
        lock = (self.path / ".lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it when the process dies
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            raise UserError(f"{self.path} is being written by {owner}: wait for it, or choose another --out") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        self._lock = lock

    def _release(self) -> None:
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check_identity(self) -> None:
        path = self.path / "config.yaml"
        if not path.exists():
            return
        before = read_config(self.path)
        for key, value in self.values.items():
            if key not in self.extent and before.get(key) != value:
                raise UserError(
                    f"{self.path} was made with {key} = {before.get(key)!r}, not {value!r}: "
                    f"choose another --out, or remove the directory"
                )

    def append(self, trace: Trace) -> None:
        """Put a finished sample on disk. A key that is already there is refused: nothing is ever doubled."""
        key = (trace.id, trace.sample)
        if key in self.done:
            raise ValueError(f"sample {key} is already in {self.path}")
        self._write("traces", trace.model_dump_json())
        self.done.add(key)

    def fail(self, key: Key, error: str, *, retry: bool) -> None:
        """Record a sample that ended in an error; with `retry` false it is not tried (or paid for) again."""
        self._write("failures", json.dumps({"id": key[0], "sample": key[1], "error": error, "retry": retry}))
        if not retry:
            self.done.add(key)

    def _write(self, name: str, line: str) -> None:
        (self.path / "manifest.json").unlink(missing_ok=True)  # no longer complete
        if name not in self._shards:
            self._shards[name] = (self.path / f"{name}-0.jsonl").open("ab", buffering=0)
        shard = self._shards[name]
        start = os.fstat(shard.fileno()).st_size
        data = line.encode() + b"\n"
        try:
            if shard.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(shard.fileno())
        except OSError as error:
            os.ftruncate(shard.fileno(), start)  # no torn line stays behind
            raise WorldError(
                f"cannot write {self.path}/{name}-0.jsonl: {error.strerror}; make room and run the same command again"
            ) from None

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, then the manifest that declares the run complete."""
        write_atomically(self.path / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        shards = {
            shard.name: {"sha256": file_hash(shard), "lines": sum(1 for _ in shard.open("rb"))}
            for shard in sorted(self.path.glob("*-0.jsonl"))
        }
        write_atomically(self.path / "manifest.json", json.dumps({"shards": shards}, indent=1) + "\n")


def read_config(path: Path) -> dict[str, Any]:
    """The values in a directory's config.yaml."""
    try:
        values = yaml.safe_load((path / "config.yaml").read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is not a run directory: it has no config.yaml") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}/config.yaml is damaged: remove the directory, or restore the file")
    return values


def is_complete(path: Path) -> bool:
    return (path / "manifest.json").exists()


def newest_run(root: Path, stage: str = "generate") -> Path:
    """The complete run of a stage that was finished last, among `root`'s folders."""
    runs = [
        manifest.parent
        for manifest in root.glob("*/manifest.json")
        if (manifest.parent / "config.yaml").exists() and read_config(manifest.parent).get("stage") == stage
    ]
    if not runs:
        raise UserError(
            f"no complete {stage} run under {root}/: run `agentkd {stage} --task geo`, or give --traces DIR"
        )
    return max(runs, key=lambda run: (run / "manifest.json").stat().st_mtime)


def read_traces(path: Path) -> Iterator[Trace]:
    """All traces of a run directory, in the order of their shards."""
    for row in read_lines(path, "traces"):
        yield Trace.model_validate(row)


def read_lines(path: Path, name: str) -> Iterator[dict[str, Any]]:
    for shard in sorted(path.glob(f"{name}-*.jsonl")):
        with shard.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise UserError(
                        f"{shard}:{number} is not JSON ({line[:40]!r}…): "
                        f"run the command that wrote the directory again, it repairs the shard"
                    ) from None


def repair(shard: Path) -> int:
    """Take lines out of a shard that are not whole JSON objects (a write that was cut off), keep them beside it in
    `SHARD.torn`, and return how many there were."""
    lines = shard.read_bytes().splitlines(keepends=True)
    good = [line if line.endswith(b"\n") else line + b"\n" for line in lines if is_object(line)]
    torn = [line for line in lines if not is_object(line)]
    if torn or b"".join(good) != b"".join(lines):
        with shard.with_suffix(".jsonl.torn").open("ab") as file:
            file.writelines(line.rstrip(b"\n") + b"\n" for line in torn)
        write_atomically(shard, b"".join(good))
    return len(torn)


def is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the target, then rename: a reader sees the old file or the new one, never a half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorldError(f"cannot write {path}: {error.strerror}; make room and run the same command again") from None


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
