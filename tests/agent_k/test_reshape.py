"""Competitions whose files are not one row a test row: plain tables, and the submission turned back; refusals."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.reshape.plain import Reshaped, adjust_facts, reshape, turn_back
from agentkd.agents.agent_k.understand.setup_from_files import SetupGuess, guess_setup
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import check_maps
from agentkd.errors import UserError
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")
RANDOM = np.random.default_rng(5)
Frames = dict[str, Any]


def write(folder: Path, **columns: Frames) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in columns.items():
        pd.DataFrame(made).to_csv(folder / f"{name}.csv", index=False)
    return folder


def plain(data: Path, text: str, **fixed: str) -> tuple[Reshaped, SetupGuess, Path]:
    """The plain tables and their set-up, whose maps pass every check."""
    workspace = data.parent / f"{data.name}-workspace"
    workspace.mkdir(exist_ok=True)
    done = reshape(data, text, fixed, workspace)
    folder = workspace / "plain" if (workspace / "form.json").exists() else data
    found = guess_setup(folder, text, "", adjust_facts(fixed, workspace))
    build_maps(found.setup, folder, workspace, 0)
    assert check_maps(found.setup, folder, workspace) == []
    return done, found, workspace


def submit(data: Path, workspace: Path, **columns: Any) -> Any:
    """The submission in the competition's form, where these are the columns of the plain one."""
    sample = pd.read_csv(workspace / "plain" / "sample_submission.csv", dtype=str).assign(**columns)
    sample.to_csv(workspace / "made.csv", index=False)
    made = turn_back(workspace / "made.csv", data, workspace)
    asked = pd.read_csv(data / "sample_submission.csv", dtype=str)
    assert list(made.columns) == list(asked.columns) and len(made) == len(asked)
    return made


def shops(days: range) -> Frames:
    return {"shop": ["a", "b", "c"] * len(days), "day": [f"2023-01-{day:02}" for day in days for _ in range(3)]}


@pytest.mark.parametrize("fixed", [{}, {"id": "shop,day"}])
def test_two_columns_name_a_row(fixed: dict[str, str], tmp_path: Path) -> None:
    train, test = shops(range(1, 21)), shops(range(21, 29))
    data = write(
        tmp_path / "keys",
        train=train | {"sold": RANDOM.normal(size=60)},
        test=test,
        sample_submission={name: values[::-1] for name, values in test.items()} | {"sold": 0},
    )
    done, found, workspace = plain(data, "RMSE of sold", **fixed)
    assert found.setup.targets == ("sold",) and set(found.setup.tab) == {"shop", "day"}
    assert done.notes == ("shop and day together name a row of the submission",)
    made = submit(data, workspace, sold=[str(place) for place in range(24)])
    assert made.iloc[1].tolist() == ["b", "2023-01-28", "1"]
    with pytest.raises(UserError, match="several rows of the same day"):
        reshape(data, "", {"id": "day,day"}, workspace)
    with pytest.raises(UserError, match="no column 'town'"):
        reshape(data, "", {"id": "shop,town"}, workspace)


def test_ids_that_join_two_columns_of_the_test_table(tmp_path: Path) -> None:
    train, test = shops(range(1, 21)), shops(range(21, 29))
    ids = [f"{shop}_{day}" for shop, day in zip(test["shop"], test["day"], strict=True)]
    data = write(
        tmp_path / "joined",
        train=train | {"sold": RANDOM.normal(size=60)},
        test=test,
        sample_submission={"key": ids[::-1], "sold": 0},
    )
    done, found, workspace = plain(data, "RMSE")
    assert found.setup.id == "key" and "'shop' and 'day'" in done.notes[0]
    assert submit(data, workspace)["key"].tolist() == ids[::-1]


@pytest.mark.parametrize("form", ["joined", "before", "apart"])
def test_a_row_for_each_id_and_target(form: str, tmp_path: Path) -> None:
    names = ["mass", "charge"]
    test = {"mol": [f"m_{place}" for place in range(60, 80)], "x": RANDOM.normal(size=20)}
    rows = [(mol, name) for mol in test["mol"] for name in names]
    asked = {
        "joined": {"id": [f"{mol}_{name}" for mol, name in rows]},
        "before": {"id": [f"{name}-{mol}" for mol, name in rows]},
        "apart": {"mol": [mol for mol, _ in rows], "what": [name for _, name in rows]},
    }[form]
    train = {"mol": [f"m_{place}" for place in range(60)], "x": RANDOM.normal(size=60)}
    y = {name: RANDOM.normal(size=60) for name in names}
    data = write(tmp_path / form, train=train | y, test=test, sample_submission=asked | {"value": 0.0})
    _, found, workspace = plain(data, "mean column-wise RMSE")
    assert found.setup.targets == ("mass", "charge") and found.setup.id == "mol"
    made = submit(data, workspace, mass=[f"1{place}" for place in range(20)], charge=[f"2{n}" for n in range(20)])
    assert made["value"].tolist()[:4] == ["10", "20", "11", "21"]


