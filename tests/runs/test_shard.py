"""A shard: appended lines stay whole, once and in order, however the file was torn in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import disk_error
from agentkd.runs.shard import SYNC_SECONDS, Shard, parse_record, read_records, repair_shard
from tests.support.paths import ROOT


def line(number: int, text: str = "Ä🙂") -> bytes:
    return json.dumps({"id": f"q{number}", "sample": 0, "text": text}, ensure_ascii=False).encode()


def write(path: Path, lines: list[bytes]) -> None:
    shard = Shard(path)
    for item in lines:
        shard.append(item)
    shard.close()


LINES = [line(number) for number in range(3)]
FIRST, SECOND, THIRD = (item + b"\n" for item in LINES)
HALF = FIRST[:-2].partition("🙂".encode()[2:])[0]  # ends inside of a character
TORN = {
    "the end is cut": (FIRST + SECOND + THIRD[:9], [0, 1], 1),
    "the end is cut inside of a character": (SECOND + HALF, [1], 1),
    "only the last newline is missing": (FIRST + SECOND[:-1], [0, 1], 0),
    "the start is cut": (FIRST[7:] + SECOND + THIRD, [1, 2], 1),
    "the middle is cut": (FIRST + SECOND[:20] + b"\n" + THIRD, [0, 2], 1),
    "a hole in the middle": (FIRST + SECOND[:5] + bytes(9) + SECOND[14:] + THIRD, [0, 2], 1),
    "zeros at the end": (FIRST + bytes(4096), [0], 1),
    "zeros at the start": (bytes(4096) + b"\n" + FIRST, [0], 1),
    "zeros before and behind whole lines": (bytes(7) + FIRST + SECOND[:-1] + bytes(5) + b"\n" + THIRD, [0, 1, 2], 0),
    "bytes that are no text": (FIRST + b"\xff\xfe{\r}\x00\xc3\n" + SECOND, [0, 1], 1),
    "a carriage return in a torn line": (FIRST[:9] + b"\r" + FIRST[9:20] + b"\n" + SECOND, [1], 1),
    "JSON that is no record": (b'{}\n[]\nnull\n{"id": 3, "sample": 0}\n{"id": "q"}\n' + FIRST, [0], 5),
    "brackets without end": (FIRST + b"[" * 200_000 + b"\n" + SECOND, [0, 1], 1),
    "nothing": (b"", [], 0),
}


@pytest.mark.parametrize(("content", "left", "torn"), TORN.values(), ids=TORN.keys())
def test_torn(content: bytes, left: list[int], torn: int, tmp_path: Path) -> None:
    path, beside = tmp_path / "traces-0.jsonl", tmp_path / "traces-0.jsonl.torn"
    path.write_bytes(content)
    assert repair_shard(path) == (torn, 0)
    whole = b"".join(LINES[number] + b"\n" for number in left)
    assert path.read_bytes() == whole
    assert (beside.read_bytes().count(b"\n") if torn else beside.exists()) == torn
    assert repair_shard(path) == (0, 0) and path.read_bytes() == whole, "repaired once is repaired"
    write(path, [line(7)])
    assert [row["id"] for row in read_records(path)] == [f"q{number}" for number in [*left, 7]]


DOUBLED = {
    "a line after itself": ([0, 0, 1], 1),
    "all lines again": ([0, 1, 2, 0, 1, 2], 3),
    "three times": ([1, 1, 1], 2),
    "none": ([0, 1, 2], 0),
}


@pytest.mark.parametrize(("order", "doubled"), DOUBLED.values(), ids=DOUBLED.keys())
@pytest.mark.parametrize("end", [b"", b"torn"], ids=["whole", "torn"])
def test_a_line_that_stands_twice_goes(order: list[int], doubled: int, end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "traces-0.jsonl"
    path.write_bytes(b"".join(LINES[number] + b"\n" for number in order) + end)
    assert repair_shard(path, once=True) == (bool(end), doubled)
    assert path.read_bytes() == b"".join(LINES[number] + b"\n" for number in dict.fromkeys(order))
    assert repair_shard(path, once=True) == (0, 0)


def test_two_records_of_one_sample_that_differ_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "traces-0.jsonl"
    path.write_bytes(before := FIRST + SECOND + line(0, "another") + b"\n")
    with pytest.raises(UserError, match=r"traces-0.jsonl holds two different records of sample 0 of 'q0': remove one"):
        repair_shard(path, once=True)
    assert path.read_bytes() == before and repair_shard(path) == (0, 0), "a failure may stand there twice"


def test_a_whole_shard_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "traces-0.jsonl"
    write(path, LINES)
    before = path.stat()
    assert repair_shard(path) == (0, 0) and path.stat() == before


CUT, APPEND = st.integers(0, 400), st.sampled_from(["", "Ä🙂", "\n\r\0", "x" * 50])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.one_of(APPEND, CUT, st.none()), max_size=25))
def test_any_sequence(steps: list[str | int | None], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Appends (a text), cuts from the end (a number of bytes, as a crash leaves it) and reopenings (None): what is in
    the file after each is what a list of lines in memory says. A cut file is reopened before it is written again."""
    path = tmp_path_factory.mktemp("shard") / "traces-0.jsonl"
    expected: list[bytes] = []
    shard = Shard(path)
    for number, step in enumerate([*steps, None]):
        if isinstance(step, str):
            expected.append(line(number, step))
            shard.append(expected[-1])
            continue
        shard.close()
        if step is not None:
            whole = b"".join(item + b"\n" for item in expected)
            kept = whole[: max(0, len(whole) - step)]
            os.truncate(path, len(kept))
            last = kept.rpartition(b"\n")[2]
            expected = expected[: kept.count(b"\n") + (parse_record(last) is not None)]  # whole, but for its newline
        repair_shard(path)
        assert path.read_bytes() == b"".join(item + b"\n" for item in expected)
        shard = Shard(path)
    shard.close()
    ids = [row["id"] for row in read_records(path)]
    assert len(ids) == len(set(ids)) == len(expected)


