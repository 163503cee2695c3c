"""A file of golden cases: inputs, parameters, and what another implementation made of them.

JSON: `method`, `tolerance` {rel, abs}, and `cases`: `name`, `variant`, `inputs`, `params`, `expected`, and where they
apply `gradient`, `tolerance`, `official_nonfinite` and `official_error`. The strings "nan", "inf" and "-inf" stand for
numbers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from agentkd.errors import UserError

NUMBERS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
WHOLE = re.compile(r"(labels?|ids|index|offsets|preds|perm\d?|pure)$")  # inputs that are whole numbers
TRUTH = re.compile(r"mask$")
PLAIN = {"contests", "leaderboard", "score", "perplexities", "references"}  # inputs that are not tensors


class Tolerance(NamedTuple):
    """A value is equal within abs + rel times the expected one."""

    rel: float
    abs: float


class Case(NamedTuple):
    """One case. `inputs` that are arrays are float64, integer or boolean tensors; those with a gradient require it.

    `broken`: the other implementation gives a number that is not finite, or raises."""

    method: str
    name: str
    variant: str
    inputs: dict[str, Any]
    params: dict[str, Any]
    expected: dict[str, Any]
    gradient: dict[str, Any]
    tolerance: Tolerance
    broken: bool


def read_cases(path: Path) -> list[Case]:
    """Read a file of cases; UserError where it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give a file of golden cases") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON file that can be read ({error}): give a file of golden cases") from None
    if not isinstance(data, dict) or not isinstance(data.get("method"), str) or not isinstance(data.get("cases"), list):
        raise UserError(f"{path} has no 'method' with a list of 'cases': see docs/methods.md for the form")
    return [_read_case(data, place, case, path) for place, case in enumerate(data["cases"])]


def _read_case(data: dict[str, Any], place: int, case: Any, path: Path) -> Case:
    if not isinstance(case, dict):
        raise UserError(f"{path}: case {place} is no object: give name, inputs, params and expected")
    tolerance = {"rel": 1e-9, "abs": 1e-9} | (data.get("tolerance") or {}) | (case.get("tolerance") or {})
    gradient = {name: numbers(value) for name, value in (case.get("gradient") or {}).items() if value is not None}
    try:
        inputs = {name: _read_input(name, value) for name, value in (case.get("inputs") or {}).items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: inputs of case {place} ('{case.get('name')}') are no arrays: {error}") from None
    for name in gradient:
        if isinstance(inputs.get(name), torch.Tensor):
            inputs[name].requires_grad_()
    return Case(
        data["method"],
        str(case.get("name", place)),
        str(case.get("variant") or ""),
        inputs,
        numbers(case.get("params") or {}),
        numbers(case.get("expected") or {}),
        gradient,
        Tolerance(float(tolerance["rel"]), float(tolerance["abs"])),
        bool(case.get("official_nonfinite") or case.get("official_error")),
    )


def numbers(value: Any) -> Any:
    """Replace the strings that stand for numbers, however deep."""
    if isinstance(value, dict):
        return {name: numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [numbers(each) for each in value]
    return NUMBERS.get(value, value) if isinstance(value, str) else value


def _read_input(name: str, value: Any) -> Any:
    value = numbers(value)
    if name in PLAIN or not isinstance(value, list):
        return value
    kind = torch.bool if TRUTH.search(name) else torch.long if WHOLE.search(name) else torch.float64
    try:
        return torch.tensor(value, dtype=kind)
    except ValueError:  # arrays of different sizes
        return [torch.tensor(each, dtype=kind) for each in value]
