"""Matchers: score one question's prediction against its gold answers, and average the scores.

A matcher is a pure function from one question's prediction and gold answers to `Scores`. They differ by up to six
points on the same outputs, so a figure is never printed without its matcher's name. The headline is `strict`.

Units: `Scores` are fractions of one question; `aggregate` gives percent.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeGuard

import numpy as np

from agentkd.errors import UserError, unknown_name
from agentkd.matching import (
    f1_of,
    normalize,
    normalized_key,
    split_prediction,
    strict_key,
    strict_precision_recall,
)

Parse = Mapping[str, Any]  # one entry of WebQSP's "Parses": {"AnnotatorComment": {...}, "Answers": [...], ...}


@dataclass(frozen=True, slots=True)
class Scores:
    """One question's scores, as fractions 0..1 (only `rog` can give a precision and an F1 above 1: see there).

    `hit`: any predicted answer is right; `hits1`: the first one is; `em`: exactly the gold answers, no more, no fewer.
    """

    hit: float
    hits1: float
    precision: float
    recall: float
    f1: float
    em: float


MISSED = Scores(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""For a question that should have an answer and has none. The official WebQSP script counts it as 0 under every
measure, unlike an empty prediction, whose precision it calls 1."""


class PredictionRow(TypedDict):
    """A line of a predictions file in the RoG family's format: one answer per line in `prediction`.

    The other fields are those of a record that `eval` wrote (`records.py`)."""

    id: str
    question: str
    prediction: str
    ground_truth: list[str]
    parses: NotRequired[list[dict[str, Any]]]
    unlisted: NotRequired[int]
    ceiling: NotRequired[dict[str, dict[str, float | None]]]
    proof: NotRequired[dict[str, Any]]


def strict(prediction: str, answers: Sequence[str], parses: Sequence[Parse] = ()) -> Scores:
    """Sets of names must be equal, member by member, by `matching.strict_key`; no substrings. Duplicates count once.

    Without gold answers an empty prediction is right (precision, recall, F1, EM 1) and any other is wrong, as in
    GMT-KBQA's CWQ script; `hit` and `hits1` are 0 either way, as there is nothing to hit.
    """
    return _compare_sets(prediction, answers, strict_key)


def strict_1(prediction: str, answers: Sequence[str], parses: Sequence[Parse] = ()) -> Scores:
    """The earlier `strict`: as there, but names are compared by `matching.normalized_key`, RoG's rule.

    It takes 3.14 for 314, -5 for 5 and C++ for C. It stays for one release, to compare figures with earlier ones.
    """
    return _compare_sets(prediction, answers, normalized_key)


def _compare_sets(prediction: str, answers: Sequence[str], key: Callable[[str], str]) -> Scores:
    lines = [key(line) for line in split_prediction(prediction)]
    predicted, gold = (frozenset(filter(None, names)) for names in (lines, map(key, answers)))
    precision, recall = strict_precision_recall(predicted, gold)
    hits1 = bool(lines) and lines[0] in gold
    f1 = f1_of(precision, recall)
    return Scores(float(bool(predicted & gold)), float(hits1), precision, recall, f1, float(predicted == gold))


def rog(prediction: str, answers: Sequence[str], parses: Sequence[Parse] = ()) -> Scores:
    """The lenient rule of RoG, GNN-RAG and GCR: a gold name is matched if it is a substring of the whole output.

    Source: `evaluate_results.py` of RManLuo/reasoning-on-graphs and cmavro/GNN-RAG (which strips the output and adds
    `hits1`). Kept as there: duplicate lines, blank lines within the output and duplicate gold names all count; a
    name that normalises to "" ("The") matches anything; an empty output is one wrong line. Precision is matched gold
    names over predicted lines, so it, and F1, exceed 1 where one line names several. RoG prints `hit` as "Hits@1",
    and recall as "Accuracy".

    The source has no EM and divides by zero without gold: here `em` means that the matched, the predicted and the
    gold are equally many, and no gold scores 0.
    """
    lines = prediction.strip().split("\n")
    text, first_line = normalize(" ".join(lines)), normalize(lines[0])
    gold = [normalize(name) for name in answers]
    matched = sum(name in text for name in gold)
    precision = matched / len(lines)
    recall = matched / len(gold) if gold else 0.0
    hits1 = any(name in first_line for name in gold)
    exact = matched == len(gold) == len(lines)
    return Scores(float(matched > 0), float(hits1), precision, recall, f1_of(precision, recall), float(exact))


