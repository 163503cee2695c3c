"""The border to what untrusted code leaves: what is refused before it is parsed, and that nothing there ends a run."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from agentkd.agents.agent_k import border
from agentkd.agents.agent_k.border import (
    Bounds,
    Refused,
    bound_columns,
    bound_table,
    judge,
    read_left_json,
    read_left_table,
    refuse,
    try_look,
)
from agentkd.agents.agent_k.contract import MESSAGE, Failure, Setup, list_names, map_file, show_name
from agentkd.agents.agent_k.model.answers import parse_code, parse_json
from agentkd.agents.agent_k.model.run_code import SCORES, keep_work_folder, read_predictions
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import check_maps, check_predictions, check_submission
from agentkd.agents.agent_k.workspace.files import save_table
from agentkd.errors import UserError, WorldError
from tests.support.lazy import lazily

pd = lazily("pandas")

IDS = [f"r{row}" for row in range(120)]
ASKED = bound_columns(["id", "0", "1"], IDS)
ANY = bound_table(len(IDS), 3, 2000)
SETUP = Setup(
    train="train.csv", test="test.csv", sample="sample.csv", id="id", targets=("y",), outputs=("y",), task="binary",
    classes=("0", "1"), output="probability", metric="auc", lower_is_better=False, tab=("a",),
)  # fmt: skip


def left(folder: Path, content: bytes | str, name: str = "left.csv") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def lines(*more: str, names: str = "id,0,1") -> str:
    return "\n".join([names, *(f"{row},0.25,0.75" for row in IDS), *more]) + "\n"


@pytest.mark.parametrize(
    ("content", "bounds", "words"),
    [
        ("id" + "," * 2_000_000, ASKED, r"has 2,000,002 bytes: at most 1,0\d\d,\d\d\d are read"),
        ("id" + "," * 900_000, ASKED, "900,002 bytes and 900,000 commas: 3 columns are read, of 4,113 bytes at most"),
        ("\n\nid" + "," * 900_000, ASKED, "line 3 of left.csv has 900,000 commas"),
        ("id,0,1\nr0" + "," * 900_000, ASKED, "line 2 of left.csv has 900,000 commas"),
        ("id,0,1\nr0,1,2" + "," * 900, ASKED, "3 columns and 903 cells in its first row"),
        ("id,a\nr0\n", ANY, "2 columns and 1 cells in its first row"),
        ("id," + ",".join(map(str, range(2000))), ANY, "has 2,001 columns: at most 2,000"),
        ("id,probability\nr0,1\n", ASKED, r"2 columns, \['id', 'probability'\], not \['id', '0', '1'\]"),
        ("id,0\nr0,1\n", ASKED, r"has 2 columns, \['id', '0'\], not \['id', '0', '1'\]"),
        ("id," + "x" * 3_000, ANY, "1 to 500 characters: 'xxx.*…' has 3,000 characters"),
        ("id,a,\nr0,1,2\n", ANY, "one is empty"),
        ("id,a,a\nr0,1,2\n", ANY, "column a stands twice"),
        ("id,\x1b[31m,\x1b[31m\nr0,1,2\n", ANY, r"column '\\x1b\[31m' stands twice"),
        ("id,a\rb,c\r\n", ANY, "is no CSV table"),
        (lines("r120,0,1"), ASKED, "more than the 120 rows that were asked for"),
        ("\n\n", ANY, "left.csv is empty"),
    ],
)
def test_a_table_is_refused_before_it_is_parsed(
    content: str, bounds: Bounds, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    whole = pd.read_csv
    monkeypatch.setattr("pandas.read_csv", lambda *given, **options: parsed.append(1) or whole(*given, **options))
    with pytest.raises(UserError, match=words) as refused:
        read_left_table(left(tmp_path, content), "left.csv", bounds)
    assert len(str(refused.value)) < 500
    assert parsed == [1] * ("rows that were asked" in words)


def test_a_sparse_file_counts_with_its_holes(tmp_path: Path) -> None:
    with (tmp_path / "left.csv").open("wb") as file:
        file.truncate(1_000_000_000)
    with pytest.raises(UserError, match="has 1,000,000,000 bytes"):
        read_left_table(tmp_path, "left.csv", ASKED)


def test_no_more_lines_are_parsed_than_rows_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file within its bytes may still have many times the rows, and parsed they take ten times the memory."""
    frames: list[Any] = []
    whole = pd.read_csv
    monkeypatch.setattr(
        "pandas.read_csv", lambda *given, **options: frames.append(whole(*given, **options)) or frames[-1]
    )
    left(tmp_path, "id,y\n" + "a,1\n" * 250_000)
    with pytest.raises(UserError, match="more than the 1,000 rows"):
        read_left_table(tmp_path, "left.csv", bound_columns(["id", "y"], ["row-0000000"] * 1000))
    assert [len(frame) for frame in frames] == [1001]


