"""A run directory may come from anybody: nothing outside is written, and nothing in it hangs or floods a reader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentkd.errors import UserError, WorldError
from agentkd.report.write import write_report
from agentkd.runs.disk import write_atomically
from agentkd.runs.read import read_config, read_metrics, read_traces
from agentkd.runs.shard import Shard
from agentkd.runs.untrusted import parse_yaml, read_file_lines, read_small, refuse_links
from tests.support.run_directories import open_run, short_trace

NAMES = (
    "config.yaml", "traces-0.jsonl", "failures-0.jsonl", "traces-0.jsonl.torn", "metrics.json", "manifest.json",
    "report.html", "checkpoints.sqlite", "checkpoints.sqlite-wal", "memory.sqlite", "clock.json", "model.safetensors",
    "cache", "cache/responses-0.jsonl", "logs", "logs/llama.log", "checkpoints/checkpoint-1/trainer_state.json",
    "workspace", "workspace/maps", "workspace/candidates/one", ".lock",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_link_in_a_run_directory_is_refused_and_its_target_stays(name: str, tmp_path: Path) -> None:
    with open_run(out := tmp_path / "run") as run:
        run.append(short_trace("q0"))
        run.finish({})
    (target := tmp_path / "mine").write_text("precious")
    (link := out / name).parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    with pytest.raises((UserError, WorldError), match="is a link") as refused:
        open_run(out).__enter__()
    assert "\n" not in str(refused.value) and target.read_text() == "precious"


def test_links_of_code_and_of_the_data_are_no_obstacle(tmp_path: Path) -> None:
    """Code of a model may leave links in its own folder: they must not end the run that is resumed."""
    inside = tmp_path / "workspace" / "code" / "maps-1"
    (tmp_path / "workspace" / "data").parent.mkdir()
    (tmp_path / "workspace" / "data").symlink_to("/")
    inside.mkdir(parents=True)
    (inside / "link").symlink_to("/etc/passwd")
    refuse_links(tmp_path)


def test_a_report_replaces_a_link(tmp_path: Path) -> None:
    with open_run(out := tmp_path / "run") as run:
        run.append(short_trace("q0"))
    (target := tmp_path / "mine").write_text("precious")
    (out / "report.html").symlink_to(target)
    assert "<html" in write_report(out).read_text()
    assert target.read_text() == "precious" and not (out / "report.html").is_symlink()


def test_a_shard_and_a_file_in_its_making_follow_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (target := tmp_path / "mine").write_text("precious")
    (tmp_path / "traces-0.jsonl").symlink_to(target)
    with pytest.raises(WorldError, match="it is a link: put the file itself there"):
        Shard(tmp_path / "traces-0.jsonl")
    monkeypatch.setattr("agentkd.runs.disk._numbers", iter([7]))
    (tmp_path / f".metrics.json.{os.getpid()}-7").symlink_to(target)  # the name of the temporary file, foreseen
    write_atomically(tmp_path / "metrics.json", "{}")
    assert target.read_text() == "precious" and (tmp_path / "metrics.json").read_text() == "{}"


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "traces-0.jsonl"])
def test_a_pipe_does_not_hang(name: str, tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.append(short_trace("q0"))
        run.finish({})
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    for read in (open_run(tmp_path).__enter__, lambda: write_report(tmp_path)):
        with pytest.raises(UserError, match=rf"{name} is no regular file: remove it"):
            read()


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.yaml", "metrics.json", "traces-0.jsonl"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**40)  # takes no room
    for read in (read_config, read_metrics, lambda path: list(read_traces(path))):
        with pytest.raises(UserError, match=r"has more than .* MB"):
            read(tmp_path)
    (tmp_path / "lines").write_bytes(b"ab\nabc\n")
    monkeypatch.setattr("agentkd.runs.untrusted.LINE_BYTES", 3)
    assert next(read_file_lines(tmp_path / "lines")) == b"ab\n"
    with pytest.raises(UserError, match="lines:2 has more than"):
        list(read_file_lines(tmp_path / "lines"))
    assert read_small(tmp_path / "lines", 7) == b"ab\nabc\n"


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "text",
    [LAUGHS, "[" * 5000, "a: !!python/object/apply:os.mkdir [made]", "a: !!python/name:os.system", "\0", b"\xff"],
)
def test_yaml_is_plain_values(text: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):
        parse_yaml(text)
    (tmp_path / "config.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError, match=r"config.yaml is damaged"):
        read_config(tmp_path)
    assert not (tmp_path / "made").exists()