def webqsp_official(prediction: str, answers: Sequence[str], parses: Sequence[Parse] = ()) -> Scores | None:
    """The official WebQSP script (Yih et al., ACL 2016, `eval.py`) in name space: the best F1 over all parses.

    `None` means skipped, not wrong: the question has no parse of QuestionQuality "Good" and ParseQuality "Complete",
    and the script leaves it out of the averages. `answers` is not looked at: the gold is in the parses, all of them
    once one is good. Counting is by lists, as there: two gold entities of one name are two; a wrong answer said
    twice is wrong twice. An empty prediction has P=1 R=0 F1=0; for a parse without answers it has 1, 1, 1 and any
    other has P=0 R=1 F1=0. The average of `f1` is the paper's number, that of `em` (F1 is 1) its "true accuracy".

    Ours: the script compares Freebase ids, and models write names, so a gold answer is its `EntityName`, or its
    `AnswerArgument` (a literal, or the id of an unnamed entity), and two names are compared as in `strict-1`. `hit` and
    `hits1` are not in the script: here any, or the first, predicted answer is in the gold of any parse.
    """
    predicted = [normalized_key(line) for line in split_prediction(prediction)]
    try:
        quality = [(p["AnnotatorComment"]["QuestionQuality"], p["AnnotatorComment"]["ParseQuality"]) for p in parses]
        golds = [[normalized_key(a["EntityName"] or a["AnswerArgument"]) for a in p["Answers"]] for p in parses]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"malformed WebQSP parse ({error!r}): give parses as in the original file (AnnotatorComment, Answers with "
            "EntityName and AnswerArgument), or use another matcher"
        ) from error
    if ("Good", "Complete") not in quality:
        return None
    # The script starts its true positives at 1e-40, so that among parses of F1 0 the first with gold answers wins.
    best = max(golds, key=lambda gold: (_list_prf1(predicted, gold)[2], bool(gold)))
    precision, recall, f1 = _list_prf1(predicted, best)
    union = {name for gold in golds for name in gold}
    hit, hits1 = any(name in union for name in predicted), bool(predicted) and predicted[0] in union
    return Scores(float(hit), float(hits1), precision, recall, f1, float(f1 == 1.0))


def _list_prf1(predicted: Sequence[str], gold: Sequence[str]) -> tuple[float, float, float]:
    """Precision, recall and F1 of two lists as the official WebQSP script counts them."""
    if not gold:
        return (0.0, 1.0, 0.0) if predicted else (1.0, 1.0, 1.0)
    if not predicted:
        return 1.0, 0.0, 0.0
    true_positives = sum(name in predicted for name in gold)
    false_positives = sum(name not in gold for name in predicted)
    precision = true_positives / (true_positives + false_positives) if true_positives else 0.0
    recall = true_positives / len(gold)
    return precision, recall, f1_of(precision, recall)


def tog_em(prediction: str, answers: Sequence[str], parses: Sequence[Parse] = ()) -> Scores:
    """The "exact match" of ToG, PoG and GoG: the output equals, contains or is contained in any gold name.

    Source: `eval/utils.py` of GasolSun36/ToG: both sides lower-case and without spaces; nothing else is removed. It
    is one yes or no per question, published as Hits@1 and as EM, so `hit`, `hits1` and `em` are all that. An output of
    several lines is compared whole, as there; an empty one, which the source calls right, is wrong (as in its ports).

    Ours, for the table: recall is the share of gold names that the output matches, precision the share of its lines
    that match a gold name. Published figures add aliases to the gold; pass them in `answers` where they are known.
    """
    response, lines = _squeeze(prediction), [_squeeze(line) for line in split_prediction(prediction)]
    gold = [_squeeze(name) for name in answers if name.strip()]
    recall = sum(_overlap(response, name) for name in gold) / len(gold) if gold else 0.0
    precision = sum(any(_overlap(line, name) for name in gold) for line in lines) / len(lines) if lines else 0.0
    hit = float(recall > 0)
    return Scores(hit, hit, precision, recall, f1_of(precision, recall), hit)


def _squeeze(text: str) -> str:
    return text.strip().replace(" ", "").lower()


def _overlap(first: str, second: str) -> bool:
    return bool(first and second) and (first in second or second in first)


Matcher = Callable[[str, Sequence[str], Sequence[Parse]], Scores | None]

MATCHERS: dict[str, Matcher] = {
    "strict": strict,
    "strict-1": strict_1,
    "rog": rog,
    "webqsp_official": webqsp_official,
    "tog_em": tog_em,
}


