"""The store under fire: a full disk, a disk that refuses, folders that go away, two writers, clocks that jump."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import GenerateConfig
from agentkd.errors import UserError, WorldError
from agentkd.generate import generate
from agentkd.report.write import write_report
from agentkd.runs.read import is_complete, read_traces
from agentkd.teacher.cache import Cache
from agentkd.trace import content_hash
from tests.support.mock_server import mock_server
from tests.support.paths import ROOT
from tests.support.run_directories import open_run, short_trace
from tests.support.warm import KBQA, warm


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Use up a disk but for `leave` bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(filler, max(0, filler.stat().st_size - leave))
    return filler


def key(number: int) -> str:
    return content_hash(number)


class TestFullDisk:
    def test_a_shard(self, small_disk: Path) -> None:
        """Samples go to disk until it is full; with room made, the same command finishes with all of them, once."""
        out, done = small_disk / "run", 0
        with (
            pytest.raises(WorldError, match=r"traces-0.jsonl: No space left on device; make room"),
            open_run(out) as run,
        ):
            filler = fill(small_disk, leave=12_288)
            for done in range(10_000):
                run.append(short_trace(f"q{done}"))
        assert done > 1
        assert [trace.id for trace in read_traces(out)] == [f"q{number}" for number in range(done)]
        with pytest.raises(WorldError, match=r"No space left"), open_run(out) as run:
            run.append(short_trace("long" * 9999))
        filler.unlink()
        with open_run(out) as run:
            assert len(run.done) == done and run.repaired == (0, 0)
            run.append(short_trace(f"q{done}"))
            run.finish({})
        assert len(list(read_traces(out))) == done + 1 and is_complete(out)

    def test_a_new_run(self, small_disk: Path) -> None:
        (out := small_disk / "run").mkdir()
        filler = fill(small_disk)
        with pytest.raises(WorldError, match=r"config.yaml: No space left on device; make room"):
            open_run(out).__enter__()
        filler.unlink()
        with open_run(out) as run:  # the failed one holds no lock
            assert not run.done

    def test_a_config_that_changes(self, small_disk: Path) -> None:
        with open_run(out := small_disk / "run") as run:
            run.append(short_trace("q0"))
        before = (out / "config.yaml").read_bytes()
        fill(small_disk)
        with open_run(out) as run:
            assert run.done == {("q0", 0)}, "to go on as before needs no room"
        with pytest.raises(WorldError, match=r"config.yaml: No space left on device; make room"):
            open_run(out, limit=9).__enter__()
        assert (out / "config.yaml").read_bytes() == before

    def test_the_end_of_a_run(self, small_disk: Path) -> None:
        out = small_disk / "run"
        with open_run(out) as run:
            run.append(short_trace("q0"))
            filler = fill(small_disk)
            with pytest.raises(WorldError, match=r"metrics.json: No space left on device; make room"):
                run.finish({"traces": 1})
            os.truncate(filler, filler.stat().st_size - 4096)  # room for metrics.json alone
            with pytest.raises(WorldError, match=r"manifest.json: No space left on device; make room"):
                run.finish({"traces": 1})
            assert not is_complete(out) and json.loads((out / "metrics.json").read_text()) == {"traces": 1}
            filler.unlink()
            run.finish({"traces": 1})
        assert is_complete(out)

    def test_a_repair(self, small_disk: Path) -> None:
        out = small_disk / "run"
        with open_run(out) as run:
            for number in range(9):
                run.append(short_trace(f"q{number}"))
        torn = (shard := out / "traces-0.jsonl").read_bytes()[:-9]
        shard.write_bytes(torn)
        filler = fill(small_disk)
        with pytest.raises(WorldError, match=r"traces-0.jsonl.*: No space left on device; make room"):
            open_run(out).__enter__()
        assert shard.read_bytes() == torn, "not repaired, but not worse either"
        filler.unlink()
        with open_run(out) as run:
            assert len(run.done) == 8

    def test_a_cache(self, small_disk: Path) -> None:
        cache = Cache(small_disk / "cache")
        cache.put(key(0), {"text": "Ä" * 99})
        filler = fill(small_disk)
        with pytest.raises(WorldError, match=r"No space left on device; make room"):
            for number in range(1, 1000):
                cache.put(key(number), {"text": "Ä" * 99})
        assert cache.get(key(number)) is None
        filler.unlink()
        cache.put(key(number), {"text": "again"})
        cache.close()
        reopened = Cache(small_disk / "cache")
        assert all(reopened.get(key(old)) == {"text": "Ä" * 99} for old in range(number))
        assert reopened.get(key(number)) == {"text": "again"}

    def test_a_command_with_much_in_flight_ends_with_one_line(self, small_disk: Path) -> None:
        """Neither the other samples' errors nor an unclosed session follow it; nothing is lost."""
        out = small_disk / "run"
        fill(small_disk, leave=120_000)
        with mock_server(latency=0.005) as server:
            options = ["--teacher", server.spec, "--retriever", "bm25", "--concurrency", "32", "--out", str(out)]
            argv = [sys.executable, "-m", "agentkd", "generate", "--task", "geo", "--limit", "60", *options]
            full = warm(*KBQA).run(argv)
            kept = [trace.id for trace in read_traces(out)]
            subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
            again = warm(*KBQA).run(argv)
        assert full.returncode == 3 and full.stderr.splitlines()[-1].startswith("error: cannot write"), full.stderr
        assert "Traceback" not in full.stderr and "nclosed" not in full.stderr and full.stderr.count("error:") == 1
        assert again.returncode == 0 and len(list(read_traces(out))) == 60 > len(kept) > 0
        assert [trace.id for trace in read_traces(out)][: len(kept)] == kept

    def test_a_disk_for_reading_only(self, small_disk: Path) -> None:
        with open_run(out := small_disk / "run") as run:
            run.append(short_trace("q0"))
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        for path in (out, small_disk / "new"):
            with pytest.raises(WorldError, match=r"Read-only file system; .*another --out"):
                open_run(path).__enter__()
        assert [trace.id for trace in read_traces(out)] == ["q0"], "it can still be read"

    def test_a_finished_run_on_a_disk_for_reading_only(self, small_disk: Path, tmp_path: Path) -> None:
        """It is opened and found complete, and its report goes elsewhere; more is refused."""
        config = GenerateConfig(task="geo", limit=1, agent="top-path", retriever="bm25", out=str(small_disk / "run"))
        result = generate(config)
        (small_disk / "run" / ".lock").unlink()  # as in a copy
        before = {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()}
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        assert generate(config) == result
        with pytest.raises(WorldError, match=r"report.html: Read-only file system; .*another --out"):
            write_report(small_disk / "run")
        assert write_report(small_disk / "run", out=tmp_path / "page.html").read_text().strip().startswith("<!doctype")
        with pytest.raises(WorldError, match=r"Read-only file system"):
            generate(config.model_copy(update={"limit": 2}))
        assert {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_the_right_to_write(tmp_path: Path) -> None:
    (out := tmp_path / "run").mkdir(mode=0o555)
    for path in (out, out / "below"):
        with pytest.raises(WorldError, match=r"Permission denied; .*another --out"):
            open_run(path).__enter__()


class TestFoldersThatGoAway:
    def test_removed(self, tmp_path: Path) -> None:
        """The kernel would take lines for a file without a name for ever."""
        out = tmp_path / "run"
        with open_run(out) as run:
            run.append(short_trace("q0"))
            shutil.rmtree(out)
            with pytest.raises(WorldError, match=r"traces-0.jsonl: removed .*run the same command again"):
                run.append(short_trace("q1"))
            with pytest.raises(WorldError, match=r"failures-0.jsonl: No such file .*run the same command again"):
                run.fail(("q1", 0), "lost", retry=True)
            with pytest.raises(WorldError, match=r"metrics.json: No such file .*run the same command again"):
                run.finish({})
        with open_run(out) as run:
            assert not run.done and not is_complete(out)

    def test_removed_and_made_again_by_another(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        with open_run(out) as first:
            first.append(short_trace("q0"))
            shutil.rmtree(out)
            with open_run(out) as second:
                second.append(short_trace("q0"))
                with pytest.raises(WorldError, match="removed"):
                    first.append(short_trace("q1"))
        assert [trace.id for trace in read_traces(out)] == ["q0"]

    def test_moved(self, tmp_path: Path) -> None:
        """Open files move with the folder, and nothing is lost."""
        out, moved = tmp_path / "run", tmp_path / "moved"
        with open_run(out) as run:
            run.append(short_trace("q0"))
            out.rename(moved)
            run.append(short_trace("q1"))
            with pytest.raises(WorldError, match=r"metrics.json: No such file .*the directory and its disk are there"):
                run.finish({})
        assert [trace.id for trace in read_traces(moved)] == ["q0", "q1"]

    def test_a_link_to_another_disk(self, tmp_path: Path) -> None:
        target, link = tmp_path / "elsewhere" / "run", tmp_path / "run"
        link.symlink_to(target)
        with pytest.raises(WorldError, match=r"cannot make .*/run: .*another --out"):
            open_run(link).__enter__()  # the other disk is not there
        target.mkdir(parents=True)
        with open_run(link) as run, pytest.raises(UserError, match="being written by process"):
            run.append(short_trace("q0"))
            open_run(target).__enter__()  # by its other name
        with open_run(target) as run:
            assert run.done == {("q0", 0)}
        assert link.is_symlink()

    def test_a_shard_that_was_linked_out_is_read_and_not_written(self, tmp_path: Path) -> None:
        with open_run(out := tmp_path / "run") as run:
            run.append(short_trace("q0"))
        (shard := out / "traces-0.jsonl").rename(far := tmp_path / "far.jsonl")
        shard.symlink_to(far)
        before = far.read_bytes()
        assert [trace.id for trace in read_traces(out)] == ["q0"]
        with pytest.raises(UserError, match=r"traces-0.jsonl is a link to .*far.jsonl: .*link the whole directory"):
            open_run(out).__enter__()
        assert shard.is_symlink() and far.read_bytes() == before

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "run").touch()
        for path in (tmp_path / "run", tmp_path / "run" / "below"):
            with pytest.raises(WorldError, match=r"cannot make .*another --out"):
                open_run(path).__enter__()


WRITER = """
import sys, time
from pathlib import Path
from tests.support.run_directories import open_run, short_trace
from tests.support.warm import KBQA, warm
with open_run(Path(sys.argv[1])) as run:
    run.append(short_trace("q0"))
    print("open", flush=True)
    time.sleep(600)
"""


class TestTwoWriters:
    def test_the_second_goes_on_when_the_first_is_killed(self, tmp_path: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as first:
            assert first.stdout is not None and first.stdout.readline() == b"open\n"
            with pytest.raises(UserError, match=f"is being written by process {first.pid}: .*another --out"):
                open_run(tmp_path).__enter__()
            first.send_signal(signal.SIGKILL)
        with open_run(tmp_path) as run:
            assert run.done == {("q0", 0)}
            run.append(short_trace("q1"))
        assert [trace.id for trace in read_traces(tmp_path)] == ["q0", "q1"]

    def test_a_lock_that_is_removed_while_it_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A lock on a file without a name keeps nobody out: it is taken again, on the file that has the name."""
        real, calls = fcntl.flock, []

        def flock(file: int, how: int) -> None:
            if not calls:
                (tmp_path / ".lock").unlink()
            calls.append(file)
            real(file, how)

        monkeypatch.setattr("fcntl.flock", flock)
        with open_run(tmp_path):
            assert len(calls) == 2
            with pytest.raises(UserError, match="being written"):
                open_run(tmp_path).__enter__()

    def test_a_file_system_that_cannot_lock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def flock(*_: object) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr("fcntl.flock", flock)
        with pytest.raises(WorldError, match=r"cannot lock .*No locks available; .*disk that can lock"):
            open_run(tmp_path).__enter__()


class TestClocks:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_a_run_under_a_clock_that_jumps(
        self, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The clock jumps a day forward or back at every reading: only elapsed time may be measured."""
        rng = random.Random(seed)
        start, real = time.monotonic(), time.time
        monkeypatch.setattr("time.time", lambda: real() + rng.uniform(-86_400, 86_400))
        monkeypatch.setattr("agentkd.runs.progress.LOG_EVERY", 0.0)
        with mock_server() as server:
            config = GenerateConfig(
                task="geo", limit=4, teacher=server.spec, retriever="bm25", out=str(tmp_path / "run"), timeout=30
            )
            result = generate(config)
            sent = len(server.requests)
            again = generate(config)
        passed = time.monotonic() - start
        assert result["traces"] == 4 and is_complete(tmp_path / "run") and again == result
        assert len(server.requests) == sent, "what is done stays done"
        assert all(0 <= trace.usage.seconds <= passed for trace in read_traces(tmp_path / "run"))
        assert "traces 4/4" in capsys.readouterr().err

    def test_nothing_is_timed_by_the_wall_clock(self) -> None:
        """An interval of time.time() is wrong by any jump. Only dates need it: of servers (Retry-After), of files, and
        those that the OpenAI protocol wants (`created`)."""
        found = [
            f"{path.name}:{number}"
            for folder in ("agentkd", "agents", "retrievers", "eval")
            for path in (ROOT / folder).rglob("*.py")
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if ("time.time()" in line and "st_ctime" not in line and path.name != "endpoint.py")
            or "datetime.now()" in line
        ]
        assert not found


class TestCache:
    """A cache may lose half-written answers. It never gives another answer than the one that was put."""

    VALUES: tuple[dict[str, Any], ...] = ({"texts": ["Ä🙂"]}, {"texts": ["x" * 300]}, {"texts": []}, {"a": {"b": [1]}})

    def filled(self, folder: Path) -> list[Path]:
        cache = Cache(folder)
        for number, value in enumerate(self.VALUES):
            cache.put(key(number), value)
        cache.close()
        return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]

    @pytest.mark.parametrize("damage", ["cut", "zeros", "gone"])
    def test_half_written(self, damage: str, tmp_path: Path) -> None:
        whole = {path: path.read_bytes() for path in self.filled(tmp_path / "cache")}
        for path, content in whole.items():
            for place in [*range(0, len(content), 7), len(content) - 1]:
                for file, before in whole.items():
                    file.write_bytes(before)
                path.write_bytes(content[:place] + (bytes(9) + content[place + 9 :] if damage == "zeros" else b""))
                if damage == "gone":
                    path.unlink()
                cache = Cache(tmp_path / "cache")
                found = [cache.get(key(number)) for number in range(len(self.VALUES))]
                for number, value in enumerate(self.VALUES):
                    assert found[number] in (None, value)
                    if found[number] is None:
                        cache.put(key(number), value)
                assert [cache.get(key(number)) for number in range(len(self.VALUES))] == list(self.VALUES)
                cache.close()
                again = Cache(tmp_path / "cache")
                assert [again.get(key(number)) for number in range(len(self.VALUES))] == list(self.VALUES)
