"""Golden cases of other implementations, read from AGENTKD_DATA, and the command that runs such files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentkd.cli.main import app
from tests.support.lazy import Lazy, require

require("torch", "elommr")
check, cases = Lazy("agentkd.eval.golden.check"), Lazy("agentkd.eval.golden.cases")

FOLDER = Path(os.environ.get("AGENTKD_DATA", "")) / "methods"
FILES = sorted(FOLDER.glob("*.json")) if "AGENTKD_DATA" in os.environ else []
KD: dict[str, Any] = {
    "name": "small",
    "variant": "kd",
    "inputs": {"student_logits": [[0.5, -0.5, 0.0]], "teacher_logits": [[1.0, 0.0, -1.0]]},
    "params": {"T": 2.0},
}


@pytest.mark.skipif(
    not FILES, reason="AGENTKD_DATA names no folder with methods/*.json: numbers of others are not ours"
)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_case_is_equal(file: Path) -> None:
    assert [outcome for outcome in check.check_files([file]) if outcome.status != "equal"] == []


def truth(case: dict[str, Any] = KD) -> dict[str, Any]:
    """What a naive reference gives for `KD`."""
    import numpy as np

    student, teacher = (np.array(case["inputs"][f"{side}_logits"]) / 2.0 for side in ("student", "teacher"))
    q, p = (np.exp(logits) / np.exp(logits).sum() for logits in (student, teacher))
    loss = 4.0 * (p * np.log(p / q)).sum()
    return {"expected": {"loss": loss}, "gradient": {"student_logits": (2.0 * (q - p)).tolist()}}


def outcome(file: Path, **changes: Any) -> Any:
    file.write_text(json.dumps({"method": changes.pop("method", "kd"), "cases": [{**KD, **truth(), **changes}]}))
    return check.check_files([file])[0]


def test_a_wrong_value_or_gradient_is_found(tmp_path: Path) -> None:
    file = tmp_path / "kd.json"
    assert outcome(file).status == "equal"
    right = truth()["gradient"]["student_logits"][0]
    loss = truth()["expected"]["loss"]
    for change, words in [
        ({"expected": {"loss": loss * (1 + 1e-7)}}, "loss is"),
        ({"expected": {"loss": [loss, loss]}}, "another shape"),
        ({"expected": {"loss": "nan"}}, "loss is"),
        ({"expected": {"more": 1.0}}, "no more"),
        ({"gradient": {"student_logits": [[right[0], right[1] + 1e-6, right[2]]]}}, "gradient of student_logits[0, 1]"),
        ({"params": {"T": -1.0}}, "refused: temperature"),
    ]:
        found = outcome(file, **change)
        assert found.status == "different" and words in found.detail, found
    assert outcome(file, expected={"loss": loss * (1 + 1e-7)}, tolerance={"rel": 1e-6}).status == "equal"


def test_what_the_other_cannot_give_must_be_finite_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "kd.json"
    nothing = {"expected": {"loss": "nan"}, "official_nonfinite": True, "gradient": None}
    assert outcome(file, **nothing).status == "equal"
    refused = outcome(file, **nothing, inputs={"student_logits": [[0.0]], "teacher_logits": [["nan"]]})
    assert refused.status == "equal" and "refused" in refused.detail
    half = {"expected": {"loss": 123.0}, "official_nonfinite": True}
    assert outcome(file, **half).status == "different"  # a finite number is still compared


def test_what_is_not_ours_is_said(tmp_path: Path) -> None:
    file = tmp_path / "kd.json"
    assert outcome(file, method="teleport").status == "not ours"
    found = outcome(file, variant="quantum")
    assert found.status == "not ours" and "quantum" in found.detail


def test_any_subgradient_is_right_at_a_kink_and_there_alone(tmp_path: Path) -> None:
    """Two equal factors: |s - t| has no derivative."""
    file = tmp_path / "ft.json"
    values = [[1.0, 2.0]]
    case = {"name": "kink", "variant": "ft", "params": {"p": 1}, "expected": {"loss": 0.0}}
    for teacher, status in ((values, "equal"), ([[1.0, 3.0]], "different")):
        own = {**case, "inputs": {"student": values, "teacher": teacher}, "gradient": {"student": [[0.1, -0.05]]}}
        if teacher is not values:
            own["expected"] = {"loss": abs(1 / 5**0.5 - 1 / 10**0.5) / 2 + abs(2 / 5**0.5 - 3 / 10**0.5) / 2}
        file.write_text(json.dumps({"method": "ft_ab", "cases": [own]}))
        assert check.check_files([file])[0].status == status


def test_the_command_counts_and_exits(tmp_path: Path) -> None:
    file = tmp_path / "kd.json"
    outcome(file)
    good = CliRunner().invoke(app, ["methods", "check", str(file), "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["counts"] == {"equal": 1, "different": 0, "not ours": 0}
    outcome(file, expected={"loss": 1.0})
    bad = CliRunner().invoke(app, ["methods", "check", str(file)])
    assert bad.exit_code == 1 and "different: kd.json [kd] small: loss is" in bad.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[]", "no 'method'"),
        ('{"method": "kd"}', "no 'method' with a list of 'cases'"),
        ('{"method": "kd", "cases": [3]}', "case 0 is no object"),
        ('{"method": "kd", "cases": [{"inputs": {"student_logits": [["x"]]}}]}', "no arrays"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    from agentkd.errors import UserError

    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(UserError, match=words) as refused:
        check.check_files([file])
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="does not exist"):
        check.check_files([tmp_path / "none.json"])