def test_a_table_within_its_bounds_is_read_as_before(tmp_path: Path) -> None:
    text = 'id,"a, b",long\n007,1.5,"x\ny"\n08,,"' + "w" * 200_000 + '"\n'
    frame = read_left_table(left(tmp_path, text), "left.csv", ANY)
    usual = pd.read_csv(tmp_path / "left.csv", dtype={"id": str}, low_memory=False)
    pd.testing.assert_frame_equal(frame, usual)
    assert list(frame["id"]) == ["007", "08"]
    (tmp_path / "left.csv").write_bytes(b"\xef\xbb\xbf" + lines().encode())
    frame = read_left_table(tmp_path, "left.csv", ASKED)
    assert list(frame["id"]) == IDS and list(frame["1"]) == [0.75] * len(IDS)


def test_the_bounds_grow_with_what_was_asked_for() -> None:
    long = [f"{'x' * 90}{row}" for row in range(20_000)]
    frame = pd.DataFrame({"id": long, "0": [1 / 3] * len(long), "1": [2 / 3] * len(long)})
    assert len(frame.to_csv(index=False)) < bound_columns(list(frame.columns), long).bytes < 9_000_000
    assert bound_table(10**6, 30, 2000).columns == 4 * 30 + 16  # wide only where there are few rows
    assert bound_table(100, 3000, 2000).columns > 4 * 3000
    assert bound_table(10**7, 100, 2000, 1 << 40).bytes == border.MOST_BYTES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("5", "not 5"),
        ("null", "not None"),
        ("[" * 100_000, "has 100,000 bytes"),
        ("[" * 60_000, "values.json"),
        ("[1" + "0" * 400 + "]", r"values.json\[0\]: "),
        ("[NaN]", r"values.json\[0\]: .*finite"),
        ("[1e301]", r"values.json\[0\]: .*between -1e\+300 and 1e\+300, not 1e\+301"),
        ("[true]", r"values.json\[0\]: .*number, not True"),
        ('["0.5"]', r"values.json\[0\]: "),
        ("[[0.5]]", r"values.json\[0\]: "),
        ("{}", "not {}"),
        ('"\\ud83d"', "values.json"),
        ("\xff", "values.json"),
        ("[0.5", "no JSON"),
    ],
)
def test_json_is_held_to_its_schema(content: str, words: str, tmp_path: Path) -> None:
    left(tmp_path, content.encode("latin-1"), "values.json")
    with pytest.raises(UserError, match=words) as refused:
        read_left_json(tmp_path, "values.json", SCORES)
    assert len(str(refused.value)) < 400


def test_json_that_is_no_plain_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"values\.json was not written"):
        read_left_json(tmp_path, "values.json", SCORES)
    (tmp_path / "values.json").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="symbolic link"):
        read_left_json(tmp_path, "values.json", SCORES)
    assert read_left_json(left(tmp_path, "[1, 2.5]", "good.json"), "good.json", SCORES) == [1.0, 2.5]


def raising(error: BaseException) -> Callable[[], Any]:
    def look() -> Any:
        raise error

    return look


def deeper(depth: int = 0) -> Any:
    return [deeper(depth + 1)]


