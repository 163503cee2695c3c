"""The matchers against hand-computed examples, their laws, the golden figures, and the files of predictions."""

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkd.errors import UserError
from agentkd.eval.metrics import (
    MATCHERS,
    MISSED,
    PredictionRow,
    Scores,
    aggregate,
    read_predictions,
    rog,
    score_predictions,
    strict,
    tog_em,
    webqsp_official,
)
from tests.support.paths import KBQA_DATA

GOLDEN = KBQA_DATA / "golden"
GOLDEN_NAMES = {"acc": "recall", "r": "recall", "p": "precision", "h1": "hits1", "hit1": "hits1"}


def parse(*names: str | None, question: str = "Good", quality: str = "Complete") -> dict[str, Any]:
    """A WebQSP parse with these answers; `None` is an entity without a name, whose id is m.0x."""
    answers = [{"AnswerType": "Entity", "AnswerArgument": "m.0x", "EntityName": name} for name in names]
    return {"AnnotatorComment": {"QuestionQuality": question, "ParseQuality": quality}, "Answers": answers}


def check(scores: Scores | None, *wanted: float) -> None:
    assert scores is not None
    assert astuple(scores) == pytest.approx(wanted)


# --- hand-computed examples: (hit, hits1, precision, recall, f1, em)


@pytest.mark.parametrize(
    ("prediction", "answers", "wanted"),
    [
        ("Paris\nRome", ["paris", "Oslo", "Bonn", "Bern"], (1, 1, 1 / 2, 1 / 4, 1 / 3, 0)),
        ("Rome\nParis", ["paris"], (1, 0, 1 / 2, 1, 2 / 3, 0)),
        ("the Paris!\n\nOslo\nOSLO", ["Oslo", "Paris", "paris"], (1, 1, 1, 1, 1, 1)),  # duplicates count once
        ("Paris, France", ["Paris"], (0, 0, 0, 0, 0, 0)),  # no substrings
        ("", ["Paris"], (0, 0, 0, 0, 0, 0)),
        ("Paris", [], (0, 0, 0, 0, 0, 0)),
        (" \n", [], (0, 0, 1, 1, 1, 1)),
        ("$", ["!!!"], (0, 0, 0, 0, 0, 0)),
        ("$", ["$"], (1, 1, 1, 1, 1, 1)),
    ],
)
def test_strict(prediction: str, answers: list[str], wanted: tuple[float, ...]) -> None:
    check(strict(prediction, answers), *wanted)


@pytest.mark.parametrize(
    ("prediction", "answer", "strict_hit", "earlier_hit"),
    [
        ("C++", "C", 0, 1),
        ("3.14", "314", 0, 1),
        ("-5", "5", 0, 1),
        ("Vitamin A", "Vitamin", 0, 1),
        ("1979", "1979.0", 1, 0),
        ("Sa\u0303o Paulo", "São Paulo", 1, 0),
        ("the Beatles", "Beatles", 1, 1),
    ],
)
def test_what_strict_decides_otherwise_than_before(
    prediction: str, answer: str, strict_hit: int, earlier_hit: int
) -> None:
    both = MATCHERS["strict"](prediction, [answer], ()), MATCHERS["strict-1"](prediction, [answer], ())
    assert [scores and scores.hit for scores in both] == [strict_hit, earlier_hit]
    # the official script's names are compared as they were
    assert webqsp_official(prediction, [], [parse(answer)]).hit == earlier_hit  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prediction", "answers", "wanted"),
    [
        ("It is Paris, France", ["Paris", "Oslo"], (1, 1, 1, 1 / 2, 2 / 3, 0)),
        ("Rome\nOslo\nBern", ["Oslo", "Bern"], (1, 0, 2 / 3, 1, 4 / 5, 0)),
        ("Oslo and Bern", ["Oslo", "Bern"], (1, 1, 2, 1, 4 / 3, 0)),  # precision above 1, as in the source
        ("1923", ["2"], (1, 1, 1, 1, 1, 1)),
        ("New\nYork", ["New York"], (1, 0, 1 / 2, 1, 2 / 3, 0)),  # the lines are joined before they are searched
        ("Oslo\nOslo", ["Oslo"], (1, 1, 1 / 2, 1, 2 / 3, 0)),  # duplicate lines count
        ("Oslo", ["Oslo", "oslo", "Bern"], (1, 1, 2, 2 / 3, 1, 0)),  # so do duplicate gold names
        ("\nRome\n\nOslo\n", ["Oslo"], (1, 0, 1 / 3, 1, 1 / 2, 0)),  # and blank lines, but not at the ends
        ("Oslo\nBern", ["bern", "oslo"], (1, 1, 1, 1, 1, 1)),
        ("Rome", ["The"], (1, 1, 1, 1, 1, 1)),  # "" is in everything
        ("", ["Oslo"], (0, 0, 0, 0, 0, 0)),
        ("", [], (0, 0, 0, 0, 0, 0)),
    ],
)
def test_rog(prediction: str, answers: list[str], wanted: tuple[float, ...]) -> None:
    check(rog(prediction, answers), *wanted)


