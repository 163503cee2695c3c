"""Files that code leaves: tables and JSON in every state of damage end as a value or as failures, never as an error."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from agentkd.agents.agent_k.border import (
    Refused,
    bound_columns,
    bound_table,
    read_left_json,
    read_left_table,
    try_look,
)
from agentkd.agents.agent_k.contract import MESSAGE, Setup, map_file
from agentkd.agents.agent_k.model.run_code import SCORES, read_predictions
from agentkd.agents.agent_k.model.trials import Direction
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import check_maps, check_submission
from agentkd.agents.agent_k.workspace.files import save_setup, save_table
from tests.support.fuzz import damage, fuzz
from tests.support.lazy import lazily

pd = lazily("pandas")

pytestmark = pytest.mark.whole
ROWS = 60
IDS = [f"r{row}" for row in range(ROWS)]
SETUP = Setup(
    train="train.csv", test="test.csv", sample="sample.csv", id="id", targets=("y",), outputs=("y",), task="binary",
    classes=("0", "1"), output="probability", metric="auc", lower_is_better=False, tab=("a",), txt=("b",),
)  # fmt: skip


def a_table(random: random.Random, names: list[str], rows: int) -> bytes:
    """A CSV table as code may write it: of other columns, rows, cells and line ends, too."""
    cells = ["0.25", "1", "", "nan", "inf", "1e999", '"a, b"', '"', "\0", "\r", "x" * 2000, "-1", "é", "\u202e", "[[["]
    names = [*names]
    if random.random() < 0.3:
        names.insert(random.randrange(len(names) + 1), random.choice(["", "id", "z" * 5000, "\x1b[31m", '"', *names]))
    if random.random() < 0.1:
        names += [str(number) for number in range(random.choice((10, 3000, 300_000)))]
    if random.random() < 0.2:
        rows = random.choice((0, 1, rows - 1, rows + 1, 50 * rows))
    first = random.choice(["id", "row", *names])
    lines = [",".join(names)]
    for row in range(rows):
        line = [f"r{row}" if random.random() < 0.99 else random.choice(cells)]
        line += [random.choice(cells[: random.choice((2, 2, 2, len(cells)))]) for _ in range(min(len(names), 20) - 1)]
        if random.random() < 0.01:
            line += [first] * random.choice((1, 1000))
        lines.append(",".join(line))
    return random.choice(["\n", "\n", "\r\n", "\r"]).join(lines).encode("utf-8", "replace")


def a_value(random: random.Random) -> bytes:
    deep = random.choice((3, 300, 30_000))
    texts = [b"[0.5, 0.25]", b"5", b"null", b"[]", b"[1e999, NaN]", b"[1" + b"0" * 400 + b", 2]", b'["a", true]',
             b"[" * deep, b'{"a":' * deep, b'{"lower_is_better": true}', b'"\\ud83d"']  # fmt: skip
    text = random.choice(texts)
    return damage(random, text) if random.random() < 0.5 else text


def test_results_of_code(tmp_path: Path) -> None:
    data, workspace = tmp_path / "data", tmp_path / "workspace"
    data.mkdir()
    train = pd.DataFrame({"id": IDS, "a": range(ROWS), "b": ["one word or more"] * ROWS, "y": [0, 1] * (ROWS // 2)})
    save_table(train, data / "train.csv")
    save_table(train.drop(columns="y"), data / "test.csv")
    save_table(train[["id"]].assign(y=0.5), data / "sample.csv")
    build_maps(SETUP, data, workspace, seed=0)
    kept = {path: path.read_bytes() for path in (workspace / "maps").iterdir()}
    work = tmp_path / "work"
    work.mkdir()
    good = {
        "predictions": pd.DataFrame({"id": IDS, "0": 0.25, "1": 0.75}),
        "submission": pd.DataFrame({"id": IDS, "y": 0.5}),
        "map": train[["id", "a"]],
    }

    def look_at(kind: str) -> object:
        if kind == "predictions":
            return read_predictions(work, "left", SETUP, IDS, "test")
        if kind == "submission":
            return check_submission(work / "left", SETUP, data)
        frame = read_left_table(work, "left", bound_table(ROWS, 2, 2000))
        save_table(frame, map_file(workspace, "train", "tab"))
        save_setup(SETUP.model_copy(update={"tab": tuple(frame.columns[1:])}), workspace)
        return check_maps(SETUP, data, workspace)

    def one_round(random: random.Random) -> None:
        if random.random() < 0.2:
            (work / "left").write_bytes(a_value(random))
            schema: TypeAdapter[object] = random.choice([SCORES, TypeAdapter(Direction)])
            found = try_look("metric", "values", lambda: read_left_json(work, "left", schema))
        else:
            kind = random.choice(list(good))
            content = good[kind].to_csv(index=False).encode()
            made = damage(random, content) if random.random() < 0.5 else a_table(random, list(good[kind]), ROWS)
            (work / "left").write_bytes(made)
            found = try_look("maps", "a table", lambda: look_at(kind))
            for path, before in kept.items():
                path.write_bytes(before)
        failures = found.failures if isinstance(found, Refused) else found if isinstance(found, list) else []
        for failure in failures:
            if not isinstance(failure, float):
                assert len(failure.message) < MESSAGE + 100
                json.loads(failure.model_dump_json())  # it can be stored
                assert not any(sign in failure.message for sign in "\x1b\0\u202e")

    fuzz(one_round, rounds=400)


def test_tables_of_any_size_are_bounded(tmp_path: Path) -> None:
    """Bounds come first: whatever the file's size, little of it is parsed."""

    def one_round(random: random.Random) -> None:
        piece = random.choice([b",", b"a,1\n", b'"', b"\n", b"\0", b"1", b'"\n', b"id,", b"\r"])
        content = random.choice([b"id,0,1\n", b"id", b"", b"id,0,1\nr0,"]) + piece * random.choice((10_000, 3_000_000))
        (tmp_path / "left").write_bytes(content)
        bounds = random.choice(
            [bound_columns(["id", "0", "1"], IDS), bound_table(ROWS, 2, 2000), bound_table(10**6, 2, 9)]
        )
        try_look("maps", "a table", lambda: read_left_table(tmp_path, "left", bounds))

    fuzz(one_round, rounds=100)