@pytest.mark.parametrize(
    "look",
    [
        deeper,
        raising(OverflowError("int too large")),
        raising(MemoryError()),
        raising(KeyError("id")),
        raising(IndexError("shape mismatch")),
        raising(StopIteration()),
        raising(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")),
        raising(ExceptionGroup("several", [ValueError("x" * 9000)])),
        raising(UserError("one line")),
        lambda: TypeAdapter(int).validate_json("[]"),
        lambda: {}["\x1b[2J" + "y" * 3_000_000],
    ],
)
def test_every_error_at_the_border_is_a_failure(look: Callable[[], Any]) -> None:
    found = asyncio.run(judge("maps", "maps are files", look))
    assert isinstance(found, Refused)
    (failure,) = found.failures
    assert failure.test == "maps are files" and failure.stage == "maps" and 0 < len(failure.message) < MESSAGE
    assert "\x1b" not in failure.message


def test_a_full_disk_is_not_the_codes_fault() -> None:
    with pytest.raises(WorldError, match="disk"):
        asyncio.run(judge("maps", "maps are files", raising(WorldError("the disk is full"))))


def test_failures_pass_the_border_as_they_are() -> None:
    failures = [Failure(test="a", stage="solve", message="m"), Failure(test="b", stage="solve", message="n")]
    found = asyncio.run(judge("maps", "maps are files", lambda: refuse(failures)))
    assert isinstance(found, Refused) and found.failures == failures and str(found) == "m; n"
    assert asyncio.run(judge("maps", "maps are files", lambda: refuse([]) or 7)) == 7


def test_a_look_at_results_takes_no_time_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "SECONDS", 0.05)
    over = threading.Event()
    found = asyncio.run(judge("maps", "maps are files", lambda: over.wait(60)))
    over.set()
    assert isinstance(found, Refused) and "write less" in found.failures[0].message


def test_a_look_at_results_does_not_hold_up_ctrl_c() -> None:
    """A cancelled run does not wait for the thread: `asyncio.run` would, for one of an executor."""
    over, ended = threading.Event(), threading.Event()

    def look() -> None:
        over.wait(60)
        ended.set()

    async def run() -> None:
        task = asyncio.ensure_future(judge("maps", "maps are files", look))
        await asyncio.sleep(0.05)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert not ended.is_set()
    over.set()
    assert ended.wait(60)


def test_messages_are_clean_and_short() -> None:
    failure = Failure(test="x", stage="maps", message="a\x1b[31m\ud83d\u202e\u200b\0b" + "c" * 3_000_000)
    assert failure.message.startswith("a\ufffd[31m\ufffd\ufffd\ufffd\ufffdb") and len(failure.message) < MESSAGE + 60
    failure.evidence.model_dump_json().encode()
    assert show_name("size, m²") == "size, m²" and show_name("a\x1bb") == r"'a\x1bb'" and show_name("") == "''"
    assert len(show_name("x" * 10**6)) < 70 and len(list_names(["y" * 10**6] * 100)) < 800
    assert list_names(range(11)).endswith("8, 9 …") and list_names("ab") == "a, b"


def competition(folder: Path, rows: int = 120) -> tuple[Path, Path]:
    """Data and workspace of a competition with one input, `a`."""
    data, workspace = folder / "data", folder / "workspace"
    data.mkdir()
    train = pd.DataFrame({"id": [f"r{row}" for row in range(rows)], "a": range(rows), "y": [0, 1] * (rows // 2)})
    test = pd.DataFrame({"id": [f"s{row}" for row in range(60)], "a": range(60)})
    save_table(train, data / "train.csv")
    save_table(test, data / "test.csv")
    save_table(test[["id"]].assign(y=0.5), data / "sample.csv")
    build_maps(SETUP, data, workspace, seed=0)
    return data, workspace


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda frame: frame.drop(index=range(12)),
            "train_tab_input_map.csv has 108 rows, the target map 120: 12 ids are missing, first r0, r1",
        ),
        (lambda frame: frame.assign(id=[f"s{row}" for row in range(120)]), "120 ids are not among its ids, first s0"),
        (lambda frame: frame.head(1), "has 1 rows, the target map 120: 119 ids are missing"),
        (lambda frame: frame.assign(id=[None, *frame["id"][1:]]), "1 empty ids"),
        (lambda frame: frame.iloc[::-1], "in another order: row 1 is r119, not r0"),
    ],
)
def test_rows_that_were_dropped_are_counted(change: Callable[[Any], Any], words: str, tmp_path: Path) -> None:
    """And nothing is compared that needs the rows of both: no leak, no columns."""
    data, workspace = competition(tmp_path)
    path = map_file(workspace, "train", "tab")
    save_table(change(pd.read_csv(path).assign(leak=[0, 1] * 60)), path)
    failures = check_maps(SETUP, data, workspace)
    assert words in failures[0].message and len(failures) == 1


