"""Metrics against naive references, labels and thresholds, the words of Kaggle's pages, folds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.agents.agent_k.contract import Setup, TaskKind
from agentkd.agents.agent_k.scoring.metric_names import find_metrics, find_unknown_metric
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.predictions import decide_labels
from agentkd.agents.agent_k.scoring.scorer import Scorer, score
from agentkd.agents.agent_k.scoring.thresholds import tune_thresholds
from agentkd.agents.agent_k.workspace.folds import make_folds
from agentkd.errors import UserError
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")


def setup_for(metric: str, task: TaskKind, classes: tuple[str, ...] = (), targets: tuple[str, ...] = ("y",)) -> Setup:
    found = METRICS[metric]
    return Setup(train="train.csv", test="test.csv", sample="sample.csv", id="id", targets=targets, outputs=targets,
                 task=task, classes=classes, output=found.needs, metric=metric,
                 lower_is_better=found.lower_is_better)  # fmt: skip


def frame(columns: dict[str, Any]) -> Any:
    rows = len(next(iter(columns.values())))
    return pd.DataFrame({"id": [f"r{i}" for i in range(rows)]} | columns)


def values_of(metric: str, truth: list[float], guess: list[float]) -> float:
    return score(setup_for(metric, "regression"), frame({"y": truth}), frame({"y": guess}))


def classes_of(metric: str, truth: list[int], rows: list[list[float]], names: tuple[str, ...]) -> float:
    setup = setup_for(metric, "binary" if len(names) == 2 else "multiclass", names)
    p = np.array(rows)
    return score(setup, frame({"y": [names[t] for t in truth]}), frame({n: p[:, i] for i, n in enumerate(names)}))


# --- naive references -------------------------------------------------------------------------------------------------


def mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)


def naive_pearson(t: list[float], v: list[float]) -> float:
    a, b = [x - mean(t) for x in t], [x - mean(v) for x in v]
    scale = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / scale


def rank(values: list[float]) -> list[float]:
    return [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]


def naive_gini(t: list[float], v: list[float]) -> float:
    def area(order: list[int]) -> float:
        total, area, n = 0.0, 0.0, len(order)
        for place, i in enumerate(order, 1):
            total += t[i]
            area += total / sum(t) - place / n
        return area

    places = range(len(t))
    return area(sorted(places, key=lambda i: -v[i])) / area(sorted(places, key=lambda i: -t[i]))


VALUES = {
    "rmse": lambda t, v: math.sqrt(mean((a - b) ** 2 for a, b in zip(t, v, strict=True))),
    "mse": lambda t, v: mean((a - b) ** 2 for a, b in zip(t, v, strict=True)),
    "mae": lambda t, v: mean(abs(a - b) for a, b in zip(t, v, strict=True)),
    "medae": lambda t, v: float(np.median([abs(a - b) for a, b in zip(t, v, strict=True)])),
    "rmsle": lambda t, v: math.sqrt(mean((math.log1p(a) - math.log1p(b)) ** 2 for a, b in zip(t, v, strict=True))),
    "msle": lambda t, v: mean((math.log1p(a) - math.log1p(b)) ** 2 for a, b in zip(t, v, strict=True)),
    "mape": lambda t, v: mean(abs(a - b) / a for a, b in zip(t, v, strict=True)),
    "rmspe": lambda t, v: math.sqrt(mean(((a - b) / a) ** 2 for a, b in zip(t, v, strict=True))),
    "smape": lambda t, v: 100 * mean(abs(a - b) / ((a + b) / 2) for a, b in zip(t, v, strict=True)),
    "r2": lambda t, v: 1 - sum((a - b) ** 2 for a, b in zip(t, v, strict=True)) / sum((a - mean(t)) ** 2 for a in t),
    "pearson": naive_pearson,
    "spearman": lambda t, v: naive_pearson(rank(t), rank(v)),
    "normalized_gini": naive_gini,
}
POSITIVE = st.floats(0.5, 1000).map(lambda x: round(x, 3))


@pytest.mark.parametrize("metric", VALUES)
@settings(max_examples=40)
@given(
    pairs=st.lists(st.tuples(POSITIVE, POSITIVE), min_size=3, max_size=12, unique_by=(lambda p: p[0], lambda p: p[1]))
)
def test_metrics_of_values(metric: str, pairs: list[tuple[float, float]]) -> None:
    truth, guess = [list(column) for column in zip(*pairs, strict=True)]
    assert values_of(metric, truth, guess) == pytest.approx(VALUES[metric](truth, guess), rel=1e-6, abs=1e-9)


def counts(t: list[int], g: list[int], c: int) -> tuple[int, int, int]:
    pairs = list(zip(t, g, strict=True))
    return (sum(a == b == c for a, b in pairs), sum(a != c and b == c for a, b in pairs),
            sum(a == c and b != c for a, b in pairs))  # fmt: skip


def naive_f1(t: list[int], g: list[int], c: int) -> float:
    hit, wrong, missed = counts(t, g, c)
    return 2 * hit / (2 * hit + wrong + missed) if hit else 0.0


def naive_kappa(t: list[int], g: list[int], power: int) -> float:
    weight = (lambda a, b: float(a != b)) if power == 0 else (lambda a, b: float((a - b) ** power))
    seen = mean(weight(a, b) for a, b in zip(t, g, strict=True))
    chance = mean(weight(a, b) for a in t for b in g)
    return 1 - seen / chance


def naive_mcc(t: list[int], g: list[int]) -> float:
    """By correlation of the indicator matrices (Gorodkin 2004)."""
    kinds = range(3)
    x, y = [[[float(a == c) for c in kinds] for a in side] for side in (t, g)]
    cov = [
        sum((a[c] - mean(r[c] for r in one)) * (b[c] - mean(r[c] for r in two)) for a, b in zip(one, two, strict=True)
            for c in kinds)
        for one, two in ((x, y), (x, x), (y, y))
    ]  # fmt: skip
    return cov[0] / math.sqrt(cov[1] * cov[2])


LABELS = {
    "accuracy": lambda t, g: mean(a == b for a, b in zip(t, g, strict=True)),
    "balanced_accuracy": lambda t, g: mean(counts(t, g, c)[0] / t.count(c) for c in set(t)),
    "f1_macro": lambda t, g: mean(naive_f1(t, g, c) for c in set(t) | set(g)),
    "f1_micro": lambda t, g: mean(a == b for a, b in zip(t, g, strict=True)),
    "f1_weighted": lambda t, g: mean(naive_f1(t, g, c) for c in t),
    "kappa": lambda t, g: naive_kappa(t, g, 0),
    "qwk": lambda t, g: naive_kappa(t, g, 2),
    "mcc": naive_mcc,
}


@pytest.mark.parametrize("metric", LABELS)
@settings(max_examples=40)
@given(pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=15))
def test_metrics_of_labels(metric: str, pairs: list[tuple[int, int]]) -> None:
    truth, guess = [list(column) for column in zip(*pairs, strict=True)]
    if len(set(truth)) < 2 or len(set(guess)) < 2:
        return  # undefined for some: see test_one_class
    certain = np.eye(3)[guess].tolist()
    expected = LABELS[metric](truth, guess)
    assert classes_of(metric, truth, certain, ("0", "1", "2")) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40)
@given(pairs=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=12))
def test_metrics_of_the_positive_class(pairs: list[tuple[int, int]]) -> None:
    truth, guess = [list(column) for column in zip(*pairs, strict=True)]
    hit, wrong, missed = counts(truth, guess, 1)
    rows = np.eye(2)[guess].tolist()
    assert classes_of("f1", truth, rows, ("no", "yes")) == pytest.approx(naive_f1(truth, guess, 1))
    assert classes_of("precision", truth, rows, ("no", "yes")) == pytest.approx(hit / max(hit + wrong, 1))
    assert classes_of("recall", truth, rows, ("no", "yes")) == pytest.approx(hit / max(hit + missed, 1))


def naive_auc(t: list[int], p: list[float]) -> float:
    pairs = itertools.product(
        [a for a, y in zip(p, t, strict=True) if y], [a for a, y in zip(p, t, strict=True) if not y]
    )
    return mean((a > b) + (a == b) / 2 for a, b in pairs)


def naive_ap(t: list[int], p: list[float]) -> float:
    """Sum over thresholds of precision times the gain in recall."""
    total, before = 0.0, 0.0
    for cut in sorted(set(p), reverse=True):
        chosen = [y for y, a in zip(t, p, strict=True) if a >= cut]
        recall = sum(chosen) / sum(t)
        total += (recall - before) * sum(chosen) / len(chosen)
        before = recall
    return total


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=2, max_size=14))
def test_metrics_of_probabilities(rows: list[tuple[bool, int]]) -> None:
    truth, p = [int(y) for y, _ in rows], [tenth / 10 for _, tenth in rows]
    both = [[1 - a, a] for a in p]
    names = ("0", "1")
    loss = -mean(math.log(a if y else 1 - a) for y, a in zip(truth, p, strict=True))
    assert classes_of("logloss", truth, both, names) == pytest.approx(loss)
    assert classes_of("brier", truth, both, names) == pytest.approx(
        mean((y - a) ** 2 for y, a in zip(truth, p, strict=True))
    )
    if len(set(truth)) == 2:
        assert classes_of("auc", truth, both, names) == pytest.approx(naive_auc(truth, p))
        assert classes_of("gini", truth, both, names) == pytest.approx(2 * naive_auc(truth, p) - 1)
        assert classes_of("average_precision", truth, both, names) == pytest.approx(naive_ap(truth, p))
    else:
        with pytest.raises(UserError, match="one class"):
            classes_of("auc", truth, both, names)


def test_metrics_of_two_sides_of_the_positive_class() -> None:
    truth, rows = [1, 1, 1, 0, 0], np.eye(2)[[1, 1, 0, 1, 0]].tolist()  # 2 hits, 1 wrong, 1 missed
    assert classes_of("jaccard", truth, rows, ("no", "yes")) == pytest.approx(2 / 4)
    missed = np.eye(2)[[1, 0, 0, 0, 0]].tolist()  # precision 1, recall 1/3
    assert classes_of("f2", truth, missed, ("no", "yes")) == pytest.approx(5 * 1 / (5 * 1 + 4 * 2))
    assert classes_of("f0.5", truth, missed, ("no", "yes")) == pytest.approx(1.25 / (1.25 + 0.25 * 2))
    several = setup_for("jaccard", "multilabel", targets=("a", "b"))
    guess = frame({"a": [0.9, 0.9, 0.1], "b": [0.9, 0.1, 0.1]})
    assert score(several, frame({"a": [1, 0, 0], "b": [0, 1, 0]}), guess) == pytest.approx((0.5 + 0 + 1) / 3)


def test_each_class_counts_the_same_in_a_balanced_log_loss() -> None:
    loss = classes_of("balanced_logloss", [0, 0, 0, 1], [[0.5, 0.5]] * 3 + [[0.75, 0.25]], ("a", "b"))
    assert loss == pytest.approx((-math.log(0.5) - math.log(0.25)) / 2)


def test_average_precision_of_the_likeliest_classes() -> None:
    setup = setup_for("map@k", "multiclass", ("a", "b", "c", "d")).model_copy(update={"top": 2})
    p = np.array([[0.4, 0.3, 0.2, 0.1]] * 3)
    guess = frame({name: p[:, i] for i, name in enumerate("abcd")})
    assert score(setup, frame({"y": ["a", "b", "c"]}), guess) == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_classes_are_rescaled_and_clipped_as_on_kaggle() -> None:
    loss = classes_of("multiclass_logloss", [0, 1, 2], [[2.0, 1, 1], [0, 0, 1], [1, 1, 2]], ("a", "b", "c"))
    assert loss == pytest.approx(-mean([math.log(0.5), math.log(1e-15), math.log(0.5)]))


def test_multiclass_auc_is_one_against_the_rest() -> None:
    random = np.random.default_rng(0)
    truth = [0, 1, 2] * 6
    p = random.dirichlet(np.ones(3), 18)
    one_by_one = mean(naive_auc([int(t == c) for t in truth], list(p[:, c])) for c in range(3))
    assert classes_of("multiclass_auc", truth, p.tolist(), ("a", "b", "c")) == pytest.approx(one_by_one)


def test_several_columns_are_averaged() -> None:
    truth, guess = frame({"a": [0.0, 2], "b": [1.0, 1]}), frame({"a": [0.0, 0], "b": [1.0, 4]})
    setup = setup_for("mean_columnwise_rmse", "regression", targets=("a", "b"))
    assert score(setup, truth, guess) == pytest.approx((math.sqrt(2) + math.sqrt(4.5)) / 2)
    many = setup_for("mean_columnwise_auc", "multilabel", targets=("a", "b", "c"))
    truth = frame({"a": [0, 1, 1], "b": [1, 0, 1], "c": [0, 0, 0]})  # c has one class: left out
    guess = frame({"a": [0.1, 0.2, 0.3], "b": [0.9, 0.95, 0.8], "c": [0.1, 0.1, 0.1]})
    assert score(many, truth, guess) == pytest.approx((1.0 + 0.0) / 2)
    exact = setup_for("accuracy", "multilabel", targets=("a", "b", "c"))
    assert score(exact, truth, guess) == pytest.approx(1 / 3)
    each = setup_for("hamming", "multilabel", targets=("a", "b", "c"))
    assert score(each, truth, guess) == pytest.approx(3 / 9)  # a of rows 1, 2 and b of row 1 are wrong


# --- what is wrong or missing -----------------------------------------------------------------------------------------


def test_rows_are_matched_by_id() -> None:
    truth = frame({"y": [1.0, 2.0, 3.0]})
    assert score(setup_for("rmse", "regression"), truth, truth.iloc[::-1]) == 0
    with pytest.raises(UserError, match="lack 1 of 3 ids, the first is 'r2'"):
        score(setup_for("rmse", "regression"), truth, truth.iloc[:2])


def test_a_missing_truth_is_left_out_and_a_missing_prediction_is_an_error() -> None:
    setup = setup_for("rmse", "regression")
    assert score(setup, frame({"y": [1.0, None, 3.0]}), frame({"y": [1.0, 99.0, 3.0]})) == 0
    with pytest.raises(UserError, match="1 predicted values are not finite"):
        score(setup, frame({"y": [1.0, 2.0]}), frame({"y": [1.0, math.nan]}))
    with pytest.raises(UserError, match="no row of 2"):
        score(setup, frame({"y": [None, None]}), frame({"y": [1.0, 2.0]}))


def test_labels_that_are_not_all_known() -> None:
    truth = frame({"a": ["1", "0", ""], "b": ["True", "", "False"]})
    guess = frame({"a": [0.9, 0.8, 0.9], "b": [0.8, 0.9, 0.1]})
    for metric, expected in {
        "accuracy": 2 / 3,
        "f1_micro": 4 / 5,
        "hamming": 1 / 4,
        "auc": 1.0,
        "brier": (0.01 + 0.64 + 0.04 + 0.01) / 4,
    }.items():
        setup = setup_for(metric, "multilabel", targets=("a", "b"))
        assert score(setup, truth, guess) == pytest.approx(expected), metric


def test_rmsle_of_negative_values() -> None:
    assert values_of("rmsle", [0.0, 1.0], [-5.0, 1.0]) == 0  # as it would be submitted: clipped
    with pytest.raises(UserError, match="undefined for the true value -1"):
        values_of("rmsle", [-1.0, 1.0], [0.0, 1.0])


@pytest.mark.parametrize("metric", [m.name for m in METRICS.values() if m.needs == "label" and "multiclass" in m.tasks])
def test_one_class_gives_a_finite_score_of_labels(metric: str) -> None:
    right, wrong = [[1.0, 0, 0]] * 3, [[0.0, 1, 0]] * 3
    assert math.isfinite(classes_of(metric, [0, 0, 0], right, ("0", "1", "2")))
    assert classes_of(metric, [0, 0, 0], wrong, ("0", "1", "2")) <= 0


@pytest.mark.parametrize("metric", VALUES)
def test_constants_give_a_finite_score_or_an_error(metric: str) -> None:
    try:
        assert math.isfinite(values_of(metric, [2.0, 2.0], [2.0, 2.0]))
    except UserError as error:
        assert metric in str(error) or "gini" in str(error)


def test_a_metric_must_fit_the_task() -> None:
    with pytest.raises(UserError, match="metric 'rmse' is for regression, not for a binary task"):
        Scorer(setup_for("accuracy", "binary", ("0", "1")), frame({"y": ["0", "1"]}), "rmse")
    with pytest.raises(UserError, match="unknown metric 'fid'"):
        Scorer(setup_for("accuracy", "binary", ("0", "1")), frame({"y": ["0", "1"]}), "fid")
    with pytest.raises(UserError, match="'2' is none of the classes 0, 1"):
        Scorer(setup_for("accuracy", "binary", ("0", "1")), frame({"y": ["0", "2"]}))


def test_classes_are_read_however_they_are_written() -> None:
    setup = setup_for("accuracy", "binary", ("0", "1"))
    for written in (["1", "0"], [1, 0], [1.0, 0.0], [True, False]):
        assert score(setup, frame({"y": written}), frame({"0": [0.1, 0.9], "1": [0.9, 0.1]})) == 1


def test_qwk_takes_the_classes_numbers_not_their_places() -> None:
    names = ("0", "10", "2")  # sorted as text
    certain = np.eye(3)
    near = classes_of("qwk", [0, 1, 2], certain[[2, 1, 2]].tolist(), names)  # 0 taken for 2
    far = classes_of("qwk", [0, 1, 2], certain[[1, 1, 2]].tolist(), names)  # 0 taken for 10
    assert near > far


# --- labels and thresholds --------------------------------------------------------------------------------------------


def test_labels_by_threshold() -> None:
    setup = setup_for("f1", "binary", ("no", "yes"))
    predictions = frame({"no": [0.7, 0.4], "yes": [0.3, 0.6]})
    assert list(decide_labels(setup, predictions)["y"]) == ["no", "yes"]
    assert list(decide_labels(setup, predictions, (0.8, 0.2))["y"]) == ["yes", "yes"]
    many = setup_for("f1_micro", "multilabel", targets=("a", "b"))
    assert decide_labels(many, frame({"a": [0.3], "b": [0.6]}), (0.2, 0.7)).iloc[0, 1:].tolist() == [1, 0]
    ordered = setup_for("qwk", "multiclass", ("0", "1", "2"))
    predictions = frame({"0": [0.5], "1": [0.1], "2": [0.4]})  # expected rank 0.9
    assert decide_labels(ordered, predictions, (0.5, 1.5))["y"][0] == "1"
    assert decide_labels(ordered, predictions)["y"][0] == "0"


def test_a_tuned_threshold_finds_the_rare_class() -> None:
    random = np.random.default_rng(1)
    y = (random.random(600) < 0.1).astype(int)
    p = np.clip(0.05 + 0.25 * y + random.normal(0, 0.06, 600), 0.001, 0.999)
    setup = setup_for("f1", "binary", ("0", "1"))
    scorer = Scorer(setup, frame({"y": y.astype(str)}))
    both = np.column_stack([1 - p, p])
    found = tune_thresholds(scorer, both, np.arange(600))
    assert scorer(both) == 0 and scorer(both, found) > 0.9
    assert found[1] == pytest.approx(0.17, abs=0.06)


def test_tuning_is_bounded_and_decides_as_a_submission_does(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scored = []
    decided = Scorer.score_decisions

    def watched(self: Scorer, guess: Any) -> float:
        scored.append(decided(self, guess))
        return scored[-1]

    monkeypatch.setattr(Scorer, "score_decisions", watched)
    for metric, task, width, rows in (
        ("f1_macro", "multiclass", 60, 500),
        ("mcc", "multiclass", 4, 500),
        ("qwk", "multiclass", 5, 500),
        ("f1_micro", "multilabel", 6, 500),
        ("f1_macro", "multilabel", 250, 300),
    ):
        names = tuple(str(i) for i in range(width))
        if task == "multilabel":
            y = (random.random((rows, width)) < 0.2).astype(int)
            setup, truth = setup_for(metric, "multilabel", targets=names), frame({n: y[:, int(n)] for n in names})
            p = np.clip(0.2 + 0.2 * y + random.normal(0, 0.1, y.shape), 0.001, 0.999)
        else:
            kind = (width * random.random(rows) ** 2).astype(int)
            setup, truth = setup_for(metric, "multiclass", names), frame({"y": kind.astype(str)})
            p = random.dirichlet(np.ones(width), rows) + 0.3 * np.eye(width)[kind]
            p /= p.sum(axis=1, keepdims=True)
        scorer = Scorer(setup, truth)
        scored.clear()
        found = tune_thresholds(scorer, p, np.arange(rows))
        assert len(scored) <= 2001, (metric, task)
        best = max(scored)
        assert scorer(p, found) == pytest.approx(best), (metric, task)
        assert metric == "qwk" or best >= scorer(p)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "samples"])
def test_f1_of_sets_of_labels(average: str) -> None:
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    truth, guess = ((random.random((50, 6)) < share).astype(int) for share in ((0.5, 0.3, 0, 0.9, 0, 0.1), 0.4))
    guess[:, 4], truth[0], guess[0] = 0, 0, 0
    expected = f1_score(truth, guess, average=average, zero_division=0.0)
    assert METRICS[f"f1_{average}"].function(truth, guess) == pytest.approx(expected)
    assert METRICS[f"f1_{average}"].function(truth * 0, guess * 0) == 0


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, name",
    [
        ("Submissions are evaluated on [Root-Mean-Squared-Error (RMSE)](https://x.y/z) between the logarithm of the "
         "predicted value and the logarithm of the observed sales price. (Taking logs means that", "rmsle"),
        ("Submissions are evaluated using the Root Mean Squared Logarithmic Error (RMSLE).", "rmsle"),
        ("Submissions are scored on the root mean squared error. RMSE is defined as:", "rmse"),
        ("Submissions are evaluated on the categorization accuracy of your predictions (the percentage of images you "
         "get correct).", "accuracy"),
        ("Your score is the percentage of passengers you correctly predict. This is known as accuracy.", "accuracy"),
        ("Submissions are evaluated on balanced accuracy.", "balanced_accuracy"),
        ("Submissions are evaluated using the multi-class logarithmic loss.", "multiclass_logloss"),
        ("Submissions are scored on the log loss:", "logloss"),
        ("Submissions are evaluated on area under the ROC curve between the predicted probability and the observed "
         "target.", "auc"),
        ("evaluated on **area under the [ROC curve](http://en.wikipedia.org/wiki/ROC)**", "auc"),
        ("Submissions are now evaluated on the mean column-wise ROC AUC. In other words, the score is the average of "
         "the individual AUCs of each predicted column.", "mean_columnwise_auc"),
        ("Submissions are scored based on the quadratic weighted kappa, which measures the agreement", "qwk"),
        ("Submissions are evaluated on macro F1-score.", "f1_macro"),
        ("The evaluation metric for this competition is Mean F1-Score.", "f1_samples"),
        ("Submissions are evaluated using the F1 score between the predicted and actual", "f1"),
        ("using the Matthews correlation coefficient (MCC) between", "mcc"),
        ("Submissions are evaluated on SMAPE between forecasts and actual values.", "smape"),
        ("Submissions are evaluated on the Mean Absolute Error between", "mae"),
        ("Submissions are evaluated on the mean absolute percentage error", "mape"),
        ("Submissions are scored using MCRMSE, mean columnwise root mean squared error:", "mean_columnwise_rmse"),
        ("Submissions are evaluated on the R² score", "r2"),
        ("evaluated using the Normalized Gini Coefficient.", "normalized_gini"),
        ("evaluated on the Pearson correlation coefficient", "pearson"),
        ("Submissions are evaluated using the area under the precision-recall curve", "average_precision"),
        ("evaluated using Mean Average Precision @ 3 (MAP@3)", "map@k"),
        ("evaluated by the mean average precision at 12", "map@k"),
        ("Submissions are scored using F2 score", "f2"),
        ("evaluated by the F-beta score with beta=0.5", "f0.5"),
        ("evaluated by $F_{\\beta}$ with $\\beta = 2$", "f2"),
        ("evaluated on the pinball loss", "mae"),
        ("evaluated using the Jaccard index", "jaccard"),
        ("evaluated on the balanced logarithmic loss", "balanced_logloss"),
        ("evaluated using the mean of per-class accuracy", "balanced_accuracy"),
        ("scored by the error rate", "accuracy"),
        ("evaluated on AUROC", "auc"),
        ("evaluated on the root mean square percentage error (RMSPE)", "rmspe"),
        ("scored on the RMSE of the log1p-transformed price", "rmsle"),
        ("RMS error is the metric", "rmse"),
        ("the metric is the unweighted mean of the per-class F1 scores", "f1_macro"),
        ("scored by macro-averaged recall", "balanced_accuracy"),
        ("evaluated on their classification error", "accuracy"),
        ("Because the classes are imbalanced, accuracy is misleading; submissions are evaluated using ROC AUC.", "auc"),
        ("RMSE is used as the evaluation metric because the MAE does not punish large errors.", "rmse"),
        ("AUC is the evaluation metric, since accuracy is misleading here.", "auc"),
        ("Accuracy will be the metric for the leaderboard, with ties broken by log loss.", "accuracy"),
        ("As in previous years, MAE is the metric of this competition, and RMSE is only informative.", "mae"),
        ("RMSE between the predicted and true values of log1p_demand", "rmse"),
        ("Submissions are scored by RMSE.\n\n## Previous evaluation results\nA MAE of 3 was reached.", "rmse"),
        ("evaluated on RMSE.\n\n**Evaluation server**\n\nThe notebook prints the MAE.", "rmse"),
        ("<h2>Evaluation</h2><p>RMSE</p><h2>Data</h2><p>the sensors are measured with a mean absolute error", "rmse"),
        ("We do not use accuracy. Submissions are scored with the F1-score.", "f1"),
        ("Unlike last year, when accuracy was used, the metric is F1.", "f1"),
        ("Instead of RMSE we use MAE as the evaluation metric.", "mae"),
        ("In the previous edition we used log loss. This time submissions are evaluated by ROC AUC.", "auc"),
    ],
)  # fmt: skip
def test_the_wordings_of_kaggles_pages(text: str, name: str) -> None:
    assert find_metrics(text)[0] == name


@pytest.mark.parametrize(
    "text, said",
    [("the weighted mean absolute error", "weighted mean absolute"), ("pinball loss", "pinball loss"),
     ("the F-beta score with beta of 1.5", "f beta score"), ("the F-beta score (beta = 2)", ""),
     ("the quadratic weighted kappa", ""), ("the weighted F1 score", ""), ("log loss", "")],
)  # fmt: skip
def test_what_is_scored_without_its_weights(text: str, said: str) -> None:
    assert find_unknown_metric(f"Submissions are evaluated on {text}.") == said
    assert find_unknown_metric(f"Last year there was talk of {text}.") == ""


@pytest.mark.parametrize(
    "hint, name",
    [("CategorizationAccuracy", "accuracy"), ("RootMeanSquaredLogarithmicError", "rmsle"), ("MulticlassLoss",
      "multiclass_logloss"), ("AreaUnderReceiverOperatingCharacteristicCurve", "auc"), ("LogLoss", "logloss"),
     ("QuadraticWeightedKappa", "qwk"), ("MacroFScore", "f1_macro"), ("MeanFScore", "f1_samples"),
     ("Symmetric Mean Absolute Percentage Error", "smape"), ("RootMeanSquaredError", "rmse"), ("RMSE", "rmse"),
     ("MeanColumnwiseRootMeanSquaredError", "mean_columnwise_rmse"), ("F-Score (Macro)", "f1_macro")],
)  # fmt: skip
def test_kaggles_own_names_of_metrics(hint: str, name: str) -> None:
    assert find_metrics("Submissions are evaluated on accuracy.", hint)[0] == name


@pytest.mark.parametrize(
    "headings",
    [("# Overview", "## Evaluation", "## Data"), ("Overview\n===", "Evaluation\n----------", "Data\n----"),
     ("**Overview**", "**Evaluation**", "**Data**"), ("<h1>Overview</h1>", "<h2>Evaluation</h2>", "<h2>Data</h2>")],
)  # fmt: skip
def test_the_evaluation_section_counts_most(headings: tuple[str, str, str]) -> None:
    first, middle, last = headings
    text = f"""{first}
