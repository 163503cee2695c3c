"""The solvers as they are run: a spec in, honest out-of-fold and test predictions out, whatever the columns hold."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import Setup, TaskKind, map_file
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.sampling import sample_rows
from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.agents.agent_k.solvers import boosting, text
from agentkd.agents.agent_k.solvers.__main__ import main, run
from agentkd.agents.agent_k.solvers.cross_fit import Problem, fit_predict, iterate_folds, make_problems
from agentkd.agents.agent_k.solvers.encodings import encode_one_hot, encode_target_means
from agentkd.agents.agent_k.solvers.image import _load_column
from agentkd.agents.agent_k.solvers.ngrams import count_character_ngrams, count_word_ngrams
from agentkd.agents.agent_k.solvers.portfolio import build_portfolio
from agentkd.agents.agent_k.solvers.table_features import describe_columns, describe_ids
from agentkd.agents.agent_k.solvers.text import naive_bayes_log_odds
from agentkd.agents.agent_k.solvers.workers import run_jobs
from agentkd.agents.agent_k.understand.cells import as_dates, as_numbers
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.folds import make_folds
from agentkd.errors import UserError, WorldError
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("lightgbm")

ROWS, TEST = 160, 40


def workspace(
    folder: Path, targets: dict[str, Any], inputs: dict[str, dict[str, Any]], *, task: TaskKind, metric: str, k: int = 3
) -> Path:
    """`inputs`: modality -> columns of train + test rows."""
    (folder / "maps").mkdir(parents=True)
    ids = [f"{i:04d}" for i in range(ROWS + TEST)]
    truth = pd.DataFrame({"id": ids[:ROWS]} | targets)
    for modality, columns in inputs.items():
        frame = pd.DataFrame({"id": ids} | columns)
        frame.iloc[:ROWS].to_csv(map_file(folder, "train", modality), index=False)
        frame.iloc[ROWS:].to_csv(map_file(folder, "test", modality), index=False)
    classes = tuple(sorted(set(truth["y"].astype(str)))) if task in ("binary", "multiclass") else ()
    setup = Setup(train="", test="", sample="", id="id", targets=tuple(targets), outputs=tuple(targets), task=task,
                  classes=classes, output=METRICS[metric].needs, metric=metric,
                  lower_is_better=METRICS[metric].lower_is_better,
                  **{m: tuple(columns) for m, columns in inputs.items()})  # fmt: skip
    (folder / "maps" / "setup.json").write_text(setup.model_dump_json())
    truth.to_csv(folder / "maps" / "train_target_map.csv", index=False)
    make_folds(setup, truth, k).to_csv(folder / "maps" / "folds.csv", index=False)
    return folder


def solved(where: Path, kind: str, params: dict[str, Any] | None = None, **spec: Any) -> tuple[Any, Any, float]:
    """(oof, test, score)."""
    folder = where / "candidates" / f"{kind}-{len(list(where.glob('candidates/*')))}"
    folder.mkdir(parents=True)
    run({"workspace": str(where), "kind": kind, "params": params or {}, "seed": 0, "threads": 1, "seconds": None,
         "features": None} | spec, folder)  # fmt: skip
    oof, test = (pd.read_csv(folder / f"{name}.csv", dtype={"id": str}) for name in ("oof", "test"))
    data = load_data(where)
    assert list(oof["id"]) == list(data.targets["id"]) and list(test["id"]) == data.test_ids
    assert tuple(oof.columns[1:]) == tuple(test.columns[1:]) == data.setup.predicted
    return oof, test, score(data.setup, data.targets, oof)


def table(seed: int = 0) -> tuple[dict[str, Any], Any]:
    """Columns of every sort, and the score that decides the target."""
    random = np.random.default_rng(seed)
    n = ROWS + TEST
    a, b = random.normal(size=n), random.integers(0, 4, n)
    kind = np.array(["red", "green", "blue"])[random.integers(0, 3, n)]
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, n), "D")
    columns = {
        "a": np.where(random.random(n) < 0.1, np.nan, a),
        "b": b,
        "kind": kind,
        "price": [f"${1000 + 10 * i:,}" for i in random.integers(0, 200, n)],
        "when": day.strftime("%Y-%m-%d"),
        "code": [f"{'AB'[i % 2]}/{i % 7} {i}" for i in random.integers(0, 500, n)],
        "constant": 7,
        "empty": np.nan,
        "rare": ["x"] * (n - 1) + ["once"],
        "a name": [f"Miss no{i}" if i % 3 else f"Mr no{i}" for i in range(n)],
    }
    return columns, np.nan_to_num(a) + 0.5 * b + np.where(kind == "red", 1.5, 0)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: Any) -> Path:
    columns, z = table()
    y = np.where(z > np.median(z), "yes", "no")[:ROWS]
    return workspace(tmp_path_factory.mktemp("binary"), {"y": y}, {"tab": columns}, task="binary", metric="accuracy")


@pytest.fixture(scope="module")
def prices(tmp_path_factory: Any) -> Path:
    columns, z = table(1)
    where = tmp_path_factory.mktemp("prices")
    return workspace(where, {"y": np.exp(2 + z)[:ROWS]}, {"tab": columns}, task="regression", metric="rmsle")


TABULAR = ("lightgbm", "linear", "svm", "extra-trees", "knn", "hist-gbm")


@pytest.mark.parametrize("kind", TABULAR)
def test_tables(binary: Path, prices: Path, kind: str) -> None:
    oof, test, accuracy = solved(binary, kind, {"trees": 40} if kind == "extra-trees" else {})
    assert accuracy > 0.7 and np.allclose(test[["no", "yes"]].sum(axis=1), 1)
    assert oof[["no", "yes"]].to_numpy().min() >= 0
    _, test, error = solved(prices, kind, {"trees": 40} if kind == "extra-trees" else {})
    assert error < (1.0 if kind == "knn" else 0.75) and (test["y"] > 0).all()  # 1.2 is that of the mean


def test_the_same_spec_gives_the_same_files_with_any_number_of_workers(binary: Path) -> None:
    for kind in ("lightgbm", "linear", "extra-trees"):
        params = {"trees": 20} if kind == "extra-trees" else {}
        one, two = solved(binary, kind, params), solved(binary, kind, params, threads=3)
        assert one[0].equals(two[0]) and one[1].equals(two[1])
    assert not one[0].equals(solved(binary, "extra-trees", params, seed=1)[0])


@pytest.mark.parametrize("kind", [*TABULAR, "lightgbm-tuned"])
def test_noise_is_not_learned(tmp_path: Path, kind: str) -> None:
    """Targets of chance, with groups of two rows and texts that are all different: whoever beats chance has seen what
    he predicts (a target mean with its own row in it would)."""
    random = np.random.default_rng(3)
    n = ROWS + TEST
    columns = {
        "group": [f"g{i // 2}" for i in range(n)],
        "x": random.normal(size=n),
        "name": [f"n {i}" for i in range(n)],
    }
    y = np.array(["no", "yes"])[random.integers(0, 2, ROWS)]
    where = workspace(tmp_path / "w", {"y": y}, {"tab": columns}, task="binary", metric="auc", k=5)
    params = {"trees": 40} if kind == "extra-trees" else {"trials": 3} if kind == "lightgbm-tuned" else {}
    assert solved(where, kind, params)[2] < 0.64


def test_features_of_a_folder_join_the_table(binary: Path, tmp_path: Path) -> None:
    data = load_data(binary)
    answer = (data.targets["y"] == "yes").astype(float)
    pd.DataFrame({"id": data.targets["id"], "hint": answer})[::-1].to_csv(tmp_path / "train_features.csv", index=False)
    pd.DataFrame({"id": data.test_ids, "hint": 0.0}).to_csv(tmp_path / "test_features.csv", index=False)
    assert solved(binary, "linear", features=str(tmp_path))[2] > 0.98
    pd.DataFrame({"id": ["1"], "hint": [0.0]}).to_csv(tmp_path / "test_features.csv", index=False)
    with pytest.raises(UserError, match=r"test_features.csv has other ids"):
        solved(binary, "linear", features=str(tmp_path))


def test_a_comma_after_a_lone_zero_is_a_decimal_one() -> None:
    def numbers(*cells: str) -> Any:
        return as_numbers(pd.Series(cells)).tolist()

    assert numbers("0,346", "1,250", "-0,125") == [0.346, 1.25, -0.125]
    assert numbers("10,346", "1,250", "125") == [10346, 1250, 125]


def test_what_columns_become() -> None:
    columns, _ = table()
    found = describe_columns(pd.DataFrame(columns))
    made = {*found.names, *found.category_names, *found.group_names}
    assert {"a", "b", "price", "when month", "code number", "code prefix", "a name: mr"} <= made
    assert not {"constant", "empty"} & {*found.names, *found.category_names}
    assert set(found.numbers[:, found.names.index("price")]) <= set(range(1000, 3000, 10))
    hot = encode_one_hot(np.array([[0], [0], [0], [1], [-1], [0]]), np.arange(5), least=2)
    assert hot[:, 0].tolist() == [1, 1, 1, 0, 0, 1]  # level 1 and missing are rare: one column
    assert hot[:, 1].tolist() == [0, 0, 0, 1, 1, 0]


def test_one_order_of_day_and_month_for_a_whole_column() -> None:
    days = pd.date_range("2021-01-01", periods=300)
    for form in ("%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d", "%d.%m.%y", "%d-%m-%Y %H:%M"):
        found = as_dates(pd.Series(days.strftime(form)))
        assert found is not None and (found.dt.tz_localize(None) == days).all(), form


def test_codes_are_taken_apart() -> None:
    deck = ["B/0/P", "F/12/S", None, "A/3/S"] * 30
    found = describe_columns(pd.DataFrame({"cabin": [d and d.replace("/", f"/{i}") for i, d in enumerate(deck)]}))
    assert {"cabin part 2"} <= set(found.names) and {"cabin part 1"} <= set(found.category_names)
    plain = describe_columns(pd.DataFrame({"name": [f"Mr. A-{i} Smith-{i % 3}" for i in range(90)]}))
    assert not any("part" in name for name in (*plain.names, *plain.category_names, *plain.group_names))


def test_what_ids_tell() -> None:
    groups = describe_ids(["0001_01", "0002_01", "0002_02", "0003_01"])
    assert groups["id group"].tolist() == [1, 2, 2, 1] and groups["id place"].tolist() == [1, 1, 2, 1]
    assert describe_ids(["2011-01-20 00:00:00", "2012-02-20 05:00:00"])["id hour"].tolist() == [0, 5]
    for ids in (["1", "2", "3"], ["train-1", "train-2"], ["a", "b"], ["007"]):
        assert describe_ids(ids) == {}


def test_a_rows_own_target_is_not_in_its_features() -> None:
    """Changing one training row's target changes the features of others, and never its own."""
    random = np.random.default_rng(0)
    groups, train = random.integers(0, 5, (60, 1)), np.arange(50)
    y = random.integers(0, 2, 60)
    other = y.copy()
    other[7] = 1 - y[7]
    one, two = (encode_target_means(groups, t, 2, train, 0) for t in (y, other))
    assert one[7] == two[7] and not np.array_equal(one, two)
    x = count_word_ngrams([f"w{a} w{b}" for a, b in random.integers(0, 9, (60, 2))], 1, 1)
    one, two = (naive_bayes_log_odds(x, Problem(t, 2), train, 0.1, 0) for t in (y, other))
    assert np.array_equal(one[7], two[7]) and not np.array_equal(one, two)
    alone = encode_target_means(np.array([[0], [0], [1], [1]]), np.array([1.0, 1, 0, 9]), 0, np.array([0, 1, 2]), 0)
    assert alone[3, 0] == pytest.approx((0 + 3 * 2 / 3) / (1 + 3))  # row 3 is no training row: by hand