def test_train_and_test_exchanged(tmp_path: Path) -> None:
    data, workspace = competition(tmp_path)
    train, test = (map_file(workspace, split, "tab") for split in ("train", "test"))
    content = train.read_bytes()
    train.write_bytes(test.read_bytes())
    test.write_bytes(content)
    first, second = check_maps(SETUP, data, workspace)
    assert "has 60 rows, the target map 120: 120 ids are missing, first r0" in first.message
    assert "has 120 rows, the sample submission 60" in second.message


def test_a_submission_that_code_wrote_is_bounded(tmp_path: Path) -> None:
    data, _ = competition(tmp_path)
    file = tmp_path / "made.csv"
    with file.open("wb") as opened:
        opened.truncate(1_000_000_000)
    (failure,) = check_submission(file, SETUP, data)
    assert "has 1,000,000,000 bytes: 60 rows take at most" in failure.message
    file.write_text("id,y\n" + "".join(f"s{row},0.5\n" for row in range(1, 60)))
    (failure,) = check_submission(file, SETUP, data)
    assert "it has 59 rows, the sample submission 60: 1 ids are missing, first s0" in failure.message
    file.unlink()
    assert check_submission(file, SETUP, data)[0].test == "submission is a table"


def test_predictions_are_numbers_that_can_be_squared() -> None:
    setup = SETUP.model_copy(update={"task": "regression", "classes": (), "output": "value"})
    frame = pd.DataFrame({"id": ["a", "b"], "y": [1.0, -1e200]})
    (failure,) = check_predictions(frame, setup, ["a", "b"], "oof")
    assert "a prediction is -1e+200: at most 1e+150" in failure.message


def test_solvers_work_folder_is_kept_where_it_can_be_measured(tmp_path: Path) -> None:
    work = keep_work_folder(tmp_path)
    (work / "study.sqlite").write_text("kept")
    assert (keep_work_folder(tmp_path) / "study.sqlite").read_text() == "kept"
    deep = os.open(work, os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d", dir_fd=deep)
        inner = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    assert list(keep_work_folder(tmp_path).iterdir()) == []
    work.rmdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    work.symlink_to(outside)
    assert keep_work_folder(tmp_path).is_dir() and not work.is_symlink() and (outside / "file").exists()


def test_predictions_through_a_link_are_refused(tmp_path: Path) -> None:
    left(tmp_path, lines(), "outside.csv")
    work = tmp_path / "work"
    work.mkdir()
    (work / "test.csv").symlink_to(tmp_path / "outside.csv")
    found = try_look("solve", "predictions", lambda: read_predictions(work, "test.csv", SETUP, IDS, "test"))
    assert isinstance(found, Refused) and "symbolic link" in str(found)


def test_answers_that_are_nested_or_long_take_no_time() -> None:
    """Each of these took minutes."""
    for text in (
        '{"a":' * 100_000,
        '{"a":' * 900 + "[" + "1," * 50_000,
        '{"' * 300_000,
        "{" * 300_000,
        '{"a":[' * 50_000,
    ):
        assert parse_json(text) is None
    assert parse_json("{x} is a set; " + '{"a": {"b": [1]}}') == {"a": {"b": [1]}}
    assert parse_json('{"cause": "\\ud83d", "\\udc00": 1}') == {"cause": "?", "?": 1}
    assert parse_code("```python\ndef f():\n    return '\ud83d'\n```").encode()
    assert parse_code("```python\ndef f():\n    return 1\n" + "x = 1\n" * 20_000 + "```").startswith("def f")