def test_columns_of_the_sample_that_are_no_targets_keep_its_values(tmp_path: Path) -> None:
    train = {"id": range(60), "x": RANDOM.normal(size=60), "volume": RANDOM.normal(2000, 300, 60)}
    test = {"id": range(60, 80), "x": RANDOM.normal(size=20)}
    data = write(
        tmp_path / "extra",
        train=train,
        test=test,
        sample_submission={"id": test["id"], "sureness": 70, "volume": 0},
    )
    done, found, workspace = plain(data, "RMSE", target="volume")
    assert found.setup.outputs == ("volume",) and "'sureness'" in done.notes[0] and "70" in done.notes[0]
    made = submit(data, workspace, volume="5")
    assert made.iloc[0].tolist() == ["60", "70", "5"]


def test_steps_in_columns_are_rows_of_later_times(tmp_path: Path) -> None:
    series = {"item": [f"i{place}" for place in range(6)], "kind": list("ababab")}
    steps = {f"d_{step}": [10 * step + place for place in range(6)] for step in range(1, 31)}
    data = write(
        tmp_path / "steps",
        sales_train=series | steps,
        sample_submission={"item": series["item"][::-1]} | {f"F{step}": [0] * 6 for step in (1, 2, 3)},
    )
    done, found, workspace = plain(data, "RMSSE over F1 to F3")
    assert done.notes == ("d_1 … d_30 are 30 steps of each 'item', and F1 … F3 the steps after them",)
    assert found.setup.task == "regression" and set(found.setup.tab) >= {"kind", "series", "time step"}
    frame = pd.read_csv(workspace / "plain" / "train.csv")
    assert frame.loc[frame["item"] == "i2|7", "value"].item() == 72
    cells = pd.read_csv(workspace / "plain" / "sample_submission.csv")["item"]
    made = submit(data, workspace, value=list(cells))
    assert made.iloc[1].tolist() == ["i4", "i4|31", "i4|32", "i4|33"]


def test_several_rows_of_an_id_become_one(tmp_path: Path) -> None:
    def statements(first: int, count: int) -> Frames:
        ids = [f"c{place}" for place in range(first, first + count) for _ in range(3)]
        return {"client": ids, "spent": np.arange(3 * count), "state": ["new", "old", "old"] * count}

    labels = {"client": [f"c{place}" for place in range(40)], "default": [0, 1] * 20}
    data = write(
        tmp_path / "rows",
        train_data=statements(0, 40),
        train_labels=labels,
        test_data=statements(40, 20),
        sample_submission={"client": [f"c{place}" for place in range(40, 60)], "prediction": 0.5},
    )
    _, found, workspace = plain(data, "ROC AUC")
    assert found.setup.targets == ("default",)
    row = pd.read_csv(workspace / "plain" / "train.csv").set_index("client").loc["c1"]
    assert (row["rows"], row["spent mean"], row["spent last"], row["state old"], row["default"]) == (3, 4, 5, 2, 1)
    (data / "train_labels.csv").unlink()
    pd.DataFrame(statements(0, 40)).assign(default=range(120)).to_csv(data / "train_data.csv", index=False)
    with pytest.raises(UserError, match="'default' differs between the training rows"):
        plain(data, "ROC AUC")


def test_other_tables_are_joined_by_key_and_the_rest_is_named(tmp_path: Path) -> None:
    town = [f"t{place % 5}" for place in range(80)]
    train = {"id": range(60), "town": town[:60], "y": RANDOM.normal(size=60)}
    data = write(
        tmp_path / "joins",
        train=train,
        test={"id": range(60, 80), "town": town[60:]},
        sample_submission={"id": range(60, 80), "y": 0.0},
        towns={"town": [f"t{place}" for place in range(5)], "people": [5, 6, 7, 8, 9]},
        loans={
            "id": [place for place in range(80) for _ in range(2)],
            "size": range(160),
            "kind": ["car", "home"] * 80,
        },
        words={"word": ["alpha", "beta"], "meaning": ["first", "second"]},
        more={"id": range(100, 120), "town": town[:20], "y": range(20)},
    )
    done, found, workspace = plain(data, "RMSE")
    assert {"people", "loans size mean", "loans kind car", "loans rows"} <= set(found.setup.tab)
    row = pd.read_csv(workspace / "plain" / "test.csv").iloc[0]
    assert (row["id"], row["people"], row["loans size max"], row["loans size last"]) == (60, 5, 121, 121)
    assert len(done.notes) == 2 and done.unused["words.csv"] == "it shares no key with both training and test rows"
    assert set(done.unused) == {"words.csv", "more.csv"}


def test_a_time_until_an_event_is_learned_as_a_risk(tmp_path: Path) -> None:
    x, time = RANDOM.normal(size=60), RANDOM.exponential(10, 60)
    event = (RANDOM.random(60) < 0.7).astype(int)
    data = write(
        tmp_path / "survival",
        train={"id": range(60), "x": x, "seen": event, "months": time},
        test={"id": range(60, 80), "x": x[:20]},
        sample_submission={"id": range(60, 80), "risk": 0.5},
    )
    _, found, workspace = plain(data, "concordance index of survival times", target="months")
    assert (found.setup.targets, found.setup.task, found.setup.metric) == (("risk",), "regression", "rmse")
    risk = pd.read_csv(workspace / "plain" / "train.csv")["risk"].to_numpy()
    assert abs(risk.sum()) < 1e-3  # martingale residuals sum to zero
    early, late = np.argsort(time)[:20], np.argsort(time)[-20:]
    assert risk[early].mean() > risk[late].mean()


