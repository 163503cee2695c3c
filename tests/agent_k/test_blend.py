"""Hill climbing, stacking, thresholds, and the promise that a blend is never worse than the best candidate alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import Setup, TaskKind
from agentkd.agents.agent_k.scoring.blend import Blend, best_blend
from agentkd.agents.agent_k.scoring.blenders import hill_climb
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.predictions import decide_labels
from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.agents.agent_k.workspace.folds import make_folds
from agentkd.errors import UserError
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")

ROWS, TEST = 300, 80


def a_setup(metric: str, task: TaskKind, classes: tuple[str, ...] = (), targets: tuple[str, ...] = ("y",)) -> Setup:
    found = METRICS.get(metric, METRICS["rmse"])
    return Setup(train="train.csv", test="test.csv", sample="sample.csv", id="id", targets=targets, outputs=targets,
                 task=task, classes=classes, output=found.needs, metric=metric,
                 lower_is_better=found.lower_is_better)  # fmt: skip


def file_of(setup: Setup, values: Any, first: str = "r") -> Any:
    columns = {name: values[:, i] for i, name in enumerate(setup.predicted)}
    return pd.DataFrame({"id": [f"{first}{i}" for i in range(len(values))]} | columns)


def a_regression(
    metric: str, noises: dict[str, float], bias: float = 0.0
) -> tuple[Setup, Any, dict[str, tuple[Any, Any]]]:
    random = np.random.default_rng(0)
    y = random.lognormal(3, 0.5, (ROWS + TEST, 1))
    setup = a_setup(metric, "regression")
    candidates = {}
    for name, noise in noises.items():
        guess = y * np.exp(random.normal(bias, noise, y.shape))
        candidates[name] = (file_of(setup, guess[:ROWS]), file_of(setup, guess[ROWS:], "t"))
    return setup, file_of(setup, y[:ROWS]), candidates


def classification(metric: str, strengths: dict[str, float], kinds: int = 3, rare: float = 0.0) -> Any:
    random = np.random.default_rng(1)
    classes = tuple("abcdef"[:kinds])
    setup = a_setup(metric, "binary" if kinds == 2 else "multiclass", classes)
    share = [1 - rare, rare] if rare else [1 / kinds] * kinds
    y = random.choice(kinds, ROWS + TEST, p=share)
    candidates = {}
    for name, strength in strengths.items():
        logits = strength * np.eye(kinds)[y] + random.normal(0, 1, (len(y), kinds)) + np.log(share)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        candidates[name] = (file_of(setup, p[:ROWS]), file_of(setup, p[ROWS:], "t"))
    truth = pd.DataFrame({"id": [f"r{i}" for i in range(ROWS)], "y": np.array(classes)[y[:ROWS]]})
    return setup, truth, candidates


def blended(setup: Setup, truth: Any, candidates: Any, seed: int = 0) -> Blend:
    return best_blend(setup, truth, make_folds(setup, truth), candidates, seed)


def test_hill_climbing_finds_the_weights_of_a_mixture() -> None:
    random = np.random.default_rng(0)
    parts = random.normal(size=(3, 200, 1))
    truth = 0.75 * parts[0] + 0.25 * parts[1]
    weights = hill_climb(parts, lambda p: float(np.mean((p - truth) ** 2)), True, steps=12)
    assert weights == pytest.approx([0.75, 0.25, 0.0])


def test_hill_climbing_keeps_the_best_step() -> None:
    """With two steps the mixture is worse than the first candidate alone, and three would be needed."""
    parts = np.array([[[1.0]], [[4.0]]])
    weights = hill_climb(parts, lambda p: abs(float(p[0, 0]) - 1.0), True, steps=2)
    assert weights.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("metric", ["rmse", "rmsle", "mae", "r2", "mape"])
def test_a_blend_of_values_beats_the_best_candidate(metric: str) -> None:
    setup, truth, candidates = a_regression(metric, {"a": 0.2, "b": 0.22, "c": 0.25, "d": 0.9})
    found = blended(setup, truth, candidates)
    singles = [score(setup, truth, oof) for oof, _ in candidates.values()]
    assert found.kind != "single" and (
        found.score < min(singles) if setup.lower_is_better else found.score > max(singles)
    )
    assert found.score == pytest.approx(score(setup, truth, found.oof))
    assert list(found.test["id"]) == [f"t{i}" for i in range(TEST)] and np.isfinite(found.test["y"]).all()


@pytest.mark.parametrize(
    "metric, kinds", [("multiclass_logloss", 3), ("accuracy", 3), ("auc", 2), ("mcc", 2), ("qwk", 4)]
)
def test_a_blend_of_probabilities_is_no_worse(metric: str, kinds: int) -> None:
    setup, truth, candidates = classification(metric, {"a": 1.5, "b": 1.4, "c": 1.2}, kinds)
    found = blended(setup, truth, candidates)
    best = max(
        (score(setup, truth, oof) for oof, _ in candidates.values()), key=lambda s: -s if setup.lower_is_better else s
    )
    assert (found.score <= best) if setup.lower_is_better else (found.score >= best)
    assert np.allclose(found.test[list(setup.predicted)].sum(axis=1), 1)


@pytest.mark.parametrize("metric", ["auc", "logloss", "f1"])
def test_eight_positive_rows_among_many(metric: str) -> None:
    """A sample of the rows may hold none of them, and a fold's few may do for no stack."""
    random = np.random.default_rng(0)
    setup = a_setup(metric, "binary", ("0", "1"))
    for rows, rare in ((12_000, 8), (300, 1)):
        y = np.zeros(rows, dtype=int)
        y[random.choice(rows, rare, replace=False)] = 1
        truth = pd.DataFrame({"id": [f"r{i}" for i in range(rows)], "y": y.astype(str)})
        candidates = {}
        for name, noise in {"a": 0.1, "b": 0.15, "c": 0.2}.items():
            p = np.clip(0.01 + 0.3 * y + random.normal(0, noise, rows), 1e-4, 0.99)
            made = file_of(setup, np.column_stack([1 - p, p]))
            candidates[name] = (made, made.head(10))
        found = blended(setup, truth, candidates)
        assert np.isfinite(found.score) and {"single", "average"} <= set(found.scores or {})


