"""Solve text competitions: naive Bayes on n-grams, TF-IDF with linear models, sentence embeddings.

N-grams are counted over training and test rows, without the target. All weights come from a fold's training rows."""

from __future__ import annotations

import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, cross_fit, note_cut
from agentkd.agents.agent_k.solvers.ngrams import count_character_ngrams, count_word_ngrams, mark_present, weigh_tf_idf
from agentkd.agents.agent_k.solvers.workers import run_jobs
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError, WorldError

Array = npt.NDArray[Any]
_PARTS = 5
LETTERS, LEARNING = 3.0, 2.6  # times as long as counting words: counting characters, learning from all in one fold


def join_texts(data: CompetitionData) -> list[str]:
    """Join the text columns of each row."""
    frame = data.inputs("txt")
    return [" \n ".join(row) for row in frame.itertuples(index=False, name=None)]


def count_ngram_views(
    texts: list[str], letters: bool = True, *, folds: int = 1, seconds: float = float("inf")
) -> list[tuple[Any, float]]:
    """(n-gram matrix, smoothing of its naive Bayes) of words and characters, as presence and as TF-IDF.

    Words alone without `letters`, or where the rest, with learning in so many `folds`, would exceed `seconds`; this is
    estimated from the time that counting words takes."""
    start = time.monotonic()
    one, two = count_word_ngrams(texts, 1, 1), count_word_ngrams(texts, 1, 2)
    more = [two, count_word_ngrams(texts, 1, 3, lower=False)]
    if letters and (time.monotonic() - start) * (LETTERS + LEARNING * folds) > seconds:
        note_cut("letters are not counted")
    elif letters:
        more += [count_character_ngrams(texts, 2, 4), count_character_ngrams(texts, 3, 6)]
    return [(mark_present(x), 0.2) for x in (one, *more)] + [(weigh_tf_idf(x), 0.03) for x in more]


def lacks_spaces(texts: list[str]) -> bool:
    """Whether the texts have no words between blanks, like Chinese or formulas."""
    return sum(map(len, texts)) > 12 * sum(len(text.split()) for text in texts)


MARKS = ",.;:!?'\"-()"


def measure_style(texts: list[str]) -> Array:
    """Features of style `(N, 6 + marks)`: characters, words, their ratio, capitals, digits, lines, marks."""
    rows = []
    for text in texts:
        count = len(text.split())
        row = [len(text), count, len(text) / max(count, 1), sum(map(str.isupper, text)), sum(map(str.isdigit, text))]
        rows.append([*row, text.count("\n"), *(text.count(mark) for mark in MARKS)])
    return np.array(rows, dtype=np.float64)


def solve_naive_bayes(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: naive Bayes log-odds of several n-gram views, combined by a logistic regression.

    A training row's log-odds come from counts without it. They are centred over the classes, because what all classes
    share is the text's length, which hides the rest. The regression may weigh views differently in short and long
    texts. `params`: letters (false: words alone, in a fifth of the time)."""
    texts = join_texts(data)
    seen = count_ngram_views(texts, bool(run.params.get("letters", True)) or lacks_spaces(texts))
    size = np.log1p(np.array([len(text) for text in texts], dtype=np.float64))[:, None]
    size = (size - size.mean()) / (size.std() or 1.0)

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        odds = [naive_bayes_log_odds(x, problem, train, alpha, seed) for x, alpha in seen]
        z = np.hstack(odds)
        z = z / np.maximum(z[train].std(axis=0), 1e-9)
        return fit_logistic(np.hstack([z, z * size, size]), problem.y, train, rest, 0.5)

    return cross_fit(data, learn, run)


def naive_bayes_log_odds(x: Any, problem: Problem, train: Array, alpha: float, seed: int) -> Array:
    """Centred log-odds `(N, classes)` of multinomial naive Bayes.

    Those of a training row come from the other inner parts, those of all other rows from all training rows."""
    part = np.full(x.shape[0], -1)
    part[train] = np.random.default_rng(seed).integers(0, _PARTS, len(train))
    hot = np.zeros((x.shape[0], problem.classes), dtype=np.float32)
    hot[train, problem.y[train]] = 1
    counts = [x.T @ np.where((part == i)[:, None], hot, 0) for i in range(_PARTS)]
    whole = np.sum(counts, axis=0)
    out = np.zeros((x.shape[0], problem.classes))
    for i in range(-1, _PARTS):
        rows = np.flatnonzero(part == i)
        seen = (whole if i < 0 else whole - counts[i]) + alpha
        weights = np.log(seen) - np.log(seen.sum(axis=0))
        out[rows] = x[rows] @ (weights - weights.mean(axis=1, keepdims=True))
    return out


def fit_logistic(x: Any, y: Array, train: Array, rest: Array, c: float, rounds: int = 300) -> Array:
    """Fit a logistic regression; returns the probabilities of the rows `rest`."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # no convergence is early stopping; cross-validation tells its worth
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=c, max_iter=rounds).fit(x[train], y[train])
    return np.asarray(model.predict_proba(x[rest]))


