"""`bench automl`: its ranks, and its file, which several processes fill."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.errors import UserError
from agentkd.eval.bench.truth import automl, automl_peers
from agentkd.eval.bench.truth.made import MAKERS, make_competitions
from agentkd.eval.hold_out import Split, hold_out
from tests.support.lazy import lazily

pd = lazily("pandas")


def row(system: str, overall: float | None, metric: str = "accuracy", seed: int = 0, name: str = "c") -> dict[str, Any]:
    scores = {"overall": overall, "private": overall}
    return {"competition": name, "system": system, "seed": seed, "metric": metric} | scores


def test_higher_is_better_and_ties_share_a_rank() -> None:
    rows = [row("agentkd", 0.9), row("autogluon", 0.8), row("flaml", 0.8)]
    assert automl.mean_ranks(rows, "overall") == {"agentkd": 1.0, "autogluon": 2.5, "flaml": 2.5}


def test_lower_is_better_for_an_error_and_no_score_is_last() -> None:
    rows = [row("agentkd", 0.3, "rmse"), row("autogluon", 0.2, "rmse"), row("flaml", None, "rmse")]
    assert automl.mean_ranks(rows, "overall") == {"agentkd": 2.0, "autogluon": 1.0, "flaml": 3.0}


def test_the_difference_of_ranks_is_paired_by_competition() -> None:
    rows = [row("agentkd", 0.9, name=name, seed=seed) for name in "abcd" for seed in (0, 1)]
    rows += [
        row("flaml", 0.8 if seed or name != "a" else 1.0, name=name, seed=seed) for name in "abcd" for seed in (0, 1)
    ]
    mean, low, high = automl.rank_differences(rows, "overall")["flaml"]
    assert mean == pytest.approx(-0.75) and low == -1 and high <= -0.25


def test_only_what_all_have_run_counts() -> None:
    rows = [row("agentkd", 0.9), row("autogluon", 0.8), row("agentkd", 0.1, seed=1), row("agentkd-local", 1.0)]
    assert automl.mean_ranks(rows, "overall") == {"agentkd": 1.0, "autogluon": 2.0}


def test_processes_that_finish_together_lose_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"c{i}" for i in range(12)]
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "competition.json").write_text("{}")

    def at_once(path: Path, system: str, _: automl.Budget, seed: int, *__: Any) -> dict[str, Any]:
        return row(system, 0.5, seed=seed, name=path.name) | {"medal": "", "percentile": None, "cv": 0.5, "seconds": 1}

    monkeypatch.setattr(automl, "run_system", at_once)

    def fill(name: str) -> None:
        budget = automl.Budget(seconds=1, threads=1)
        what = {"names": name, "systems": "agentkd", "python": "", "out": tmp_path}
        automl.bench_automl(tmp_path / "data", budget, seeds=3, **what)  # type: ignore[arg-type]

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(fill, names))
    rows = json.loads((tmp_path / "automl-1.json").read_text())["rows"]
    assert sorted((r["competition"], r["seed"]) for r in rows) == sorted((n, s) for n in names for s in range(3))


def test_a_broken_competition_is_a_row_and_the_bench_goes_on(tmp_path: Path) -> None:
    """A metric that nobody knows, and peers whose environment lacks them."""
    (home,) = make_competitions(tmp_path / "data", rows=40, names="weather")
    facts = json.loads((home / "competition.json").read_text())
    broken = tmp_path / "data" / "broken"
    shutil.copytree(home, broken)
    (broken / "competition.json").write_text(json.dumps(facts | {"metric": "rsme"}))
    found = automl.bench_automl(
        tmp_path / "data", automl.Budget(10, 1), names="", systems="autogluon,flaml", seeds=1, python=sys.executable,
        out=tmp_path / "out",
    )  # fmt: skip
    rows = {(each["competition"], each["system"]): each for each in found["rows"]}
    assert set(rows) == {(name, system) for name in ("broken", "weather") for system in ("autogluon", "flaml")}
    assert "unknown metric 'rsme'" in rows["broken", "flaml"]["error"]
    assert (
        "No module named 'flaml'" in rows["weather", "flaml"]["error"] and rows["weather", "flaml"]["overall"] is None
    )
    assert set(rows["weather", "autogluon"]["presets"]) == set(automl.PRESETS)
    assert automl.describe_row(rows["weather", "flaml"]).endswith("No module named 'flaml'")


@pytest.mark.parametrize("lower, better", [(True, 0.2), (False, 0.3)])
def test_the_better_preset_counts(lower: bool, better: float) -> None:
    rows = [{"overall": value, "lower_is_better": lower} for value in (None, 0.3, 0.2)]
    assert automl.choose_better(rows)["overall"] == better
    assert automl.choose_better(rows[:1])["overall"] is None


def test_peers_get_a_column_for_each_label_and_several_tables_as_one(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(60, 2)).round(3), columns=["a", "b"])
    frame["hot"], frame["wet"] = (frame["a"] > 0).astype(int), (frame["b"] > 0).astype(int)
    frame.to_csv(tmp_path / "all.csv", index=False)
    hold_out(tmp_path / "all.csv", "hot,wet", "mean_columnwise_auc", Split(), tmp_path / "labels")
    (tmp_path / "w").mkdir()
    data = automl_peers.prepare_workspace(tmp_path / "labels", tmp_path / "w")
    job = automl_peers.write_table(data, tmp_path / "w")
    train = pd.read_csv(job["train"])
    assert job["targets"] == ["target__0", "target__1"] and (job["task"], job["metric"]) == ("binary", "auc")
    assert set(train["target__1"]) == {0, 1} and list(train.columns[:2]) == ["a", "b"]
    rows = len(data.test_ids)
    pd.DataFrame({f"target__{t} {c}": np.full(rows, c + 0.1) for t in (0, 1) for c in (0, 1)}).to_csv(
        job["out"], index=False
    )
    assert list(automl_peers.read_predictions(data, Path(job["out"]))["wet"]) == [1.1] * rows

    (home,) = make_competitions(tmp_path, rows=200, names="time-zones")
    (tmp_path / "j").mkdir()
    joined = automl_peers.prepare_workspace(home, tmp_path / "j")
    assert "continent" in joined.inputs("tab") and any("borders" in name for name in joined.inputs("tab"))


def test_made_competitions_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in MAKERS:
        one, other, third = (
            make_competitions(tmp_path / str(place), seed, rows=60, names=name)[0]
            for place, seed in enumerate((0, 0, 1))
        )
        files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
        assert len(files) > 5
        assert all((one / file).read_bytes() == (other / file).read_bytes() for file in files), name
        answers = [pd.read_csv(home / "private" / "solution.csv", dtype=str) for home in (one, third)]
        shown = pd.read_csv(one / "public" / "sample_submission.csv", dtype=str)
        assert list(shown["id"]) == list(answers[0]["id"]) and set(answers[0]["Usage"]) == {"Public", "Private"}
        assert name == "weather" or not answers[0].equals(answers[1])
        train = pd.read_csv(one / "public" / "train.csv", dtype=str)
        assert not set(train["id"]) & set(answers[0]["id"])
    with pytest.raises(UserError, match="unknown competition 'leters'; did you mean letters"):
        make_competitions(tmp_path, names="leters")
