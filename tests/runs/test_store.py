"""The run directory: all that is on disk stays, whatever happens to the writer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import hash_file, write_atomically
from agentkd.runs.read import find_newest_run, is_complete, read_config, read_traces
from tests.support.paths import ROOT
from tests.support.run_directories import open_run, short_trace


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def filled(path: Path, count: int) -> Path:
    with open_run(path) as run:
        for number in range(count):
            run.append(short_trace(f"q{number}"))
    return path / "traces-0.jsonl"


def test_reopening_knows_what_is_done_and_refuses_to_double_it(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    with open_run(tmp_path) as run:
        assert run.done == {("q0", 0), ("q1", 0), ("q2", 0)}
        with pytest.raises(ValueError, match="already in"):
            run.append(short_trace("q1"))
        run.append(short_trace("q1", sample=1))
        with pytest.raises(ValueError, match="already in"):
            run.append(short_trace("q1", sample=1))
    assert [trace.sample for trace in read_traces(tmp_path)] == [0, 0, 0, 1]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_shard_cut_anywhere_keeps_its_whole_lines(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("run")
    shard = filled(path, 3)
    whole = shard.read_bytes()
    ends = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    cut = data.draw(st.sampled_from(ends) | st.integers(0, len(whole)))
    noise = st.binary(max_size=20).filter(lambda text: not set(b"\r{") & set(text))
    garbage = data.draw(st.just(b"") | noise.map(lambda text: b"\xff" + text))  # no JSON, whatever stands before it
    shard.write_bytes(whole[:cut] + garbage)
    kept = whole[:cut].count(b"\n")
    torn = whole[:cut].rpartition(b"\n")[2] + garbage
    if cut in ends and not garbage:  # only the newline is missing
        kept, torn = kept + 1, b""
    torn += b"" if not torn or torn.endswith(b"\n") else b"\n"
    beside = shard.with_suffix(".jsonl.torn")
    with open_run(path) as run:
        assert run.done == {(f"q{number}", 0) for number in range(kept)}
        assert (beside.read_bytes() if beside.exists() else b"") == torn and run.repaired == (torn.count(b"\n"), 0)
        for number in range(kept, 3):
            run.append(short_trace(f"q{number}"))
    assert shard.read_bytes() == whole
    shard.write_bytes(whole + b"again")
    with open_run(path):
        assert shard.read_bytes() == whole and beside.read_bytes() == torn + b"again\n"


def test_a_trace_that_stands_twice_is_told_and_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = filled(tmp_path, 3)
    with open_run(tmp_path) as run:
        run.finish({})
    whole = shard.read_bytes()
    shard.write_bytes(whole + whole[: whole.index(b"\n") + 1])
    with pytest.raises(UserError, match=r"line 4 of .*traces-\*.jsonl repeats sample 0 of 'q0': .*repairs the shard"):
        list(read_traces(tmp_path))
    with open_run(tmp_path) as run:
        assert run.repaired == (0, 1) and len(run.done) == 3 and is_complete(tmp_path)
    assert shard.read_bytes() == whole and "1 lines stood there twice" in capsys.readouterr().err


def test_identity_is_fixed_and_extent_grows(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    with open_run(tmp_path, limit=9, concurrency=3, max_tokens=10, out="elsewhere"):
        assert read_config(tmp_path)["limit"] == 9
    changes = {"seed": (0, 1), "agent": ("kd-cot", "cot"), "hash_data": ("d", "e"), "stage": ("generate", "answers")}
    for name, (old, new) in changes.items():
        refused = open_run(tmp_path, **{name: new})
        with pytest.raises(UserError, match=f"made with {name} = {old!r}, not {new!r}: .*another --out"):
            refused.__enter__()
        with open_run(tmp_path) as run:  # the refused one holds no lock, and changed nothing
            assert run.done == {("q0", 0)}


def test_a_server_may_move_but_its_model_may_not(tmp_path: Path) -> None:
    with open_run(tmp_path, teacher="http://one:8000/v1#qwen") as run:
        run.append(short_trace("q0"))
    with open_run(tmp_path, teacher="http://one:8000/v1,https://two/v1#qwen"):
        assert read_config(tmp_path)["teacher"].startswith("http://one:8000/v1,")
    for other in ("http://one:8000/v1#llama", "local", "vllm:qwen"):
        with pytest.raises(UserError, match="was made with teacher"):
            open_run(tmp_path, teacher=other).__enter__()


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with open_run(tmp_path), pytest.raises(UserError, match=r"being written by process \d+"):
        open_run(tmp_path).__enter__()
    with open_run(tmp_path):
        pass


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.support.run_directories import open_run, short_trace
from agentkd.errors import WorldError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
with open_run(Path(sys.argv[1])) as run:
    for number in range(100):
        try:
            run.append(short_trace(f"q{number}"))
        except WorldError as error:
            print(number, error)
            break
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A limit on the file size stands for the full disk: the kernel cuts the write in the same way."""
    argv = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(ROOT), "2000"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    number, _, message = done.stdout.partition(" ")
    assert int(number) > 1 and "make room and run the same command again" in message
    assert [trace.id for trace in read_traces(tmp_path)] == [f"q{n}" for n in range(int(number))]
    assert (tmp_path / "traces-0.jsonl").read_bytes().endswith(b"\n")