@pytest.mark.parametrize("ending", ["csv", "npy", "wav"])
def test_files_that_are_named_by_the_ids_become_columns(ending: str, tmp_path: Path) -> None:
    data = tmp_path / ending
    for split, ids in (("train", range(30)), ("test", range(30, 42))):
        (data / split).mkdir(parents=True)
        for place in ids:
            values = np.sin(np.arange(200) * (0.05 + 0.01 * place)) * 1000 + RANDOM.normal(size=200)
            path = data / split / f"s{place:03}.{ending}"
            if ending == "csv":
                pd.DataFrame({"u": values, "v": values**2}).to_csv(path, index=False)
            elif ending == "npy":
                np.save(path, np.stack([values, values**2]))
            else:
                with wave.open(str(path), "wb") as file:
                    file.setparams((1, 2, 8000, 200, "NONE", ""))
                    file.writeframes(values.astype("<i2").tobytes())
    write(
        data,
        train={"segment": [f"s{place:03}" for place in range(30)], "y": np.arange(30.0)},
        sample_submission={"segment": [f"s{place:03}" for place in range(30, 42)], "y": 0.0},
    )
    done, found, workspace = plain(data, "mean absolute error")
    assert {"length", "channel 1 mean", "channel 1 band 3"} <= set(found.setup.tab) and "42" in done.notes[0]
    frame = pd.read_csv(workspace / "plain" / "train.csv")
    assert (frame["length"] == 200).all() and frame["channel 1 crossings"].corr(frame["y"]) > 0.9


def test_one_table_of_all_rows_and_a_test_table_with_more_rows(tmp_path: Path) -> None:
    part = ["train"] * 60 + ["test"] * 20
    y = [*RANDOM.integers(0, 2, 60), *[""] * 20]
    asked = {"id": range(60, 80), "y": 0}
    frame = {"id": range(80), "x": RANDOM.normal(size=80), "part": part, "y": y}
    _, found, _ = plain(write(tmp_path / "one", data=frame, sample_submission=asked), "accuracy")
    assert (found.setup.tab, found.setup.targets) == (("x",), ("y",))
    data = write(
        tmp_path / "more",
        train={"id": range(60), "x": RANDOM.normal(size=60), "y": y[:60]},
        test={"id": range(60, 100), "x": RANDOM.normal(size=40)},
        sample_submission=asked,
    )
    done, _, _ = plain(data, "accuracy")
    assert done.notes == ("20 of 40 rows of the test table are not in the sample submission: they are not predicted",)


def refused(tmp_path: Path, text: str, **columns: Frames) -> str:
    data = write(tmp_path / "refused", **columns)
    with pytest.raises(UserError) as raised:
        plain(data, text)
    message = str(raised.value)
    assert "\n" not in message and "set target=" not in message
    return message


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    ids, x = range(60), RANDOM.normal(size=60)
    test = {"id": range(60, 80), "x": x[:20]}
    train = {"id": ids, "x": x}
    box = {"id": ids, "left": 1, "top": 2, "width": 3, "height": 4}
    asked = {"id": test["id"], "PredictionString": "1.0 3 4 5 6"}
    assert "boxes" in refused(tmp_path / "1", "mAP at IoU 0.5", train=box, sample_submission=asked)
    asked = {"id": test["id"], "EncodedPixels": "1 1"}
    spans = {"id": ids, "EncodedPixels": "3 4 9 1"}
    assert "masks" in refused(tmp_path / "2", "Dice of run-length encodings", train=spans, sample_submission=asked)
    words = [" ".join(RANDOM.choice(["sun", "moon", "rain", "wind", "snow"], 4)) for _ in ids]
    message = refused(
        tmp_path / "3",
        "edit distance",
        train=train | {"text": words},
        test=test,
        sample_submission={"id": test["id"], "text": "sun moon"},
    )
    assert "free text" in message
    bought = {"who": [f"u{place % 20}" for place in range(200)], "what": [f"{place % 9}" for place in range(200)]}
    asked = {"who": [f"u{place}" for place in range(20)], "prediction": "1 2 3 4 5"}
    assert "list of items" in refused(tmp_path / "5", "MAP@5", transactions_train=bought, sample_submission=asked)
    clips = tmp_path / "6" / "refused" / "clips"
    clips.mkdir(parents=True)
    (clips / "a.mp4").write_bytes(b"0")
    labels = {"clip": [f"c{place}" for place in ids], "y": [0, 1] * 30}
    asked = {"clip": [f"d{place}" for place in ids], "y": 0}
    assert ".mp4" in refused(tmp_path / "6", "accuracy", train=labels, sample_submission=asked)
