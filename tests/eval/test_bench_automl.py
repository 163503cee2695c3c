"""`bench automl`: its ranks, and its file, which several processes fill."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agentkd.eval.bench.truth import automl


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
