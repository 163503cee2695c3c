"""The roles of files, and the reading of their cells: files in, names or frames out."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.agent_k.understand import tables
from agentkd.agents.agent_k.understand.cells import clean_targets
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.file_roles import FileRoles, find_file_roles, find_labels_table
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.understand.tables import detect_separator, read_table
from agentkd.errors import UserError
from tests.support.lazy import lazily

pd = lazily("pandas")

ROWS = 12
INPUTS = {"id": [str(row) for row in range(ROWS)], "a": range(ROWS), "b": list("xyz") * (ROWS // 3)}
TRAIN = INPUTS | {"y": range(ROWS)}
TEST = INPUTS | {"id": [str(row) for row in range(100, 100 + ROWS)]}
SAMPLE = {"id": TEST["id"], "y": 0}
USUAL = {"train.csv": TRAIN, "test.csv": TEST, "sample_submission.csv": SAMPLE}


def only(frame: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: frame[name] for name in names}


def folder(path: Path, tables: dict[str, Any], **options: Any) -> Path:
    path.mkdir(exist_ok=True)
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(path / name, index=False, **options)
    return path


def find_roles(path: Path, tables: dict[str, Any]) -> FileRoles:
    return find_file_roles(DataFiles(folder(path, tables)))


def names(found: FileRoles) -> tuple[str, str, str]:
    return str(found.train), str(found.test), str(found.sample)


def images(data: Path, ids: dict[str, list[str]]) -> None:
    for split, stems in ids.items():
        (data / split).mkdir(parents=True)
        for stem in stems:
            (data / split / f"{stem}.jpg").touch()


HASHES = {"train": [f"{'abc'[row % 3]}{row:02d}f{'cb'[row % 2]}0" for row in range(12)],
          "test": [f"{'fed'[row % 3]}{row:02d}a{'cb'[row % 2]}9" for row in range(6)]}  # fmt: skip
BREEDS = ["beagle", "chow", "pug"]


@pytest.mark.parametrize("key, ending", [("id", ""), ("picture", ".jpg")])
def test_the_labels_of_images_named_by_hashes(key: str, ending: str, tmp_path: Path) -> None:
    labels = {key: [f"{stem}{ending}" for stem in HASHES["train"]], "breed": BREEDS * 4}
    sample = {"id": HASHES["test"]} | dict.fromkeys(BREEDS, 0.3)
    kinds = {"number": range(3), "breed": BREEDS}
    data = folder(tmp_path / "data", {"breeds.csv": kinds, "labels.csv": labels, "sample_submission.csv": sample})
    images(data, HASHES)
    found = guess_setup(data, "multi-class log loss", "", {}).setup
    assert (found.train, found.targets, found.classes, found.img) == (
        "labels.csv", ("breed",), tuple(BREEDS), ("image",),
    )  # fmt: skip
    one = folder(tmp_path / "one", {"labels.csv": labels, "sample_submission.csv": only(sample, "id") | {"breed": ""}})
    assert names(find_file_roles(DataFiles(one))) == ("labels.csv", "None", "sample_submission.csv")


def test_letters_that_begin_a_hash_are_no_class(tmp_path: Path) -> None:
    images(tmp_path / "hashes", HASHES)
    assert set(read_table(tmp_path / "hashes" / "train")["label"]) == {""}
    images(tmp_path / "named", {"train": ["cat.1", "cat_12", "big dog 3", "eel4", "b9c2"]})
    assert list(read_table(tmp_path / "named" / "train")["label"]) == ["", "big dog", "cat", "cat", "eel"]
    folder(tmp_path / "hashes", {"sample_submission.csv": {"id": HASHES["test"], "y": 0}})
    with pytest.raises(UserError, match="no training table"):
        find_file_roles(DataFiles(tmp_path / "hashes"))


def test_a_list_of_the_classes_is_no_training_table(tmp_path: Path) -> None:
    images(tmp_path / "data", {"train": ["cat.1", "cat.2", "dog.1", "dog.2"], "test": ["1", "2"]})
    kinds = {"id": ["7", "8"], "label": ["cat", "dog"]}
    assert find_roles(
        tmp_path / "data", {"kinds.csv": kinds, "sample.csv": {"id": ["1", "2"], "label": ""}}
    ).train == Path("train")


def test_the_training_table_is_the_one_most_like_the_test_table(tmp_path: Path) -> None:
    tables = {"train_features.csv": INPUTS, "train_target.csv": only(TRAIN, "id", "y"), "test_features.csv": TEST}
    found = find_roles(tmp_path / "data", tables | {"sample_submission.csv": SAMPLE})
    assert names(found) == ("train_features.csv", "test_features.csv", "sample_submission.csv")
    train = read_table(tmp_path / "data" / found.train, text=True)
    assert find_labels_table(DataFiles(tmp_path / "data"), found, train, "id", ["y"]) == "train_target.csv"


def test_a_table_of_targets_whose_values_are_the_samples_columns(tmp_path: Path) -> None:
    kinds = {"id": INPUTS["id"], "breed": BREEDS * (ROWS // 3)}
    sample = {"id": TEST["id"]} | dict.fromkeys(BREEDS, 0.3)
    tables = {"train_features.csv": INPUTS, "train_labels.csv": kinds, "test_features.csv": TEST, "sample.csv": sample}
    data = folder(tmp_path / "data", tables)
    (data / "names.json").write_text('{"beagle": {"legs": [4]}, "pug": 3}')  # no table
    found = guess_setup(data, "multi-class log loss", "", {}).setup
    assert (found.train, found.labels, found.targets) == ("train_features.csv", "train_labels.csv", ("breed",))


def test_a_broken_training_table_is_not_passed_over(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", USUAL | {"train_target.csv": only(TRAIN, "id", "y")})
    (data / "train.csv").write_text("")
    with pytest.raises(UserError, match=r"train\.csv is empty"):
        guess_setup(data, "", "", {})


def bombed(path: Path, size: int) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(size >> 20):
            file.write(b"1\n" * (1 << 19))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.csv.gz", gzip.compress(b"id,y\n1,2\n" * 999)[:60] + b"\0" * 60, "cannot be read as a table"),
        ("train.csv.gz", b"\x1f\x8b\x08\0", "cannot be read as a table"),
        ("train.csv.zip", b"PK\3\4", "cannot be read as a table"),
        ("train.parquet", b"PAR1" + b"\xff" * 40 + b"PAR1", "cannot be read as a table"),
        ("train.json", b"[" * 100_000, "cannot be read as a table"),
        ("train.json", b"5", "cannot be read as a table"),
        ("train.csv", b"id" + b"," * 60_000, "has a line of 60,000 cells: at most 50,000 columns"),
        ("train.csv", b"id,y\n" + b"," * 60_000, "has a line of 60,000 cells"),
        ("train.csv", b'id,y\n1,"2\n', "cannot be read as a table"),
        ("train.csv", b"", "is empty"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_in_one_line(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    for text in (True, False):
        with pytest.raises(UserError, match=words) as raised:
            read_table(tmp_path / name, text=text)
        assert name in str(raised.value) and "\n" not in str(raised.value)


def test_a_packed_table_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "AMPLE", 1 << 20)
    bombed(tmp_path / "train.csv.gz", 4 << 20)
    with pytest.raises(UserError, match=r"train.csv.gz unpacks to more than .* bytes"):
        read_table(tmp_path / "train.csv.gz", text=True)


def packed(path: Path, *members: str, frame: Any = TRAIN, sep: str = ",") -> None:
    with zipfile.ZipFile(path, "w") as held:
        for member in members:
            odd = member.startswith("__MACOSX") or "/." in member
            held.writestr(member, b"\0\1" if odd else pd.DataFrame(frame).to_csv(index=False, sep=sep))


@pytest.mark.parametrize(
    "name, members",
    [
        ("train.csv.zip", ["__MACOSX/._train.csv", "train.csv"]),
        ("train.csv.zip", ["data/.DS_Store", "data/train.csv"]),
        ("train.zip", ["train.csv", "__MACOSX/._train.csv"]),
        ("train.zip", ["train.tsv"]),
        ("train.tsv.zip", ["train.txt"]),
    ],
)
def test_a_table_in_a_zip(name: str, members: list[str], tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"test.csv": TEST, "sample_submission.csv": SAMPLE})
    packed(data / name, *members, sep="\t" if any("tsv" in part for part in (name, *members)) else ",")
    found = find_file_roles(DataFiles(data))
    assert names(found) == (name, "test.csv", "sample_submission.csv")
    assert list(read_table(data / found.train, text=True)) == list(TRAIN)


def test_zips_that_are_no_table(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", USUAL)
    packed(data / "images.zip", "1.png", "2.png")
    packed(data / "train.zip", "1.png")
    (data / "test.zip").write_bytes(b"no zip")
    assert [str(path) for path in DataFiles(data).tables] == sorted(USUAL)
    packed(data / "two.csv.zip", "a.csv", "b.csv")
    with pytest.raises(UserError, match=r"two.csv.zip holds a.csv, b.csv, .*unpack it"):
        read_table(data / "two.csv.zip", text=True)


def test_a_test_table_by_its_ids(tmp_path: Path) -> None:
    tables = {"train.csv": TRAIN, "holdout.csv": TEST, "sample_submission.csv": SAMPLE}
    more = {"benchmark.csv": SAMPLE | {"more": 1}, "other.csv": INPUTS, "ids.csv": only(TEST, "id")}
    assert find_roles(tmp_path / "data", tables | more).test == Path("holdout.csv")
    called = {"row": TEST["id"]} | only(TEST, "a", "b")
    assert find_roles(tmp_path / "called", tables | {"holdout.csv": called}).test == Path("holdout.csv")
    (tmp_path / "data" / "holdout.csv").unlink()
    (tmp_path / "data" / "notes.json").write_text('{"a": [1], "b": [1, 2]}')
    assert find_file_roles(DataFiles(tmp_path / "data")).test is None


@pytest.mark.parametrize(
    "text, mark",
    [
        ('id;"size, m2";y\n1;0,5;3\n2;1,5;4\n', ";"),
        ('id;"size, m2"\n1;0,5\n2;1,5\n', ";"),
        ('id;text\n1;"a, b\nc; d"\n2;"say ""no"", no"\n3;x\n', ";"),
        ('id,text\n1,"a;b;c"\n2,"one\n\ntwo; three"\n3,5" pipe\n', ","),
        ("id,text\n1,hello, world\n2,bye\n3,x\n", ","),
        ("id,y\n1,a;b;c\n2,a;b;c\n3,a;b;c\n", ","),
        ('\ufeff"id, no"|"y"\n1|0,5\n2|0,7\n', "|"),
        ("id\ty\n1\t0,5\n2\t0,7\n", "\t"),
        ("text\na, b\nc, d\n", ","),
        ('id;text\n1;a\n2;"cut within', ";"),
        ("", ","),
    ],
)
def test_what_stands_between_cells(text: str, mark: str) -> None:
    assert detect_separator("train.csv", text) == mark


def test_a_tsv_file_with_commas_between_cells() -> None:
    assert detect_separator("train.tsv", "id,y\n1,2\n2,3\n") == ","
    assert detect_separator("train.tsv", "id,a\ty\n1,2\t0\n2,3\t1\n") == "\t"
    assert detect_separator("train.tsv", "text\na, b\nc\n") == "\t"


def test_a_comma_in_the_header_of_a_semicolon_file(tmp_path: Path) -> None:
    wide = {"id": range(3), "size, m2": [0.5, 1.5, 2.5], "text": ["a, b", 'c;\n"d", e', "f"]}
    data = folder(tmp_path / "data", {"train.csv": wide}, sep=";", decimal=",")
    table = read_table(data / "train.csv", text=True)
    assert list(table) == list(wide) and list(table["size, m2"]) == ["0.5", "1.5", "2.5"]
    assert list(table["text"]) == wide["text"]


@pytest.mark.parametrize(
    "sample, others",
    [
        ("submission_format.csv", ["sample_train.csv", "sample.csv"]),
        ("sample_submission.csv", ["submission_format.csv", "sample.csv"]),
        ("sample.csv", ["sample_of_train.csv", "benchmark.csv"]),
        ("sample_submission.csv", ["sample_submission_test.csv"]),
        ("test_sample_submission.csv", ["samples.csv"]),
        ("contest_submission.csv", ["examples.csv", "train_submissions.csv"]),
    ],
)
def test_the_sample_submission_by_its_name(sample: str, others: list[str], tmp_path: Path) -> None:
    tables = dict.fromkeys([sample, *others], SAMPLE) | only(USUAL, "train.csv", "test.csv")
    assert find_roles(tmp_path / "data", tables).sample == Path(sample)


def test_training_tables_that_are_not_used_are_said(tmp_path: Path) -> None:
    rest = only(USUAL, "test.csv", "sample_submission.csv")
    found = find_roles(tmp_path / "years", {"train_2016.csv": TRAIN, "train_2017.csv": TRAIN} | rest)
    assert found.train == Path("train_2016.csv") and len(found.notes) == 1
    assert all(word in found.notes[0] for word in ("train_2016.csv is used", "train_2017.csv", "one train.csv"))
    assert set(found.notes) <= set(guess_setup(tmp_path / "years", "RMSE", "", {}).doubts)
    found = find_roles(tmp_path / "small", USUAL | {"train_small.csv": TRAIN})
    assert found.train == Path("train.csv") and "train_small.csv" in found.notes[0]
    packed(folder(tmp_path / "copy", USUAL) / "train.zip", "train.csv")
    assert find_roles(tmp_path / "copy", {"train_labels.csv": only(TRAIN, "id", "y")}).notes == ()


def test_points_between_thousands_and_a_decimal_comma(tmp_path: Path) -> None:
    written = {
        "big": ["1.854,33", "12.345.678,9", "-1.200", "7", "NA"],
        "points": ["0.5", "1.234", "2.5", "3.5", "4.5"],
        "whole": ["1.234", "2.345", "3.456", "4.567", ""],
        "other": ["12.34,5", "1,5", "2,5", "3,5", "4,5"],
        "text": ["1,2 and so on", "1,5", "x", "y", "z"],
    }
    data = folder(tmp_path / "data", {"train.csv": written}, sep=";")
    table = read_table(data / "train.csv", text=True)
    assert list(table["big"]) == ["1854.33", "12345678.9", "-1200", "7", "NA"]
    assert all(list(table[name]) == written[name] for name in ("points", "whole", "other", "text"))


def cleaned(cells: list[str]) -> list[str]:
    return list(clean_targets(pd.DataFrame({"y": cells}, dtype=str), ["y"])["y"])


@pytest.mark.parametrize("gap", ["?", "-", "--", ".", " NA ", "  "])
def test_signs_for_missing_among_numbers(gap: str) -> None:
    assert cleaned(["1.5", gap, "-2"]) == ["1.5", "", "-2"]
    assert cleaned(["0", "1", gap]) == ["0", "1", ""]


def test_signs_that_are_classes() -> None:
    for cells in (["+", "-", "?"], ["A", "?", "1"], ["a.b", ".", "NA"], ["1", "2", "X"] * 4, ["5%", "10%"] * 20):
        assert cleaned(cells) == cells


def test_targets_with_a_currency_or_a_percent_sign() -> None:
    assert cleaned(["$3,921.25", "$ 5", "£1,000,000", "-"]) == ["3921.25", "5", "1000000", ""]
    assert cleaned(["11,756", "6.3%", "12 %", "1e3"]) == ["11756", "6.3", "12", "1000"]
    many = [f"${n},000" for n in range(1, 40)]
    assert cleaned([*many, "on request"]) == [*(str(n * 1000) for n in range(1, 40)), ""]
    plain = [f"{n}.50" for n in range(40)]
    assert cleaned(plain) == plain and cleaned([*plain, "odd"]) == [*plain, "odd"]


def test_blanks_around_targets() -> None:
    assert cleaned(["yes ", "yes", " no", "no"]) == ["yes", "yes", "no", "no"]
    assert cleaned([" 0", "0", "1 "]) == ["0", "0", "1"]
    assert cleaned(["a ", " b"]) == ["a ", " b"]