def test_n_grams_against_a_naive_count() -> None:
    texts = ["the cat. The dog", "a cat, the cat", "", "ünï the cät"]
    x = count_word_ngrams(texts, 1, 2, least=1).toarray()

    def naive(text: str) -> dict[str, int]:
        parts = re.findall(r"\w+|[^\w\s]", text.lower())
        grams = [*parts, *(" ".join(pair) for pair in itertools.pairwise(parts))]
        return {gram: grams.count(gram) for gram in grams}

    for row, one in zip(x, texts, strict=True):
        assert sorted(row[row > 0]) == sorted(naive(one).values())
    assert count_word_ngrams(texts, 1, 1, least=3).toarray().tolist() == [
        [2],
        [1],
        [0],
        [1],
    ]  # "the" alone is in three texts
    seen = count_character_ngrams(["abab"], 2, 3, least=1).toarray()
    assert sorted(seen[seen > 0]) == [1] * 7 + [2]  # " a" ab×2 ba "b " " ab" aba bab "ab "


def test_classes_that_a_fold_does_not_know(tmp_path: Path) -> None:
    columns, z = table()
    y = np.where(z > np.median(z), "b", "c")[:ROWS]
    y[5] = "a"  # one row: unknown to the model that predicts it
    where = workspace(tmp_path / "w", {"y": y}, {"tab": columns}, task="multiclass", metric="multiclass_logloss")
    for kind in ("lightgbm", "linear", "svm", "knn", "hist-gbm"):
        oof, test, _ = solved(where, kind)
        assert oof["a"][5] < 1e-6 and np.isfinite(test[["a", "b", "c"]].to_numpy()).all()


