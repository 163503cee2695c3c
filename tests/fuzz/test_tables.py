"""A stranger's competition files: whatever is in them, they are read or refused in one line."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import zipfile
from pathlib import Path

import pytest

from agentkd.agents.agent_k.competition.pages import MAX_TEXT, join_pages
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import check_maps
from agentkd.errors import UserError
from tests.support.fuzz import damage, fuzz
from tests.support.lazy import lazily

pd = lazily("pandas")

pytestmark = pytest.mark.whole
ROWS = 30
COLUMNS = {
    "id": [f"r{row}" for row in range(ROWS)],
    "a": [row / 7 for row in range(ROWS)],
    "b": ["some words, and more"] * ROWS,
    "when": [f"2021-03-{1 + row % 28:02d}" for row in range(ROWS)],
    "y": [row % 3 for row in range(ROWS)],
}
PAGES = ("", "# Evaluation\nmulti-class log loss", "# Evaluation\nroot mean squared error")


def written(frame: pd.DataFrame, name: str) -> bytes:
    """The table in the format that the file's name says."""
    held = io.BytesIO()
    if name.endswith(".parquet"):
        frame.to_parquet(held)
        return held.getvalue()
    if name.endswith((".json", ".jsonl")):
        return frame.to_json(orient="records", lines=name.endswith("l")).encode()
    text = frame.to_csv(index=False, sep="\t" if ".tsv" in name else ";" if ".semi" in name else ",")
    content = text.encode("utf-16" if ".wide" in name else "utf-8")
    if name.endswith(".gz"):
        return gzip.compress(content)
    if name.endswith(".zip"):
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("train.csv", content)
        return held.getvalue()
    return content


KINDS = ("csv", "tsv", "csv.zip", "csv.gz", "parquet", "json", "jsonl", "semi.csv", "wide.csv")


def test_tables(tmp_path: Path) -> None:
    whole = {kind: written(pd.DataFrame(COLUMNS), f"train.{kind}") for kind in KINDS}

    def one_round(random: random.Random) -> None:
        kind = random.choice(KINDS)
        path = tmp_path / f"train.{kind}"
        path.write_bytes(damage(random, whole[kind]))
        for options in ({"text": True}, {"text": False}, {"text": True, "rows": 5}):
            try:
                read_table(path, **options)
            except UserError as error:
                assert path.name in str(error) and "\n" not in str(error) and len(str(error)) < 1000

    fuzz(one_round, rounds=1500)


def test_pages() -> None:
    pieces = ("<", ">", "<a ", "</", "<!--", "-->", "<!", "<![", "<?", "&", "&#", "&lt;", "='", '"', "script", "p", "/",
              " ", "[", "\n", "\0", "é", "<b>x</b>", "table", "<td>", "=" * 999)  # fmt: skip

    def one_round(random: random.Random) -> None:
        few = random.sample(pieces, random.randint(1, 6))
        page = "".join(random.choices(few, k=random.choice((10, 1000, 30_000))))
        assert len(join_pages([("overview", page), ("data", page)])) <= MAX_TEXT

    fuzz(one_round, rounds=200)


def a_frame(random: random.Random, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with something odd: rows, columns, cells, types, names."""
    cells = [
        "",
        "NA",
        "x",
        "1e400",
        "-",
        "0,5",
        "$5",
        "2021-13-45",
        "\0",
        "\x1b[31m",
        "ü" * 300,
        "True",
        "99999999999999999999",
    ]
    for _ in range(random.randint(0, 3)):
        if not len(frame.columns):  # all were called alike, and dropped at once
            break
        column = random.choice(list(frame.columns))
        change = random.randrange(8)
        if change == 0:
            frame = frame.drop(columns=column) if len(frame.columns) > 1 else frame
        elif change == 1:
            frame = frame.rename(columns={column: random.choice(["", "id", "y", "target", "ID", "label", "\x1b[31m"])})
        elif change == 2:
            frame = frame.head(random.choice((0, 1, 2, 5)))
        elif change == 3:
            frame = frame.assign(**{column: random.choice(cells)})
        elif change == 4 and len(frame):
            some = [random.choice(cells) if random.random() < 0.2 else str(cell) for cell in frame[column]]
            frame = frame.assign(**{column: some}) if frame.columns.is_unique else frame
        elif change == 5:
            frame = pd.concat([frame, frame.head(3)])
        elif change == 6:
            frame = frame.sample(frac=1, random_state=random.randrange(99))
        else:
            frame = frame.assign(**{f"more{random.randrange(3)}": [random.choice(cells) for _ in range(len(frame))]})
    return frame


def test_understanding_a_competition(tmp_path: Path) -> None:
    data, workspace = tmp_path / "data", tmp_path / "workspace"
    fixed = [
        {},
        {},
        {"target": "y"},
        {"id": "id"},
        {"task": "regression"},
        {"task": "multiclass"},
        {"metric": "accuracy"},
    ]

    train = pd.DataFrame(COLUMNS)
    test = train.drop(columns="y").assign(id=[f"s{row}" for row in range(ROWS)])

    def one_round(random: random.Random) -> None:
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(workspace, ignore_errors=True)
        data.mkdir()
        for name, frame in {"train": train, "test": test, "sample_submission": test[["id"]].assign(y=0)}.items():
            frame = a_frame(random, frame) if random.random() < 0.6 else frame
            kind = random.choice(KINDS) if frame.columns.is_unique and random.random() < 0.2 else "csv"
            content = written(frame, f"{name}.{kind}")
            (data / f"{name}.{kind}").write_bytes(damage(random, content) if random.random() < 0.3 else content)
        try:
            setup = guess_setup(data, random.choice(PAGES), "", random.choice(fixed)).setup
            build_maps(setup, data, workspace, seed=0)
            check_maps(setup, data, workspace)
        except UserError:
            pass

    fuzz(one_round, rounds=250)