def test_a_disk_that_fails_later_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are synced behind the run's back: it must hear of it before it declares itself complete."""
    with pytest.raises(WorldError, match=r"No space left.*make room"), open_run(tmp_path) as run:
        run.append(short_trace("q0"))
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(WorldError, match=r"No space left.*make room"):
            run.finish({})
    monkeypatch.undo()
    assert not is_complete(tmp_path)
    with open_run(tmp_path) as run:
        assert run.done == {("q0", 0)}
        run.append(short_trace("q1"))
    assert [trace.id for trace in read_traces(tmp_path)] == ["q0", "q1"]


def test_the_manifest_stands_for_completeness(tmp_path: Path) -> None:
    shard = filled(tmp_path, 2)
    with open_run(tmp_path) as run:
        run.finish({"traces": 2})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["shards"][shard.name] == {"sha256": hash_file(shard), "lines": 2}
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"traces": 2}
    with open_run(tmp_path) as run:
        run.append(short_trace("q2"))
    assert not is_complete(tmp_path)


@pytest.mark.parametrize("damage", ["a line is gone", "a line is torn", "half a manifest", "a line of another run"])
def test_a_manifest_that_does_not_fit_the_shards_is_not_believed(damage: str, tmp_path: Path) -> None:
    shard = filled(tmp_path, 2)
    with open_run(tmp_path) as run:
        run.finish({})
    with open_run(tmp_path):
        pass
    assert is_complete(tmp_path), "to open it changes nothing"
    manifest, whole = tmp_path / "manifest.json", shard.read_bytes()
    if damage == "half a manifest":
        manifest.write_bytes(manifest.read_bytes()[:20])
    elif damage == "a line of another run":
        shard.write_bytes(whole.replace(b"q0", b"q7"))
    else:
        shard.write_bytes(whole[: whole.index(b"\n") + 1 + (9 if damage == "a line is torn" else 0)])
    with open_run(tmp_path):
        assert not is_complete(tmp_path)


def test_a_run_is_read_while_it_is_written(tmp_path: Path) -> None:
    """Its last line may not be there in full yet. A torn line before others is an error that names the place."""
    shard = filled(tmp_path, 2)
    whole = shard.read_bytes()
    for cut in (1, 9, whole.index(b"\n") - 2):
        shard.write_bytes(whole[:-cut])
        assert [trace.id for trace in read_traces(tmp_path)] == (["q0", "q1"] if cut == 1 else ["q0"])
    shard.write_bytes(whole[:9] + b"\n" + whole)
    with pytest.raises(UserError, match=r"traces-0.jsonl:1 is not JSON .*run the command .* again, it repairs"):
        list(read_traces(tmp_path))
    with open_run(tmp_path):
        assert len(list(read_traces(tmp_path))) == 2


def test_what_a_killed_writer_left_half_written_goes(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    for name in (".manifest.json.123-4", ".traces-0.jsonl.123-5", ".config.yaml.123"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".mine").touch()
    with open_run(tmp_path) as run:
        run.finish({})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".lock", ".mine", "config.yaml", "traces-0.jsonl", "metrics.json", "manifest.json"}


@pytest.mark.parametrize("damage", [b"", b"stage: gen", b"\x00\x00", b"a: [", b"\xff"])
def test_a_damaged_config_is_named(damage: bytes, tmp_path: Path) -> None:
    filled(tmp_path, 1)
    (tmp_path / "config.yaml").write_bytes(damage)
    if damage != b"stage: gen":
        with pytest.raises(UserError, match=r"config.yaml is damaged: remove the directory, or restore"):
            read_config(tmp_path)
    with pytest.raises(UserError, match=r"is damaged|was made with stage = 'gen'"):
        open_run(tmp_path).__enter__()


def test_a_failure_is_paid_for_again_only_if_it_may_pass(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.fail(("busy", 0), "429", retry=True)
        run.fail(("refused", 0), "400", retry=False)
        assert run.done == {("refused", 0)}
    with open_run(tmp_path) as run:
        assert run.done == {("refused", 0)}


def test_the_newest_complete_run_is_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no complete generate run.*run `agentkd generate.*give --traces DIR"):
        find_newest_run(tmp_path)
    for age, (name, stage) in enumerate([("other", "distill"), ("new", "generate"), ("old", "generate")]):
        with open_run(tmp_path / name, stage=stage) as run:
            run.finish({})
        os.utime(tmp_path / name / "manifest.json", (1e9 - age, 1e9 - age))
    filled(tmp_path / "unfinished", 1)
    assert find_newest_run(tmp_path).name == "new"
    (tmp_path / "new" / "config.yaml").write_bytes(b"\0")
    assert find_newest_run(tmp_path).name == "old", "a damaged folder does not stand in the way of the others"


@pytest.mark.parametrize("clock", [-86_400, 0, 86_400], ids=["a day back", "steady", "a day on"])
def test_the_newest_run_is_the_last_finished_whatever_the_clock_did(clock: int, tmp_path: Path) -> None:
    for number, name in enumerate(["third", "first", "second"]):
        with open_run(tmp_path / name) as run:
            run.finish({})
        manifest = tmp_path / name / "manifest.json"
        assert find_newest_run(tmp_path).name == name
        if number == 0:  # what the clock said when it was finished; then it jumped to what it says now
            date = manifest.stat().st_mtime - clock
            os.utime(manifest, (date, date))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "metrics.json"
    write_atomically(target, "old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WorldError, match=r"No space left.*make room"):
        write_atomically(target, "new")
    assert target.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