@pytest.mark.parametrize(
    ("prediction", "answers", "wanted"),
    [
        ("york", ["New York"], (1, 1, 1, 1, 1, 1)),  # contained in a gold name
        ("The city of New York.", ["newyork", "Oslo"], (1, 1, 1, 1 / 2, 2 / 3, 1)),  # contains one
        ("New-York", ["New York"], (0, 0, 0, 0, 0, 0)),  # punctuation stays
        ("Rome\nOslo", ["Oslo"], (1, 1, 1 / 2, 1, 2 / 3, 1)),
        ("USA\nAmerica", ["United States of America"], (0, 0, 1 / 2, 0, 0, 0)),  # compared whole
        ("", ["Oslo"], (0, 0, 0, 0, 0, 0)),
        ("Oslo", ["", " "], (0, 0, 0, 0, 0, 0)),
        ("Oslo", [], (0, 0, 0, 0, 0, 0)),
    ],
)
def test_tog_em(prediction: str, answers: list[str], wanted: tuple[float, ...]) -> None:
    check(tog_em(prediction, answers), *wanted)


@pytest.mark.parametrize(
    ("prediction", "parses", "wanted"),
    [
        ("paris", [parse("Paris", "Oslo")], (1, 1, 1, 1 / 2, 2 / 3, 0)),
        ("paris", [parse("Paris", "Oslo"), parse("Paris")], (1, 1, 1, 1, 1, 1)),  # the best parse counts
        ("paris", [parse("Oslo"), parse("Paris", quality="Partial")], (1, 1, 1, 1, 1, 1)),  # even a bad one
        ("Oslo\nParis\nRome", [parse("Rome", "Bern", "Bonn"), parse("Oslo")], (1, 1, 1 / 3, 1, 1 / 2, 0)),
        ("Rome\nParis", [parse("Paris", "Bern"), parse("Oslo")], (1, 0, 1 / 2, 1 / 2, 1 / 2, 0)),
        ("Rome\nOslo\nBern", [parse("Rome"), parse("Oslo", "Bern")], (1, 1, 2 / 3, 1, 4 / 5, 0)),  # hits1: any parse
        ("Rome\nRome\nOslo", [parse("Oslo")], (1, 0, 1 / 3, 1, 1 / 2, 0)),  # a wrong answer twice is wrong twice
        ("Oslo\nOslo", [parse("Oslo")], (1, 1, 1, 1, 1, 1)),  # a right one twice is not
        ("Oslo\nRome", [parse("Oslo", "Oslo")], (1, 1, 2 / 3, 1, 4 / 5, 0)),  # two gold entities of one name are two
        ("M.0X", [parse(None)], (1, 1, 1, 1, 1, 1)),  # an unnamed entity is known by its id
        ("", [parse("Oslo")], (0, 0, 1, 0, 0, 0)),
        ("", [parse("Oslo"), parse()], (0, 0, 1, 1, 1, 1)),
        ("Oslo", [parse()], (0, 0, 0, 1, 0, 0)),
        ("Rome", [parse(), parse("Oslo")], (0, 0, 0, 0, 0, 0)),  # at F1 0, a parse with answers comes first
    ],
)
def test_webqsp_official(prediction: str, parses: list[dict[str, Any]], wanted: tuple[float, ...]) -> None:
    check(webqsp_official(prediction, ["ignored"], parses), *wanted)