Improve the accuracy of forecasts; last year's RMSE was 3.

{middle}
Mean absolute error.

{last}
The models of the starter notebook are evaluated by their R².
The leaderboard closes in May. Precision medicine matters."""
    assert find_metrics(text)[0] == "mae"
    assert find_metrics("Nothing is said here about how we judge.") == []


@pytest.mark.parametrize(
    "long",
    ["# a" + " " * 40_000 + "x", "<" * 200_000, "[" * 200_000, "[](" * 60_000, "\n " * 90_000, "f1 rmse of " * 12_000],
)
def test_a_page_of_one_endless_line(long: str) -> None:
    """Patterns may be slow on these: a page that somebody else has written must not hold a run up."""
    assert "mae" in find_metrics(f"{long}\n\nSubmissions are evaluated on MAE.")


# --- folds ------------------------------------------------------------------------------------------------------------


def test_folds_are_stratified_and_the_same_for_a_seed() -> None:
    y = ["a"] * 50 + ["b"] * 23 + ["c"] * 3 + ["d"]
    setup = setup_for("accuracy", "multiclass", ("a", "b", "c", "d"))
    targets = frame({"y": y})
    folds = make_folds(setup, targets, k=5, seed=3)
    assert folds.equals(make_folds(setup, targets, k=5, seed=3)) and not folds.equals(make_folds(setup, targets, 5, 4))
    table = pd.crosstab(folds["fold"], pd.Series(y))
    assert (table.max() - table.min() <= 1).all() and np.ptp(table.sum(axis=1)) <= 1


def test_folds_of_values_have_the_same_spread() -> None:
    targets = frame({"y": np.random.default_rng(0).lognormal(3, 1, 203)})
    folds = make_folds(setup_for("rmse", "regression"), targets, k=5)
    means = np.log(targets["y"]).groupby(folds["fold"]).mean()
    assert np.ptp(folds["fold"].value_counts()) <= 1 and np.ptp(means) < 0.1
    assert sorted(make_folds(setup_for("rmse", "regression"), targets.iloc[:5])["fold"].unique()) == [0, 1]


def test_folds_of_labels_spread_each_set() -> None:
    targets = frame({"a": [1] * 10 + [0] * 40, "b": [0, 1] * 25})
    folds = make_folds(setup_for("hamming", "multilabel", targets=("a", "b")), targets)
    sets = pd.crosstab(folds["fold"], [targets["a"], targets["b"]])
    assert (sets.max() - sets.min() <= 1).all()