@pytest.mark.parametrize("kind", TABULAR)
def test_numbers_beyond_single_precision(tmp_path: Path, kind: str) -> None:
    columns, z = table(1)
    huge = {"huge": z * 1e300, "large": z * 1e39, "endless": np.where(z > 1, np.inf, z)}
    where = workspace(tmp_path / "w", {"y": z[:ROWS]}, {"tab": columns | huge}, task="regression", metric="rmse")
    assert solved(where, kind, {"trees": 20} if kind == "extra-trees" else {})[2] < 1.1


def test_one_class_one_value_and_no_column(tmp_path: Path) -> None:
    never = lambda *_: pytest.fail("no model is needed")  # noqa: E731
    assert fit_predict(never, Problem(np.zeros(5, int), 3), np.arange(4), np.array([4]), 0).tolist() == [[1, 0, 0]]
    assert fit_predict(never, Problem(np.full(5, 2.5)), np.arange(4), np.array([4]), 0).tolist() == [[2.5]]
    targets, constant = {"y": ["0", "1"] * (ROWS // 2)}, {"tab": {"x": [1] * (ROWS + TEST)}}
    where = workspace(tmp_path / "w", targets, constant, task="binary", metric="auc")
    with pytest.raises(UserError, match="no input column has two different values"):
        solved(where, "lightgbm")


def test_rows_without_a_target_are_predicted_and_not_learned_from(tmp_path: Path) -> None:
    columns, z = table(1)
    y: Any = pd.Series(np.exp(z)[:ROWS]).astype(object)
    y[:10] = ""
    where = workspace(tmp_path / "w", {"y": y}, {"tab": columns}, task="regression", metric="rmse")
    data = load_data(where)
    assert all(train.min() >= 10 for _, train, _, _ in iterate_folds(data, *make_problems(data.setup, data.y)))
    oof, _, _ = solved(where, "linear")
    assert np.isfinite(oof["y"]).all() and len(oof) == ROWS


def test_several_targets(tmp_path: Path) -> None:
    columns, z = table()
    labels = {"u": (z > 1)[:ROWS].astype(int), "v": (z < 0.5)[:ROWS].astype(int)}
    where = workspace(tmp_path / "w", labels, {"tab": columns}, task="multilabel", metric="mean_columnwise_auc")
    assert solved(where, "lightgbm")[2] > 0.8
    values = {"u": z[:ROWS], "v": -3 * z[:ROWS]}
    where = workspace(tmp_path / "v", values, {"tab": columns}, task="regression", metric="mean_columnwise_rmse")
    assert solved(where, "linear")[2] < 1.2


@pytest.mark.parametrize("kind, most", [("linear", 1.5), ("lightgbm", 3.0)])
def test_each_target_is_learned_from_its_own_known_rows(kind: str, most: float, tmp_path: Path) -> None:
    columns, z = table()
    first = np.arange(ROWS) % 2 == 0
    values = {"u": np.where(first, z[:ROWS], np.nan), "v": np.where(first, np.nan, -3 * z[:ROWS])}
    where = workspace(tmp_path / "w", values, {"tab": columns}, task="regression", metric="mean_columnwise_rmse")
    oof, test, found = solved(where, kind)
    assert found < most and np.isfinite(test[["u", "v"]].to_numpy()).all()
    assert np.corrcoef(oof["u"], oof["v"])[0, 1] < -0.8


SUBJECTS = ("the sea and the ship", "a house with rooms", "cats chase small mice")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: Any) -> Path:
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, ROWS + TEST)
    rows = [
        " ".join(random.permutation([*SUBJECTS[k].split(), "word", "other", f"n{random.integers(90)}"])) for k in kinds
    ]
    y = np.array(["x", "y", "z"])[kinds[:ROWS]]
    return workspace(tmp_path_factory.mktemp("texts"), {"y": y}, {"txt": {"text": rows}}, task="multiclass",
                     metric="multiclass_logloss")  # fmt: skip


