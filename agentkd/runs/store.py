"""Writes run directories: append-only shards behind a lock. Opening a directory again resumes it.

Every finished sample is one line, which is written before the next sample is counted. So a run can die at any moment
and loses only the samples in flight. `manifest.json` is written last: where it exists, the run is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from agentkd.config import StageConfig
from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import disk_error, hash_file, is_for_reading_only, write_atomically
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_config, strip_address
from agentkd.runs.shard import Repair, Shard, read_records, repair_shard
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_file_lines, read_small, refuse_links
from agentkd.trace import Trace

Key = tuple[str, int]
_SHARDS = ("traces", "failures")
OF_QUESTIONS = ("generate", "elicit", "answers", "verify", "import")  # stages whose work is traces alone
_LEFT_OVER = re.compile(r"\.[\w.-]+\.\d+(-\d+)?")  # of `write_atomically` in a process that was killed


class RunDirectory:
    """A run directory, opened for writing by one process at a time.

    A complete one on a disk for reading only can be opened, too; writing to it then fails.

    `identity` holds hashes (of data, KB and prompts) that may not change in the directory, like the config outside its
    extent. A run of questions without a trace is identified by nothing: it may begin anew with other values.
    `done` are the samples that are settled, `refused` those that a server has refused in an earlier call, for no reason
    that is final. Opening raises UserError where another process writes or the identity differs, WorldError where the
    disk refuses."""

    def __init__(self, path: Path, stage: str, config: StageConfig, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.values: dict[str, Any] = {"stage": stage, **config.model_dump(mode="json"), **identity}
        self.extent = config.EXTENT | {"out"}
        self._defaults = {name: field.default for name, field in type(config).model_fields.items()}
        self.done: set[Key] = set()
        self.refused: set[Key] = set()
        self.repaired = Repair()
        self.read_only = False
        self._shards: dict[str, Shard] = {}
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorldError(f"cannot make {self.path}: {error.strerror}; choose another --out") from None
        self._take_lock()
        try:
            refuse_links(self.path)
            before = self._check_identity()
            if not self.read_only:
                self._tidy()
                if before != self.values:
                    write_atomically(self.path / "config.yaml", yaml.safe_dump(self.values, sort_keys=False))
            for name in _SHARDS:
                if (shard := self.path / f"{name}-0.jsonl").exists():
                    self._repair(shard, once=name == "traces")
                    for row in read_records(shard):
                        kept = self.refused if row.get("retry", False) else self.done
                        if kept is self.done or row.get("refused", False):
                            kept.add((row["id"], row["sample"]))
            self._distrust_manifest()
        except OSError as error:
            self._release()
            raise disk_error(self.path, error) from None
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _tidy(self) -> None:
        """Remove the half-written files of a killed process. The lock is held."""
        for path in list(self.path.iterdir()):
            if _LEFT_OVER.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _repair(self, shard: Path, *, once: bool) -> None:
        found = repair_shard(shard, once=once)
        if found.torn:
            say(f"{shard}: {found.torn} torn lines were moved to {shard.name}.torn; their samples are made again")
        if found.doubled:
            say(f"{shard}: {found.doubled} lines stood there twice; the first of each stays")
        self.repaired = Repair(self.repaired.torn + found.torn, self.repaired.doubled + found.doubled)

    def _take_lock(self) -> None:
        path = self.path / ".lock"
        while self._lock is None:
            try:
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                if is_for_reading_only(error) and is_complete(self.path):
                    self.read_only = True
                    return
                raise disk_error(path, error) from None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it when the process dies
                if os.path.exists(path) and os.path.samestat(os.fstat(lock), os.stat(path)):
                    self._lock = lock
                else:  # removed between open and lock: locking it would exclude nobody
                    os.close(lock)
            except BlockingIOError:
                owner = os.read(lock, 100).decode("utf-8", "replace").strip() or "another process"
                os.close(lock)
                raise UserError(
                    f"{self.path} is being written by {owner}: wait for it, or choose another --out"
                ) from None
            except OSError as error:
                os.close(lock)
                raise WorldError(
                    f"cannot lock {path}: {error.strerror}; choose an --out on a disk that can lock files"
                ) from None
        with contextlib.suppress(OSError):  # the owner's name is only a help; a full disk is reported elsewhere
            os.ftruncate(self._lock, 0)
            os.write(self._lock, f"process {os.getpid()}".encode())

    def _release(self) -> None:
        shards, self._shards = self._shards, {}
        try:
            with contextlib.ExitStack() as stack:
                for shard in shards.values():
                    stack.callback(shard.close)
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _check_identity(self) -> dict[str, Any] | None:
        """Compare with the values that the directory was made with, and return them; None where it is new."""
        if not (self.path / "config.yaml").exists():
            return None
        before = read_config(self.path)
        for key, value in self.values.items():
            # A field that is younger than the directory had its default when that was made.
            old = before.get(key, self._defaults.get(key))
            if key not in self.extent and strip_address(old) != strip_address(value):
                if before.get("stage") in OF_QUESTIONS and not self._has_traces():
                    (self.path / "failures-0.jsonl").unlink(missing_ok=True)  # of the run that it was to be
                    return before
                raise UserError(
                    f"{self.path} was made with {key} = {old!r}, not {value!r}: "
                    f"choose another --out, or remove the directory"
                )
        return before

    def _has_traces(self) -> bool:
        """Whether a sample was ever finished here."""
        return any(shard.stat().st_size for shard in self.path.glob("traces-*"))

    def append(self, trace: Trace) -> None:
        """Write a finished sample. Raises ValueError for one that is there already: no sample is stored twice."""
        key = (trace.id, trace.sample)
        if key in self.done:
            raise ValueError(f"sample {key} is already in {self.path}")
        self._write("traces", trace.model_dump_json())
        self.done.add(key)

    def fail(self, key: Key, error: str, *, retry: bool, refused: bool = False) -> None:
        """Record a sample that ended in an error. Unless `retry`, it is not tried, or paid for, again.

        `refused`: a server has answered others, but not this one."""
        row = {"id": key[0], "sample": key[1], "error": error, "retry": retry}
        self._write("failures", json.dumps(row | ({"refused": True} if refused else {})))
        if not retry:
            self.done.add(key)

    def _write(self, name: str, line: str) -> None:
        if name not in self._shards:
            self._shards[name] = Shard(self.path / f"{name}-0.jsonl")
        self._incomplete()
        self._shards[name].append(line.encode())

    def _incomplete(self) -> None:
        if is_complete(self.path):
            (self.path / "manifest.json").unlink(missing_ok=True)

    def _distrust_manifest(self) -> None:
        """Remove a manifest that does not match the shards: the run is open again."""
        try:
            manifest = parse_json(read_small(self.path / "manifest.json", METRICS_BYTES))
        except FileNotFoundError:
            return
        except ValueError:
            manifest = None
        if manifest != {"shards": self._contents()}:
            self._incomplete()

    def _contents(self) -> dict[str, dict[str, Any]]:
        """Hash and number of lines per shard."""
        found = {}
        for shard in sorted(self.path.glob("*-0.jsonl")):
            found[shard.name] = {"sha256": hash_file(shard), "lines": sum(1 for _ in read_file_lines(shard))}
        return found

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, then the manifest that declares the run complete."""
        for shard in self._shards.values():
            shard.sync()
        write_atomically(self.path / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        manifest = self.path / "manifest.json"
        write_atomically(manifest, json.dumps({"shards": self._contents()}, indent=1) + "\n")
        _make_newest(manifest)


def _make_newest(manifest: Path) -> None:
    """Date a manifest after those of the other runs in the folder.

    So the run finished last has the latest date even where the clock was set back."""
    with contextlib.suppress(OSError):  # another folder vanished or is not readable
        others = [other.stat().st_mtime_ns for other in manifest.parent.parent.glob("*/manifest.json")]
        own = manifest.stat()
        if own.st_mtime_ns < (newest := max(others, default=0)):
            os.utime(manifest, ns=(own.st_atime_ns, newest + 1_000_000))