def aggregate(scores: Iterable[Scores]) -> dict[str, float]:
    """Return the mean of each score over the questions (macro average), in percent."""
    table = np.array([astuple(one) for one in scores], dtype=np.float64)
    if not table.size:
        raise UserError("no scores to average (0 questions): give at least one answered question")
    return {field.name: float(mean) for field, mean in zip(fields(Scores), 100 * table.mean(axis=0), strict=True)}


def score_predictions(
    rows: Iterable[PredictionRow], matcher: str, parses: Mapping[str, Sequence[Parse]] | None = None
) -> dict[str, Scores]:
    """Return scores by question id, in the order of the rows, without the questions that the matcher skips.

    `parses` (the WebQSP parses by question id) is for `webqsp_official` alone. Which questions it skips depends on the
    gold only, so the results of two systems on the same questions can be paired.
    """
    if matcher not in MATCHERS:
        raise unknown_name("matcher", matcher, MATCHERS)
    scores: dict[str, Scores | None] = {}
    for row in rows:
        if row["id"] in scores:
            raise UserError(f"two predictions for question {row['id']!r}: keep one a question")
        parses_of_row = (parses or {}).get(row["id"], ())
        scores[row["id"]] = MATCHERS[matcher](row["prediction"], row["ground_truth"], parses_of_row)
    if scores and all(one is None for one in scores.values()):
        raise UserError(f"{matcher} skips all {len(scores)} questions: none has a good, complete parse; use strict")
    return {name: one for name, one in scores.items() if one is not None}


def read_predictions(path: str | Path) -> list[PredictionRow]:
    """Read a JSONL file of `{id, question, prediction, ground_truth}`; blank lines and other keys are ignored.

    A `prediction` may also be a list, for instance of several samples: its distinct answers, the most frequent first
    (ties in order), one per line, as in RoG's `extract_topk_prediction`. Raises UserError with file and line.
    """
    rows: list[PredictionRow] = []
    line_of_id: dict[str, int] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"cannot read predictions {str(path)!r} ({reason}): give a readable JSONL file") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _parse_row(line, f"{path}:{number}")
        if (first := line_of_id.setdefault(row["id"], number)) != number:
            raise UserError(f"{path}:{number}: question {row['id']!r} stands in line {first} too: keep one of them")
        rows.append(row)
    if not rows:
        raise UserError(f"no predictions in {str(path)!r} (0 rows): write one JSON object a line")
    return rows


def _parse_row(line: str, where: str) -> PredictionRow:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}): {line[:60]!r}; write one JSON object a line") from error
    if not isinstance(raw, dict):
        raise UserError(f"{where}: {line[:60]!r} is no JSON object: write {{id, question, prediction, ground_truth}}")
    prediction = raw.get("prediction")
    if _is_names(prediction):
        prediction = "\n".join(name for name, _ in Counter(prediction).most_common())
    checks = {
        "id": ("a string or a whole number", type(raw.get("id")) in (str, int)),
        "question": ("a string", isinstance(raw.get("question"), str)),
        "prediction": ('a string ("" for no answer) or a list of strings', isinstance(prediction, str)),
        "ground_truth": ("a list of strings", _is_names(raw.get("ground_truth"))),
    }
    for key, (wanted, fine) in checks.items():
        if not fine:
            found = f"{key!r} is {str(raw[key])[:60]!r}" if key in raw else f"{key!r} is missing"
            raise UserError(f"{where}: {found}: it must be {wanted}")
    gold: list[str] = raw["ground_truth"]
    row = PredictionRow(id=str(raw["id"]), question=raw["question"], prediction=str(prediction), ground_truth=gold)
    if "scores" in raw and "ceiling" in raw:  # a record of ours; another program's fields may mean something else
        _take_record(raw, row, where)
    return row


def _take_record(raw: dict[str, Any], row: PredictionRow, where: str) -> None:
    """Add the further fields of a record to its row."""
    try:
        row["ceiling"] = {
            str(name): {key: one[key] for key in ("shown", "wide")} for name, one in raw["ceiling"].items()
        }
        numbers = [value for one in row["ceiling"].values() for value in one.values() if value is not None]
        if "parses" in raw:
            row["parses"] = [dict(parse) for parse in raw["parses"]]
        if "unlisted" in raw:
            row["unlisted"] = int(raw["unlisted"])
        if "proof" in raw:
            row["proof"] = dict(raw["proof"])
            numbers.append(row["proof"]["held"])
        if not all(0 <= value <= 10 for value in numbers):  # `rog` gives an F1 above 1
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{where}: not as eval wrote it (parses, unlisted, ceiling or proof); run eval again") from None


def _is_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