APPENDER = """
import os, sys
from pathlib import Path
from agentkd.runs.shard import Shard
shard = Shard(Path(sys.argv[1]))
for number in range(10**9):
    shard.append(b'{"id": "q%d", "sample": 0, "text": "%s"}' % (number, b"x" * (number % 5000)))
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize("acknowledged", [1, 17, 2000])
def test_what_append_returned_for_survives_sigkill(acknowledged: int, tmp_path: Path) -> None:
    path = tmp_path / "traces-0.jsonl"
    argv = [sys.executable, "-c", APPENDER, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged):
            last = writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
    told = int(([last] + [word for word in rest if word.endswith(b"\n")])[-1])
    repair_shard(path)
    numbers = [int(row["id"][1:]) for row in read_records(path)]
    assert numbers == list(range(len(numbers))) and len(numbers) >= told + 1 >= acknowledged


def test_lines_reach_the_disk_without_further_ado(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are synced by the thread a moment later, many with one fsync; none waits for the next or the end."""
    synced, real, sizes = threading.Event(), os.fsync, []
    shard = Shard(tmp_path / "traces-0.jsonl")

    def fsync(file: int) -> None:
        sizes.append(os.fstat(file).st_size)
        real(file)
        synced.set()

    monkeypatch.setattr("os.fsync", fsync)
    for item in LINES:
        shard.append(item)
    assert synced.wait(100 * SYNC_SECONDS + 30)
    shard.sync()
    assert sizes[-1] == len(FIRST + SECOND + THIRD)
    for number in range(500):
        shard.append(line(number))
    shard.close()
    assert len(sizes) < 250, "one fsync pays for many lines"
    assert sizes[-1] == (tmp_path / "traces-0.jsonl").stat().st_size, "the last line is on the disk, too"


def test_after_a_failed_fsync_nothing_more_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel reports lost pages once, and then takes writes again as if nothing had been."""
    path = tmp_path / "traces-0.jsonl"
    shard = Shard(path)
    shard.append(LINES[0])

    def fsync(file: int) -> None:
        monkeypatch.undo()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(WorldError, match=r"cannot write .*traces-0.jsonl: Input/output error; .*run the same command"):
        shard.sync()
    for action in (lambda: shard.append(LINES[1]), shard.sync, shard.close):
        with pytest.raises(WorldError, match="Input/output error"):
            action()
    shard.close()  # it is closed, and says so once
    assert [row["id"] for row in read_records(path)] == ["q0"]


@pytest.mark.parametrize(("number", "remedy"), [(28, "make room"), (30, "another --out"), (5, "its disk are there")])
def test_the_remedy_fits_the_error(number: int, remedy: str) -> None:
    message = str(disk_error(Path("a/b"), OSError(number, os.strerror(number))))
    assert (
        message.startswith(f"cannot write a/b: {os.strerror(number)}; ") and remedy in message and "\n" not in message
    )


def test_a_line_that_cannot_be_taken_back_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write was cut, and the cut part stays: another line would be glued to it."""
    path = tmp_path / "traces-0.jsonl"
    shard, real = Shard(path), os.write
    shard.append(LINES[0])

    def cut(file: int, data: Any) -> int:
        if len(data) < len(SECOND):
            raise OSError(28, "No space left on device")
        return real(file, data[:9])

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", cut)
        patch.setattr("os.ftruncate", refuse)
        with pytest.raises(WorldError, match="No space left"):
            shard.append(LINES[1])
    with pytest.raises(WorldError, match="Input/output error"):
        shard.append(LINES[2])
    with pytest.raises(WorldError, match="Input/output error"):
        shard.close()
    assert repair_shard(path) == (1, 0) and path.read_bytes() == FIRST