@pytest.mark.parametrize(
    "parses", [[], [parse("Oslo", question="Bad")], [parse("Oslo", quality="Partial"), parse("Oslo", question="Bad")]]
)
def test_webqsp_official_skips_questions_without_a_good_parse(parses: list[dict[str, Any]]) -> None:
    assert webqsp_official("Oslo", ["Oslo"], parses) is None


@pytest.mark.parametrize("bad", [{}, {"AnnotatorComment": None, "Answers": []}, {**parse(), "Answers": [{}]}])
def test_a_malformed_parse_is_the_users_error(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="malformed WebQSP parse"):
        webqsp_official("Oslo", [], [bad])


# --- laws

NAMES = st.lists(st.text(alphabet="abAB é.$", max_size=3), max_size=5)


def names_as_parses(answers: list[str]) -> list[dict[str, Any]]:
    return [parse(*answers), parse(*answers[:1])]


@pytest.mark.parametrize("name", MATCHERS)
@given(predicted=NAMES, answers=NAMES, data=st.data())
def test_order_does_not_matter_but_for_the_first_line(
    name: str, predicted: list[str], answers: list[str], data: st.DataObject
) -> None:
    def scores(lines: list[str], gold: list[str]) -> tuple[float, ...]:
        one = MATCHERS[name]("\n".join(lines), gold, [parse(*gold), parse(*gold, "c")])
        assert one is not None
        return one.hit, one.precision, one.recall, one.f1, one.em

    mixed_answers = data.draw(st.permutations(answers))
    assert scores(predicted, mixed_answers) == pytest.approx(scores(predicted, answers))
    if name in ("strict", "webqsp_official"):  # rog and tog_em search the joined text, where order can make a name
        mixed_lines = data.draw(st.permutations(predicted))
        assert scores(mixed_lines, answers) == pytest.approx(scores(predicted, answers))


@given(NAMES, NAMES)
def test_strict_f1_is_symmetric(first: list[str], second: list[str]) -> None:
    there, back = strict("\n".join(first), second), strict("\n".join(second), first)
    assert there.f1 == pytest.approx(back.f1)
    assert (there.precision, there.recall) == pytest.approx((back.recall, back.precision))
    assert (there.hit, there.em) == (back.hit, back.em)


@pytest.mark.parametrize("name", MATCHERS)
@given(predicted=NAMES, answers=NAMES)
def test_bounds(name: str, predicted: list[str], answers: list[str]) -> None:
    scores = MATCHERS[name]("\n".join(predicted), answers, names_as_parses(answers))
    assert scores is not None
    assert all(value >= 0 for value in astuple(scores))
    assert {scores.hit, scores.hits1, scores.em} <= {0.0, 1.0}
    assert scores.hits1 <= scores.hit and scores.recall <= 1
    if name == "rog":
        assert scores.precision <= max(1, len(answers))
    else:
        assert scores.precision <= 1
        assert min(scores.precision, scores.recall) - 1e-9 <= scores.f1 <= max(scores.precision, scores.recall) + 1e-9


@pytest.mark.parametrize("name", ["strict", "rog", "webqsp_official"])
@given(predicted=NAMES, answers=NAMES, more=st.text(alphabet="abAB é.$", max_size=3))
def test_another_line_never_loses_a_hit(name: str, predicted: list[str], answers: list[str], more: str) -> None:
    def hit(lines: list[str]) -> float:
        scores = MATCHERS[name]("\n".join(lines), answers, names_as_parses(answers))
        assert scores is not None
        return scores.hit

    assert hit([*predicted, more]) >= hit(predicted)


@given(NAMES, NAMES)
def test_strict_hit_implies_rog_hit(predicted: list[str], answers: list[str]) -> None:
    answers = [name for name in answers if any(c.isalpha() for c in name)]  # others have no normal form to search for
    prediction = "\n".join(predicted)
    assert strict(prediction, answers).hit <= rog(prediction, answers).hit


# --- golden figures


