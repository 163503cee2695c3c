"""Folds that are split as the test rows were: by groups that are all new, by time, or at random."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import Setup, read_setup
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.understand.split import detect_split
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import check_maps
from agentkd.agents.agent_k.workspace.folds import make_folds
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("lightgbm")

TRAIN, TEST = 120, 40
DAYS = [str(date(2020, 1, 1) + timedelta(day)) for day in range(TRAIN + TEST)]


def tables(**columns: Any) -> tuple[Any, Any]:
    """Columns of TRAIN + TEST rows as two tables."""
    frame = pd.DataFrame({"id": [str(i) for i in range(TRAIN + TEST)]} | columns)
    return frame.iloc[:TRAIN].reset_index(drop=True), frame.iloc[TRAIN:].reset_index(drop=True)


PLACE = np.arange(TRAIN + TEST)


@pytest.mark.parametrize(
    "column",
    [
        [f"P{i // 5}" for i in PLACE],
        PLACE // 5,
        np.where(PLACE == 3, np.nan, PLACE // 5),  # floats for want of an integer that is missing
        [f"P{i // 5}" if i % 9 else None for i in PLACE],
    ],
)
def test_labels_that_are_all_new_are_groups(column: Any) -> None:
    train, test = tables(a=PLACE / 7, patient=column)
    found = detect_split(train, test)
    assert found.groups is not None and found.order is None and "'patient'" in found.notes[0]
    there = train["patient"].notna()
    assert (found.groups[there].groupby(train["patient"][there]).nunique() == 1).all()
    assert found.groups[~there].is_unique


def test_the_coarsest_of_several_groups() -> None:
    train, test = tables(visit=PLACE // 2, patient=PLACE // 6, doctor=PLACE // 60)  # 2 doctors are too few
    found = detect_split(train, test).groups
    assert found is not None and found.nunique() == TRAIN // 6


RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "name, column",
    [
        ("row", PLACE),  # near-unique
        ("name", [f"n{i}" for i in PLACE]),
        ("constant", np.ones(TRAIN + TEST)),
        ("source", ["a"] * TRAIN + ["b"] * TEST),  # too few
        ("level", np.where(PLACE < TRAIN, PLACE % 7, 7 + PLACE % 4)),  # four new values
        ("weight", np.append(RANDOM.choice(9, TRAIN), 20 + RANDOM.choice(9, TEST)) / 4),  # a measure
        ("price", [f"${i // 5}.50" for i in PLACE]),
        ("kind", RANDOM.choice(list("abcdefghijk"), TRAIN + TEST)),
        ("rare", RANDOM.integers(0, 10**6, TRAIN + TEST)),
        ("flag", PLACE < TRAIN),
        ("when", RANDOM.permutation(DAYS)),
        ("empty", [None] * (TRAIN + TEST)),
        ("reading", PLACE + 0.5),  # increases, and is not named as a time
    ],
)
def test_no_groups_and_no_order(name: str, column: Any) -> None:
    found = detect_split(*tables(a=PLACE % 3, **{name: column}))
    assert (found.groups, found.order, found.notes) == (None, None, ())


def test_a_few_test_rows_are_new_by_chance() -> None:
    """Counts of which half occur once: five test rows may well have other ones."""
    train, test = tables(count=[1000 + i if i % 2 else i % 8 for i in PLACE])
    assert detect_split(train, test.iloc[1:11:2]).groups is None


@pytest.mark.parametrize(
    "name, column",
    [
        ("when", DAYS),
        ("when", [f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in DAYS]),
        ("id", DAYS),
        ("year", 1900 + PLACE // 2),
        ("yearSold", 1900 + PLACE // 2),
        ("week_number", PLACE),
    ],
)
def test_test_rows_that_are_all_later(name: str, column: Any) -> None:
    mixed = RANDOM.permutation(TRAIN)
    train, test = tables(**{"a": PLACE % 3, name: column})
    train = train.iloc[mixed].reset_index(drop=True)
    found = detect_split(train, test)
    assert found.groups is None and found.order is not None and f"'{name}'" in found.notes[0]
    folds = make_folds(setup(), targets(), 5, 0, None, found.order)["fold"].to_numpy()
    assert [folds[mixed < 24].tolist(), folds[mixed >= 96].tolist()] == [[0] * 24, [4] * 24]


def setup(task: Any = "binary") -> Setup:
    return Setup(train="", test="", sample="", id="id", targets=("y",), outputs=("y",), task=task, classes=("0", "1"),
                 output="label", metric="accuracy", lower_is_better=False)  # fmt: skip


def targets() -> Any:
    return pd.DataFrame({"id": [str(i) for i in range(TRAIN)], "y": [str(i % 2) for i in range(TRAIN)]})


def test_groups_are_not_parted_by_blocks_of_time() -> None:
    groups, order = pd.Series(PLACE[:TRAIN] % 12), PLACE[:TRAIN].astype(float)
    folds = make_folds(setup(), targets(), 5, 0, groups, order)["fold"]
    assert (folds.groupby(groups).nunique() == 1).all() and sorted(folds.unique()) == [0, 1, 2, 3, 4]
    day = order // 50  # three times
    folds = make_folds(setup(), targets(), 5, 0, None, day)["fold"]
    assert folds.nunique() == 3 and (folds.groupby(day).nunique() == 1).all()
    assert make_folds(setup(), targets(), 5, 0, None, day * 0)["fold"].nunique() == 5  # no time: as without one


def test_five_groups_are_five_folds() -> None:
    folds = make_folds(setup(), targets(), 5, 0, pd.Series(PLACE[:TRAIN] % 5))["fold"]
    assert folds.value_counts().tolist() == [24] * 5


def written(folder: Path, **columns: Any) -> tuple[Setup, list[str]]:
    """Make a competition's maps as fetch does; returns the set-up and the decisions in words."""
    data = folder / "data"
    data.mkdir()
    train, test = tables(**columns)
    train.assign(y=[i // 5 % 2 for i in range(TRAIN)]).to_csv(data / "train.csv", index=False)
    test.to_csv(data / "test.csv", index=False)
    test[["id"]].assign(y=0).to_csv(data / "sample_submission.csv", index=False)
    said = build_maps(guess_setup(data, "accuracy", "", {}).setup, data, folder, seed=0)
    found = read_setup(folder)
    assert check_maps(found, data, folder) == []
    return found, said


def test_what_leaks_is_taken_out_and_may_be_a_group(tmp_path: Path) -> None:
    found, said = written(tmp_path, a=PLACE / 7, subject=PLACE // 5)
    assert found.tab == ("a",) and len(said) == 2
    assert "'subject'" in said[0] and said[1] == "column 'subject' gives the target away, so it is no input"
    folds = pd.read_csv(tmp_path / "maps" / "folds.csv")["fold"]
    assert (folds.groupby(PLACE[:TRAIN] // 5).nunique() == 1).all() and folds.nunique() == 5


def test_nothing_is_said_of_an_ordinary_table(tmp_path: Path) -> None:
    assert written(tmp_path, a=PLACE / 7, kind=list("abcd") * 40)[1] == []