def solve_tfidf(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: TF-IDF of words or characters (`analyzer`) with logistic or ridge regression."""
    texts = join_texts(data)
    if run.params.get("analyzer") == "char" or lacks_spaces(texts):
        x = weigh_tf_idf(count_character_ngrams(texts, 2, int(run.params.get("high", 5))))
    else:
        x = weigh_tf_idf(count_word_ngrams(texts, 1, int(run.params.get("high", 2))))

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        if problem.classes:
            return fit_logistic(x, problem.y, train, rest, float(run.params.get("C", 20.0)), 50)
        return fit_ridge(x, problem.y, train, rest)

    return cross_fit(data, learn, run)


def fit_ridge(x: Any, y: Array, train: Array, rest: Array) -> Array:
    """Fit a ridge regression; returns the values of the rows `rest`.

    The penalty is the best one on a quarter of the training rows."""
    from sklearn.linear_model import Ridge

    held, kept = np.split(train, [len(train) // 4])
    errors = {}
    for alpha in (0.1, 0.3, 1.0, 3.0, 10.0):
        model = Ridge(alpha=alpha).fit(x[kept], y[kept])
        errors[alpha] = float(np.mean((model.predict(x[held]) - y[held]) ** 2))
    best = min(errors, key=lambda alpha: errors[alpha])
    return np.asarray(Ridge(alpha=best).fit(x[train], y[train]).predict(x[rest])).reshape(-1, 1)


def solve_embeddings(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: sentence embeddings with a linear model.

    The encoder is all-MiniLM-L6-v2, found like the dense retriever's. Encodes about 100 texts per second and core.
    Raises UserError without the extra `dense`."""
    texts = join_texts(data)
    parts = np.array_split(np.arange(len(texts)), max(1, run.workers))
    x = np.vstack(run_jobs([partial(_encode, [texts[i] for i in part]) for part in parts], run.workers))

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        if problem.classes:
            return fit_logistic(x, problem.y, train, rest, float(run.params.get("C", 5.0)))
        return fit_ridge(x, problem.y, train, rest)

    return cross_fit(data, learn, run)


def _encode(texts: list[str]) -> Array:
    try:
        import sentence_transformers  # noqa: F401
        import torch
    except ImportError as error:
        raise UserError(f"kind 'embeddings' needs the package {error.name}: pip install 'agentkd[dense]'") from None
    from agentkd.pretrained import load_encoder
    from agentkd.retrievers.dense import find_encoder

    torch.set_num_threads(1)
    try:
        model = load_encoder(find_encoder(), device="cpu")
    except Exception as error:  # missing files, no network: each has its own type
        raise WorldError(
            f"cannot load the sentence encoder ({str(error).splitlines()[0][:120]})", retry=False
        ) from None
    found = model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(found, dtype=np.float64) * np.sqrt(np.shape(found)[1])  # unit variance, for the penalty