def test_noise_is_left_alone() -> None:
    """Ten random candidates and a good one: nested cross-validation must not be fooled by them."""
    setup, truth, candidates = classification(
        "multiclass_logloss", {"good": 3.0} | {f"chance{i}": 0.0 for i in range(10)}
    )
    found = blended(setup, truth, candidates)
    assert found.score <= score(setup, truth, candidates["good"][0])
    assert not found.weights or found.weights["good"] > 0.8


def test_one_candidate_is_taken_as_it_is() -> None:
    setup, truth, candidates = a_regression("rmse", {"a": 0.2})
    found = blended(setup, truth, candidates)
    assert found.kind == "single" and found.weights == {"a": 1.0}
    assert np.allclose(found.test["y"], candidates["a"][1]["y"])


def test_the_same_seed_gives_the_same_blend() -> None:
    setup, truth, candidates = classification("accuracy", {"a": 1.5, "b": 1.4, "c": 1.2, "d": 1.0}, 2)
    one, two = blended(setup, truth, candidates, 5), blended(setup, truth, candidates, 5)
    assert one.weights == two.weights and one.test.equals(two.test)


def test_a_threshold_is_tuned_where_it_helps_and_only_there() -> None:
    setup, truth, candidates = classification("f1", {"a": 1.6, "b": 1.5}, 2, rare=0.12)
    found = blended(setup, truth, candidates)
    assert found.thresholds is not None and found.thresholds[1] < 0.5
    plain = score(setup, truth, found.oof)
    assert found.score > plain  # on folds that did not choose the threshold
    assert (decide_labels(setup, found.test, found.thresholds)["y"] == "b").sum() > (
        decide_labels(setup, found.test)["y"] == "b"
    ).sum()
    setup, truth, candidates = classification("accuracy", {"a": 1.6, "b": 1.5}, 2)
    assert blended(setup, truth, candidates).thresholds is None


def test_many_targets() -> None:
    random = np.random.default_rng(2)
    setup = a_setup("mean_columnwise_auc", "multilabel", targets=("u", "v"))
    y = random.integers(0, 2, (ROWS, 2))
    truth = file_of(setup, y)
    candidates = {}
    for name, noise in {"a": 0.5, "b": 0.6}.items():
        p = np.clip(0.5 + 0.4 * (y - 0.5) + random.normal(0, noise, y.shape), 0, 1)
        candidates[name] = (file_of(setup, p), file_of(setup, p[:TEST], "t"))
    found = blended(setup, truth, candidates)
    assert found.score >= max(score(setup, truth, oof) for oof, _ in candidates.values())


def test_a_metric_in_code_is_blended_by_a_smooth_one() -> None:
    setup, truth, candidates = a_regression("rmse", {"a": 0.2, "b": 0.2})
    found = blended(setup.model_copy(update={"metric": "code"}), truth, candidates)
    assert found.score == blended(setup, truth, candidates).score


def test_what_does_not_fit_is_refused() -> None:
    setup, truth, candidates = a_regression("rmse", {"a": 0.2, "b": 0.2})
    with pytest.raises(UserError, match="no candidate to blend"):
        blended(setup, truth, {})
    with pytest.raises(UserError, match="lack 10 of 300 ids"):
        blended(setup, truth, candidates | {"b": (candidates["b"][0].iloc[10:], candidates["b"][1])})