@pytest.mark.parametrize("matcher", ["strict", "strict-1", "rog"])
@pytest.mark.parametrize("system", ["lmsr", "sbert"])
def test_golden(system: str, matcher: str) -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"no evaluation data at {GOLDEN}: set AGENTKD_DATA")
    wanted = json.loads((GOLDEN / "golden_metrics.json").read_text(encoding="utf-8"))[system]
    rows = read_predictions(GOLDEN / f"webqsp_dev.gnnrag-{system}.predictions.jsonl")
    assert len(rows) == wanted["n"]
    means = aggregate(score_predictions(rows, matcher).values())
    golden = wanted[matcher.removesuffix("-1")]
    assert golden == {key: round(means[GOLDEN_NAMES.get(key, key)], 4) for key in golden}


# --- averages


def test_aggregate_is_the_mean_in_percent() -> None:
    means = aggregate([Scores(1, 0, 0.5, 0.25, 1 / 3, 0), MISSED])
    assert means == pytest.approx({"hit": 50, "hits1": 0, "precision": 25, "recall": 12.5, "f1": 50 / 3, "em": 0})
    assert list(means) == ["hit", "hits1", "precision", "recall", "f1", "em"]
    with pytest.raises(UserError, match="0 questions"):
        aggregate([])


# --- rows and files


def row(name: str, prediction: str, *answers: str) -> PredictionRow:
    return PredictionRow(id=name, question="?", prediction=prediction, ground_truth=list(answers))


def test_score_predictions_leaves_out_what_the_matcher_skips() -> None:
    rows = [row("a", "Oslo", "Oslo"), row("b", "Rome", "Oslo"), row("c", "Oslo", "Oslo")]
    assert [one.hit for one in score_predictions(rows, "strict").values()] == [1, 0, 1]
    parses = {"a": [parse("Oslo", quality="Partial")], "b": [parse("Rome")]}
    official = score_predictions(rows, "webqsp_official", parses)
    assert {name: one.em for name, one in official.items()} == {"b": 1.0}
    assert score_predictions([], "webqsp_official") == {}
    with pytest.raises(UserError, match="skips all 3 questions"):
        score_predictions(rows, "webqsp_official")
    with pytest.raises(UserError, match="unknown matcher 'exact'; choose one of: strict, strict-1, rog"):
        score_predictions(rows, "exact")
    with pytest.raises(UserError, match="two predictions for question 'a'"):
        score_predictions([rows[0], rows[0]], "strict")


def test_read_predictions(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    lines = [
        {"id": 7, "question": "q", "prediction": "Zürich\nOslo", "ground_truth": [], "extra": 1},
        {"id": "b", "question": "q", "prediction": ["Rome", "Oslo", "Oslo"], "ground_truth": ["Oslo"]},
    ]
    text = "\ufeff" + "\r\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text(text, encoding="utf-8")
    assert read_predictions(path) == [
        {"id": "7", "question": "q", "prediction": "Zürich\nOslo", "ground_truth": []},
        {"id": "b", "question": "q", "prediction": "Oslo\nRome", "ground_truth": ["Oslo"]},
    ]


GOOD = '{"id": "a", "question": "q", "prediction": "p", "ground_truth": ["g"]}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 rows"),
        (b"\n \n", "0 rows"),
        (GOOD.encode() + b'{"id": "b", ', r"jsonl:2: not JSON"),
        (b'["a"]', r"jsonl:1: .*no JSON object"),
        (b"\n" + GOOD.replace('"id"', '"qid"').encode(), r"jsonl:2: 'id' is missing"),
        (GOOD.replace('"q"', "1").encode(), r"jsonl:1: 'question' is '1'"),
        (GOOD.replace('"p"', "null").encode(), r"jsonl:1: 'prediction' is 'None': it must be a string"),
        (GOOD.replace('["g"]', '"g"').encode(), r"jsonl:1: 'ground_truth' is 'g': it must be a list"),
        (GOOD.replace('["g"]', "[1923]").encode(), r"jsonl:1: 'ground_truth' is"),
        ((GOOD + GOOD).encode(), r"jsonl:2: question 'a' stands in line 1 too"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_bad_predictions_file_is_one_line_with_the_place(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "p.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_predictions(path)
    assert "\n" not in str(caught.value)
