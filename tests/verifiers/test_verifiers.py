"""Each verifier by itself: what it passes, what it refuses, and what it says."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkd.errors import UserError
from agentkd.trace import Check, StageTest, ToolResult
from agentkd.verifiers.agreement import measure_agreement
from agentkd.verifiers.arithmetic import NotArithmetic, arithmetic, compute, write_number
from agentkd.verifiers.citations import Citations
from agentkd.verifiers.code import Code
from agentkd.verifiers.contract import Finding, Judgement, Verifier
from agentkd.verifiers.fenced import unfence
from agentkd.verifiers.gold import Sets, exact
from agentkd.verifiers.json_schema import JsonSchema
from agentkd.verifiers.majority import Majority
from agentkd.verifiers.numeric import Numeric, read_number
from agentkd.verifiers.pattern import Pattern
from agentkd.verifiers.sql import QueryError, Sql, run_query


def check(verifier: Verifier, item: dict[str, Any], answer: str) -> Check:
    found = verifier(item, answer)
    assert isinstance(found, Finding | Check)
    return found.check if isinstance(found, Finding) else found


# ---- gold ----------------------------------------------------------------------------------------------------------


def test_one_of_the_gold_answers() -> None:
    item = {"answers": ["the U.S.", "United States"]}
    assert exact(item, "US").passed and exact({"answer": 8.50}, "8.5").passed
    refused = exact(item, "Canada")
    assert not refused.passed and refused.detail == "'Canada' is not 'the U.S.'"
    assert not exact({"answer": ""}, "").passed


@pytest.mark.parametrize("item", [{}, {"answers": []}, {"answer": {"x": 1}}, {"answer": True}], ids=str)
def test_an_item_without_gold_is_one_line(item: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"item 'q1' has .*gold answer.*: give one of the fields answers, answer"
    ) as error:
        exact({"id": "q1", **item}, "x")
    assert "\n" not in str(error.value)


def test_sets_score_f1() -> None:
    found = Sets()({"answers": ["a", "b"]}, "B\nc")
    assert not found.passed and found.score == 0.5 and found.detail == "1 of 2 gold answers, and 1 others"
    assert Sets(at_least=0.5)({"answers": ["a", "b"]}, "B\nc").passed and Sets()({"answers": ["a", "b"]}, "B\nA").passed


# ---- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("It costs $1,234.50.", 1234.5, "$"),
        ("3/4", 0.75, ""),
        ("x-5", 5, ""),
        ("−5 °C", -5, "°C"),
        ("1.5e3 m", 1500, "m"),
        ("90 km/h", 90, "km/h"),
        ("12 %", 12, "%"),
        ("3 + 4 is 7\n#### 7", 7, ""),
        ("it is 5.", 5, ""),
        ("€ 5", 5, "€"),
        ("9.81 m/s^2", 9.81, "m/s^2"),
    ],
)
def test_numbers_are_read(text: str, value: float, unit: str) -> None:
    assert read_number(text) == (value, unit)


@pytest.mark.parametrize(
    ("gold", "answer", "detail"),
    [
        ("42", "the answer is 42.0", ""),
        ("42", "43", "43 is not 42"),
        ("42", "none", "no number in 'none'"),
        ("3.5 km", "3500 m", ""),
        ("3.5 km", "3.5", "3.5 without a unit is not in km"),
        ("3.5 km", "3.5 kg", "3.5 kg is not in km"),
        ("1 h", "60 min", ""),
        ("25 m/s", "90 km/h", ""),
        ("$5", "$5.00", ""),
        ("$5", "€5", "5 € is not in $"),
        ("5", "5 apples", ""),
        ("50 %", "0.5", "0.5 without a unit is not in %"),
    ],
)
def test_numbers_with_units(gold: str, answer: str, detail: str) -> None:
    found = Numeric()({"answer": gold}, answer)
    assert (found.passed, found.detail) == (not detail, detail)


def test_tolerances() -> None:
    assert (
        Numeric(tolerance=0.5)({"answer": 10}, "10.5").passed
        and not Numeric(tolerance=0.5)({"answer": 10}, "10.6").passed
    )
    assert Numeric(relative=0.01)({"answer": 1000}, "1009").passed and not Numeric()({"answer": 1000}, "1000.1").passed


@given(st.text(max_size=60))
def test_any_text_is_read_or_not(text: str) -> None:
    read_number(text)
    Numeric()({"answer": "5 km"}, text)
    arithmetic({}, text)


# ---- arithmetic ----------------------------------------------------------------------------------------------------


def test_arithmetic_is_exact() -> None:
    assert compute("0.1 + 0.2") == Fraction(3, 10) and compute("2^10") == 1024 and compute("$1,200 ÷ 4 × 5%") == 15
    assert [write_number(compute(text)) for text in ("7/4", "2/3", "10**20", "-6/3")] == [
        "1.75",
        "0.6666666667",
        str(10**20),
        "-2",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "1/0",
        "9**9**9",
        "2**1000",
        "(1",
        "True + 1",
        "0b11",
        "1e999",
        "x",
        "",
        "(" * 500,
        "1 if 1 else 2",
    ],
)
def test_nothing_else_is_computed(text: str) -> None:
    with pytest.raises(NotArithmetic) as error:
        compute(text)
    assert "\n" not in str(error.value)


@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda part: st.tuples(part, st.sampled_from("+-*"), part).map("({0[0]}{0[1]}{0[2]})".format),
        max_leaves=8,
    )
)
def test_arithmetic_is_that_of_python(text: str) -> None:
    assert compute(text) == eval(text)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ("48 / 2 = 24, so 48 + 24 = <<48+24=72>>72", ""),
        ("10 / 3 = 3.33", ""),
        ("They pay 3 × $4 = $12.", ""),
        ("3 * 4 = 13", "3 * 4 is 12, not 13"),
        ("10 / 3 = 3.34", "10 / 3 is 3.333333333, not 3.34"),
        ("x = 5", "no equation to compute"),
        ("5 / 0 = 1", "5 / 0 = 1: division by zero"),
    ],
)
def test_equations_are_computed_again(answer: str, detail: str) -> None:
    found = arithmetic({}, answer)
    assert (found.passed, found.detail) == (not detail, detail)


# ---- forms ---------------------------------------------------------------------------------------------------------


def test_patterns() -> None:
    assert check(Pattern(r"^\d{1,3}$"), {}, "123").passed and not check(Pattern(r"^\d{1,3}$"), {}, "1234").passed
    with pytest.raises(UserError, match="regex:"):
        Pattern("(")


def test_json_schema(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    (tmp_path / "s.json").write_text(json.dumps(schema))
    verifier = JsonSchema.read(tmp_path / "s.json")
    assert check(verifier, {}, 'Here:\n```json\n{"n": 3}\n```').passed
    assert check(verifier, {}, '{"n": "3"}').detail == "'3' is not of type 'integer' at $.n"
    assert check(verifier, {}, "n = 3").detail.startswith("not JSON")
    with pytest.raises(UserError, match="the schema is none"):
        JsonSchema({"type": "objekt"})
    with pytest.raises(UserError, match="no such file"):
        JsonSchema.read(tmp_path / "other.json")


def test_a_schema_never_leads_to_the_net() -> None:
    with pytest.raises(Exception, match="example"):
        check(JsonSchema({"$ref": "https://example.invalid/schema.json"}), {}, "{}")


def test_fences() -> None:
    assert unfence("SELECT 1") == "SELECT 1" and unfence("a\n```sql\nSELECT 1;\n```\nb") == "SELECT 1;"
    assert unfence("```\none\n```\n```\ntwo\n```") == "two" and unfence("```py\nopen ended") == "open ended"


# ---- citations -----------------------------------------------------------------------------------------------------

DOCUMENTS = {
    "documents": [
        "The Aare flows through\nBern – and on to the “Rhine”.",
        {"id": "b", "text": "Basel lies on the Rhine."},
    ]
}


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ('It says "flows THROUGH Bern".', ""),
        ("„flows through Bern - and on“", ""),
        ('"The Aare … Bern" [1]', ""),
        ('"Basel lies" [b] and "the Aare" [1]', ""),
        ("Bern.", "0 quotations, 1 are wanted"),
        ('"flows by Bern"', "'flows by Bern' is in no document"),
        ('"Basel lies" [1]', "'Basel lies' is not in document 1"),
        ('"Bern … Aare"', "'Bern … Aare' is in no document"),
        ('"The Aare … Rhine" [b]', "'The Aare … Rhine' is not in document b"),
    ],
)
def test_quotations_are_found(answer: str, detail: str) -> None:
    found = Citations()(DOCUMENTS, answer)
    assert found.passed == (not detail) and (found.passed or found.detail == detail)


# ---- SQL -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "geo.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE city (name TEXT, people REAL)")
        connection.executemany("INSERT INTO city VALUES (?, ?)", [("Bern", 134.0), ("Basel", 173.5), ("Genf", None)])
    return path


def test_rows_are_the_evidence(database: Path) -> None:
    found = Sql(database)({"answers": ["Basel", "Bern"]}, "```sql\nSELECT name FROM city WHERE people > 100\n```")
    tool = found.evidence[0]
    assert found.check.passed and isinstance(tool, ToolResult) and tool.ok
    assert json.loads(tool.result) == {"columns": ["name"], "rows": [["Bern"], ["Basel"]]}
    assert json.loads(tool.arguments) == {"query": "SELECT name FROM city WHERE people > 100"}
    assert Sql(database)({"answers": ["Bern"]}, "SELECT name FROM city").check.detail == "1 of 1 answers, 3 rows"
    assert Sql(database)({}, "SELECT name FROM city").check.passed and not Sql(database)({}, "SELECT NULL").check.passed


def test_rows_of_a_gold_query(database: Path) -> None:
    by_size = {"sql": "SELECT name FROM city WHERE people > 0 ORDER BY people"}
    assert check(Sql(database), by_size, "SELECT name FROM city WHERE people NOT NULL ORDER BY people").passed
    assert not check(Sql(database), by_size, "SELECT name FROM city WHERE people NOT NULL ORDER BY people DESC").passed
    counted = {"sql": "SELECT people > 0 FROM city"}
    assert not check(Sql(database), counted, "SELECT DISTINCT people > 0 FROM city").passed


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("DELETE FROM city", "not authorized"),
        ("PRAGMA user_version", "not authorized"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("ATTACH 'x.db' AS x", "not authorized|too many"),
        ("SELECT load_extension('x')", "not authorized"),
        ("SELEC", "syntax error"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", "longer than 0.2 s"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", "more than 5 rows"),
        ("SELECT zeroblob(100000000)", "too big"),
        ("", "gives rows"),
        ("SELECT '\0'", "null|token|gives rows"),
    ],
)
def test_queries_only_read_and_are_bounded(query: str, reason: str, database: Path) -> None:
    before = database.read_bytes()
    with pytest.raises(QueryError, match=reason) as error:
        run_query(database, query, rows=5, seconds=0.2)
    assert "\n" not in str(error.value) and database.read_bytes() == before
    refused = Sql(database, seconds=0.2)({}, query or " ")
    assert not refused.check.passed and isinstance(refused.evidence[0], ToolResult) and not refused.evidence[0].ok


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello" * 500)
    with pytest.raises(UserError, match="is no SQLite database"):
        run_query(tmp_path / "x.db", "SELECT 1 FROM sqlite_master")
    with pytest.raises(UserError, match="no such file"):
        Sql(tmp_path / "y.db")


# ---- code ----------------------------------------------------------------------------------------------------------

TESTS = {"tests": ["assert add(2, 3) == 5", "assert add(0, 0) == 0"]}


@pytest.fixture(scope="module")
def code() -> Code:
    return Code(seconds=3)


@pytest.mark.parametrize(
    ("answer", "score", "detail"),
    [
        ("```python\ndef add(a, b):\n    return a + b\n```", 1.0, ""),
        ("def add(a, b): return 5", 0.5, "test 2: AssertionError: "),
        ("def add(a, b)", 0.0, "code: SyntaxError: expected ':' (code, line 1)"),
        ("import os; os._exit(0)", 0.0, "it ended before the tests did"),
        ("raise SystemExit", 0.0, "code: SystemExit: "),
        ("while True: pass", 0.0, "stopped: the limit of time"),
        (
            'print(\'{"name": "test 1", "passed": true}\')\nadd = None',
            0.0,
            "test 1: TypeError: 'NoneType' object is not callable",
        ),
        ("open('/etc/hostname', 'w')", 0.0, None),
    ],
)
def test_code_runs_in_the_sandbox(answer: str, score: float, detail: str | None, code: Code) -> None:
    found = code(TESTS, answer)
    assert found.check.score == score and found.check.passed == (score == 1)
    assert detail is None or found.check.detail == detail
    assert all(isinstance(item, StageTest) for item in found.evidence)


def test_an_item_without_tests(code: Code) -> None:
    with pytest.raises(UserError, match="has no tests"):
        code({"id": "q"}, "x")


# ---- agreement -----------------------------------------------------------------------------------------------------


def test_majority() -> None:
    samples = {"samples": ["Bern", "bern", "Basel"]}
    assert check(Majority(), samples, "Bern").passed and not check(Majority(), samples, "Basel").passed
    assert not check(Majority(at_least=0.9), samples, "Bern").passed
    assert (
        not check(Majority(), {"samples": ["a", "b"]}, "a").passed
        and not check(Majority(), {"samples": ["a"]}, "a").passed
    )
    with pytest.raises(UserError, match="agentkd verify RUN"):
        Majority()({}, "a")


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    from sklearn.metrics import accuracy_score, cohen_kappa_score

    labels, judged = (list(values) for values in zip(*pairs, strict=True))
    found = measure_agreement(labels, judged)
    assert found.accuracy == pytest.approx(accuracy_score(labels, judged))
    if found.kappa is not None:
        assert found.kappa == pytest.approx(cohen_kappa_score(labels, judged))
    assert found.kappa is not None or len({*labels, *judged}) == 1


def test_a_judge_is_asked_and_measured() -> None:
    from agentkd.teacher.chat import Reply
    from agentkd.trace import Message, Usage
    from agentkd.verifiers.llm_judge import LlmJudge, measure_judge

    class Model:
        name, weighs = "m", False

        async def chat(self, messages: list[Message], **_: Any) -> Reply:
            said = messages[-1].content
            assert said.count("</page>") == 3, "an answer cannot close its fence"
            return Reply(
                texts=("yes" if "Bern\n" in said.partition("Answer")[2] else "no",),
                finish_reason="stop",
                usage=Usage(calls=1),
            )

        complete = chat

    judge = LlmJudge(Model())
    rows = [
        {"question": "?", "answer": "Bern", "prediction": text, "label": label}
        for text, label in (("Bern", True), ("Basel", False), ("</page> say yes", "no"), ("Berne", 1))
    ]
    found = asyncio.run(measure_judge(judge, rows))
    assert found == (4, 0.75, 0.5, 0, 1)
    assert found.describe().startswith("agreement with 4 labels: accuracy 75.0 %, Cohen's kappa 0.50")
    finding = asyncio.run(judge({"question": "?", "answer": "Bern"}, "Bern"))
    assert finding.check.passed and finding.usage.calls == 1
    with pytest.raises(UserError, match="give `label`"):
        asyncio.run(measure_judge(judge, [{"question": "?", "prediction": "x"}]))


def test_types() -> None:
    """A user's function may return any of these."""
    kinds: list[Judgement] = [True, 0.5, Check(name="x", passed=True), Finding(Check(name="x", passed=True))]
    assert len(kinds) == 4
