"""The grader against the solver's scorer, with which it shares no code: every metric, on random and odd answers."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentkd.eval.competition
from agentkd.agents.agent_k.contract import Setup, TaskKind
from agentkd.agents.agent_k.scoring import metrics as solver
from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.errors import UserError
from agentkd.eval.competition import make_rows_scorer
from agentkd.eval.competition_metrics import MAP_AT_K, METRICS
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")

CASES = [(name, task) for name, metric in METRICS.items() for task in metric.tasks]
CLASSES = {
    "binary": [("0", "1"), ("no", "yes"), ("False", "True"), ("-1", "1"), ("10", "2.0"), ("b, c", 'a "b"'), ("2", "x")],
    "multiclass": [("0", "1", "2"), ("1", "10", "4"), ("a", "b b", "ü", "ß"), ("-1.5", "0", "3e2"), ("1", "x", "y")],
}
SPELLINGS = {"0": "0.0", "1": "1.00", "2": "2e0", "True": "1", "False": "false", "-1": "-1.0", "10": "1e1"}


def test_the_grader_imports_nothing_of_the_solver() -> None:
    folder = Path(agentkd.eval.competition.__file__).parent
    files = [*folder.glob("competition*.py"), folder / "leaderboard.py"]
    assert len(files) == 4
    for file in files:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        ours = {module for module in modules if module.startswith("agentkd")}
        assert ours <= {"agentkd.errors", "agentkd.runs.disk", *(m for m in ours if m.startswith("agentkd.eval."))}


def test_both_know_the_same_metrics() -> None:
    assert {*METRICS, MAP_AT_K} == set(solver.METRICS)
    for name, metric in METRICS.items():
        twin = solver.METRICS[name]
        assert (metric.name, metric.compares, metric.lower_is_better, metric.tasks) == (
            name, twin.needs, twin.lower_is_better, twin.tasks)  # fmt: skip
    assert not solver.METRICS[MAP_AT_K].lower_is_better


def outcome(call: Callable[[], float]) -> tuple[float, str]:
    try:
        return call(), ""
    except UserError as error:
        return 0.0, str(error)


def table(ids: list[str], columns: dict[str, Any]) -> Any:
    return pd.DataFrame({"key": ids} | {name: [str(cell) for cell in cells] for name, cells in columns.items()})


def compare(setup: Setup, solution: Any, sent: Any, predicted: Any) -> None:
    """Score `sent` (a submission) and `predicted` (the same as a prediction file): all rows, every second one, some."""
    metric = setup.metric
    facts = {"id": "key", "metric": metric, "task": setup.task}
    sample = sent.assign(**dict.fromkeys(sent.columns[1:], setup.classes[0] if setup.classes else "0"))
    truth, predicted = solution.rename(columns={"key": "id"}), predicted.assign(id=sent["key"])
    alike = [row for row, word in enumerate(truth[setup.targets[0]]) if word == truth[setup.targets[0]][0]]
    for rows in (list(range(len(sent))), list(range(0, len(sent), 2)), alike):
        mine, why = outcome(lambda rows=rows: make_rows_scorer(facts, sample, solution, sent)(rows))
        theirs, because = outcome(lambda rows=rows: score(setup, truth.iloc[rows], predicted.iloc[rows]))
        assert why == because
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-11)


def setup_for(metric: str, task: TaskKind, targets: tuple[str, ...], classes: tuple[str, ...] = ()) -> Setup:
    found = solver.METRICS[metric]
    return Setup(train="", test="", sample="", id="key", targets=targets, outputs=targets, task=task, classes=classes,
                 output=found.needs, metric=metric, lower_is_better=found.lower_is_better)  # fmt: skip


def drawn(draw: np.random.Generator, n: int, wide: int) -> Any:
    """Probabilities with ties, zeros and ones, rows that need not sum to one."""
    return np.round(draw.random((n, wide)) * draw.choice([1, 4]), draw.choice([0, 1, 3])).clip(0, 1)


@pytest.mark.parametrize(("metric", "task"), CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_grader_and_solver_score_alike(metric: str, task: TaskKind, seed: int) -> None:
    draw = np.random.default_rng(seed)
    n = int(draw.choice([1, 2, 5, 30]))
    if task in ("binary", "multiclass"):
        compare_classes(metric, task, draw, n)
    else:
        compare_columns(metric, task, draw, n)


def compare_columns(metric: str, task: TaskKind, draw: np.random.Generator, n: int) -> None:
    """One to three targets, some cells missing, some columns constant."""
    ids, targets = [f"{row:03}" for row in range(n)], ("y", "the second", "3")[: int(draw.integers(1, 4))]
    if task == "regression":
        true, given_ = (np.round(draw.normal(size=(n, 3)) * 4) / 4 * draw.integers(0, 2, 3) + 2 for _ in range(2))
    else:
        true, given_ = draw.integers(0, 2, (n, 3)), drawn(draw, n, 3)
        true[:, 0] = true[0, 0] if draw.random() < 0.3 else true[:, 0]
    one = draw.choice(["1", "1.0", "True"])
    words = true.astype(str) if task == "regression" else np.where(true == 1, one, "0").astype(object)
    words = np.where(draw.random((n, 3)) < draw.choice([0.0, 0.2]), "", words)
    sent = {name: given_[:, c] for c, name in enumerate(targets)}
    solution = table(ids, {name: words[:, c] for c, name in enumerate(targets)})
    compare(setup_for(metric, task, targets), solution, table(ids, sent), pd.DataFrame(sent))


def compare_classes(metric: str, task: TaskKind, draw: np.random.Generator, n: int) -> None:
    """Every class occurs, since the grader knows no others; then some cells are missing."""
    classes = tuple(sorted(CLASSES[task][int(draw.integers(len(CLASSES[task])))]))
    k = len(classes)
    codes = np.concatenate([draw.permutation(k), draw.integers(0, k, n)])
    ids = [f"{row:03}" for row in range(n + k)]
    solution = table(ids, {"y": np.where(np.arange(n + k) < k, 1, draw.random(n + k)) > draw.choice([0, 0.2])})
    solution["y"] = [classes[code] if there == "True" else "" for code, there in zip(codes, solution["y"], strict=True)]
    if METRICS[metric].compares == "label":
        guess = draw.integers(0, k, n + k)
        words = [SPELLINGS.get(classes[code], "") if draw.random() < 0.5 else "" for code in guess]
        sent = table(ids, {"y": [word or classes[code] for word, code in zip(words, guess, strict=True)]})
        predicted = pd.DataFrame(np.eye(k)[guess], columns=list(classes))
        compare(setup_for(metric, task, ("y",), classes), solution, sent, predicted)
        return
    p, order = drawn(draw, n + k, k), list(range(k))
    if task == "binary" and draw.random() < 0.7:  # the positive class's probability alone
        p[:, 0] = 1 - p[:, 1]
        sent = table(ids, {"y": p[:, 1]})
    else:
        order = [int(code) for code in draw.permutation(k)]
        sent = table(ids, {classes[code]: p[:, code] for code in order})
    setup = setup_for(metric, task, ("y",), tuple(classes[code] for code in order))
    compare(setup, solution, sent, pd.DataFrame(p, columns=list(classes)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_map_at_k_is_the_solvers(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n, wide, k = 12, 5, int(draw.integers(1, 5))
    names = np.array([f"class{c}" for c in range(wide)])
    p, codes = draw.random((n, wide)), draw.integers(0, wide, n)
    cells = [" ".join(names[np.argsort(-row)[:k]]) for row in p]
    ids = [str(row) for row in range(n)]
    facts = {"id": "key", "metric": MAP_AT_K, "task": "multiclass"}
    sent = table(ids, {"y": cells})
    mine = make_rows_scorer(facts, sent, table(ids, {"y": names[codes]}), sent)(list(range(n)))
    assert mine == pytest.approx(solver.map_at(codes, p, k))