@pytest.mark.parametrize(
    "kind, params",
    [
        ("bayes", {}),
        ("bayes", {"letters": False}),
        ("tfidf", {}),
        ("tfidf", {"analyzer": "char"}),
        ("lightgbm", {"rounds": 40, "learning_rate": 0.2}),
    ],
)
def test_texts(texts: Path, kind: str, params: dict[str, Any]) -> None:
    assert solved(texts, kind, params)[2] < 0.35  # 1.1 is that of chance


@pytest.mark.parametrize("kind, params", [("bayes", {"letters": False}), ("tfidf", {}), ("lightgbm", {"rounds": 60})])
def test_texts_without_blanks(tmp_path: Path, kind: str, params: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    up = random.integers(0, 2, ROWS + TEST)
    rows = ["".join(chr(0x4E00 + c) for c in random.integers(0, 200, 30)) for _ in up]
    rows = [row[:9] + ("好看", "难看")[u] + row[9:] for row, u in zip(rows, up, strict=True)]
    where = workspace(tmp_path / "w", {"y": up[:ROWS]}, {"txt": {"t": rows}}, task="binary", metric="auc")
    assert solved(where, kind, params)[2] > 0.9


def test_texts_are_counted_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100, 10))  # words take 10 s
    monkeypatch.setattr(text, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    rows = ["a cat sat", "a dog sat", "a cat ran"]
    all_of_it = 10 * (text.LETTERS + 5 * text.LEARNING)
    assert [len(text.count_ngram_views(rows, folds=5, seconds=all_of_it + more)) for more in (1, -1)] == [9, 5]
    assert len(text.count_ngram_views(rows)) == 9 and len(text.count_ngram_views(rows, letters=False)) == 5


def test_texts_with_values(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    size = random.integers(1, 9, ROWS + TEST)
    rows = ["good " * s + "plain" for s in size]
    where = workspace(tmp_path / "w", {"y": size[:ROWS] * 10.0}, {"txt": {"t": rows}}, task="regression", metric="mae")
    assert solved(where, "tfidf")[2] < 8 and solved(where, "lightgbm", {"rounds": 200})[2] < 8


def test_texts_and_columns_that_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns and texts each tell half; a table's model barely sees words, and a text's model sees no columns."""
    monkeypatch.setitem(globals(), "ROWS", 800)
    random = np.random.default_rng(0)
    rows = ROWS + TEST
    words, brands = random.normal(size=150), random.normal(size=60)
    said, brand = random.integers(0, 150, (rows, 5)), random.integers(0, 60, rows)
    z = words[said].sum(axis=1) + 3 * brands[brand]
    texts = [" ".join(f"w{word}" for word in row) for row in said]
    columns = {"brand": [f"Brand {b}" if b else None for b in brand], "n": [None, *range(1, rows)]}
    inputs = {"tab": columns, "txt": {"t": texts}}
    where = workspace(tmp_path / "v", {"y": z[:ROWS]}, inputs, task="regression", metric="rmse")
    assert solved(where, "sparse")[2] < 0.6 * min(solved(where, "tfidf")[2], solved(where, "linear")[2])
    flags = {"y": (z > 0)[:ROWS].astype(int)}
    where = workspace(tmp_path / "c", flags, inputs, task="binary", metric="auc")
    assert solved(where, "sparse")[2] > 0.85
    assert "sparse" in {c.name for c in build_portfolio(load_data(where).setup, ROWS, 60, 1)}


def pictures(folder: Path, broken: int = 0) -> Path:
    """Bars that lie or stand, as 8x8 files."""
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    standing = random.integers(0, 2, ROWS + TEST)
    names = []
    for i, up in enumerate(standing):
        pixels = random.integers(0, 60, (8, 8)).astype(np.uint8)
        place = random.integers(1, 7)
        pixels[(slice(None), place) if up else (place, slice(None))] = 220
        names.append(f"{i}.png")
        if i < broken:
            (folder / "data" / names[-1]).write_bytes(b"no image")
        else:
            image.fromarray(pixels).save(folder / "data" / names[-1])
    y = np.array(["lies", "stands"])[standing[:ROWS]]
    return workspace(folder, {"y": y}, {"img": {"image": names}}, task="binary", metric="accuracy")


def test_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    where = pictures(tmp_path / "w", broken=3)
    assert solved(where, "pixels")[2] > 0.8
    assert "3 of 200 images cannot be read and are blank: 0.png, 1.png, 2.png" in capfd.readouterr().err
    with pytest.raises(UserError, match=r"150 of 200 images cannot be read, the first is 0.png"):
        solved(pictures(tmp_path / "v", broken=150), "pixels")


def test_images_of_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.array([[0, 1000], [30_000, 60_000]], dtype=np.uint16)
    image.fromarray(pixels).save(tmp_path / "a.tif")
    image.frombytes("I;16B", (2, 2), pixels.astype(">u2").tobytes()).save(tmp_path / "b.tif")
    found = _load_column(tmp_path, ["a.tif", "b.tif"], 32)
    assert np.allclose(found, (pixels / 60_000)[None, None], atol=1e-6)


def test_a_network_for_images_keeps_to_its_budget(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    where = pictures(tmp_path / "w")
    small = {"width": 8, "epochs": 10, "views": 1, "lr": 0.01}
    assert solved(where, "cnn", small)[2] > 0.9
    assert solved(where, "cnn", small | {"epochs": 100_000}, seconds=2.0)[2] > 0.5  # would take hours


def test_tables_with_texts_and_images(tmp_path: Path) -> None:
    where = pictures(tmp_path / "w")
    columns, z = table()
    kinds = (z > np.median(z)).astype(int)
    standing = (load_data(where).targets["y"] == "stands").to_numpy().astype(int)
    rows = [SUBJECTS[k] for k in kinds]
    images = {"image": [f"{i}.png" for i in range(ROWS + TEST)]}
    y = (standing * 2 + kinds[:ROWS]).astype(str)
    both = workspace(tmp_path / "v", {"y": y}, {"tab": {"a": columns["a"]}, "txt": {"t": rows}, "img": images},
                     task="multiclass", metric="accuracy")  # fmt: skip
    (both / "data").symlink_to(where / "data")
    assert (
        solved(both, "lightgbm", {"rounds": 100})[2] > 0.7 and solved(both, "linear")[2] > 0.6
    )  # 0.5 is that of one of them


def test_a_search_that_was_killed_goes_on(binary: Path) -> None:
    folder = binary / "candidates" / "search"
    folder.mkdir(parents=True)
    spec = {
        "workspace": str(binary),
        "kind": "lightgbm-tuned",
        "seed": 0,
        "threads": 1,
        "seconds": None,
        "features": None,
    }
    run(spec | {"params": {"trials": 2}}, folder)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{folder / 'study.sqlite'}"
    first = [t.params for t in optuna.load_study(study_name="target 0", storage=storage).trials]
    run(spec | {"params": {"trials": 4}}, folder)
    after = [t.params for t in optuna.load_study(study_name="target 0", storage=storage).trials]
    assert len(first) == 2 and len(after) == 4 and after[:2] == first


def test_a_budget_ends_a_search(binary: Path) -> None:
    start = time.monotonic()
    solved(binary, "lightgbm-tuned", {"trials": 100_000}, seconds=4.0)
    assert time.monotonic() - start < 30


def test_the_command(binary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"workspace": str(binary), "kind": "linear", "threads": 2}))
    command = [sys.executable, "-m", "agentkd.agents.agent_k.solvers", "spec.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr.count("fold ") == 3, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["oof.csv", "spec.json", "test.csv"]
    here = [pd.read_csv(tmp_path / name, dtype={"id": str}) for name in ("oof.csv", "test.csv")]
    assert all(one.equals(other) for one, other in zip(here, solved(binary, "linear")[:2], strict=True))
    (tmp_path / "spec.json").write_text(json.dumps({"workspace": str(binary), "kind": "magic"}))
    assert main([str(tmp_path / "spec.json")]) == 2 and "unknown kind 'magic'" in capsys.readouterr().err
    (tmp_path / "spec.json").write_text("{")
    assert main([str(tmp_path / "spec.json")]) == 2 and "is no spec" in capsys.readouterr().err


def test_workers() -> None:
    def fails() -> int:
        raise UserError("a column is bad")

    assert run_jobs([lambda i=i: i * i for i in range(7)], 3) == [i * i for i in range(7)]  # type: ignore[misc]
    large = run_jobs([lambda i=i: np.full(300_000, i) for i in range(5)], 2)  # type: ignore[misc]  # more than a pipe holds
    assert [int(found[0]) for found in large] == list(range(5))
    with pytest.raises(UserError, match="a column is bad"):
        run_jobs([lambda: 1, fails, lambda: 2], 2)
    with pytest.raises(WorldError, match="process died"):
        run_jobs([lambda: 1, lambda: os._exit(9)], 2)  # type: ignore[list-item, return-value]
    with pytest.raises(WorldError, match="ZeroDivisionError"):
        run_jobs([lambda: 1, lambda: 1 // 0], 2)


def test_a_portfolio_fits_its_clock(binary: Path, texts: Path) -> None:
    setup = load_data(binary).setup
    for rows in (100, 10_000, 1_000_000):
        for seconds in (60.0, 600.0):
            plan = build_portfolio(setup, rows, seconds, 2)
            assert plan and len({c.name for c in plan}) == len(plan)
            assert all(c.seconds <= 1.25 * seconds for c in plan) and all(
                not c.budget or c.budget <= seconds for c in plan
            )
    assert len(build_portfolio(setup, 10_000, 600, 2)) > len(build_portfolio(setup, 1_000_000, 60, 2))
    assert {c.kind for c in build_portfolio(load_data(texts).setup, 1000, 60, 2)} > {"bayes", "tfidf"}
    assert build_portfolio(setup, 800, 60, 2)[0].seconds <= 10
    wide = setup.model_copy(update={"tab": tuple(f"x{i}" for i in range(1000))})
    names = {c.name: c for c in build_portfolio(setup, 2000, 60, 1)}
    assert "extra-trees" in names and "extra-trees" not in {c.name for c in build_portfolio(wide, 2000, 60, 1)}
    assert names["linear"].budget == 20.0  # four times what is expected


def test_a_sample_holds_what_is_rare() -> None:
    y = np.zeros(4000, dtype=int)
    y[[5, 6, 3999]] = 1
    rows = np.arange(1, 4000)
    found = sample_rows(rows, 100, 0, y)
    assert {5, 6, 3999} <= set(found) and len(found) <= 103 and np.array_equal(found, np.unique(found))
    assert np.array_equal(sample_rows(rows, 100, 0), sample_rows(rows, 100, 0, np.arange(4000) % 2))  # none is rare
    assert np.array_equal(sample_rows(rows, 4000, 0, y), rows)


def test_fewer_rows_are_learned_from_where_time_is_short(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lightgbm

    seen: list[int] = []
    dataset = lightgbm.Dataset

    def watched(x: Any, *args: Any, **options: Any) -> Any:
        seen.append(len(x))
        return dataset(x, *args, **options)

    monkeypatch.setattr(lightgbm, "Dataset", watched)
    monkeypatch.setattr(boosting, "FEWEST", 50)
    solved(binary, "lightgbm", {"rounds": 5}, seconds=60.0)
    assert min(seen) > 100  # a minute is enough for all
    seen.clear()
    monkeypatch.setattr(boosting, "CELLS", 1)
    oof, _, _ = solved(binary, "lightgbm", {"rounds": 5}, seconds=60.0)
    assert max(seen) == 50 and len(oof) == ROWS  # every row is predicted all the same
