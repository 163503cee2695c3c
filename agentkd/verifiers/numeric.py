"""Numbers against gold, with a tolerance and units.

Read are signs, thousands marks (1,234), decimals, exponents (1.5e3), fractions (3/4), per cent, a currency before or
after, and a unit. Of a text with several numbers the one after `####`, else the last, counts: a solution ends with its
answer. Units are compared and converted by `pint`; where gold has none, the answer's does not matter.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from agentkd.errors import UserError
from agentkd.trace import Check
from agentkd.verifiers.contract import Item
from agentkd.verifiers.gold import gold_answers

CURRENCIES = "$€£¥₹"
_NUMBER = re.compile(
    rf"(?P<currency>[{CURRENCIES}]?)\s?"
    r"(?P<digits>(?:(?<![\w.])[-+\u2212])?(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d{1,400})?(?:\.\d{1,400})?(?<=\d)(?:[eE][-+]?\d{1,3})?)"
    r"(?:\s?/\s?(?P<under>\d{1,400})(?![\d.]))?"
    rf"(?:\s?(?P<unit>[%{CURRENCIES}]|°?[µΩA-Za-z][A-Za-z]*(?:[\^²³]?-?\d?)?(?:[/*·][A-Za-z]+(?:\^?-?\d)?)*))?"
)


class Quantity(NamedTuple):
    """A number, and its unit as it is written."""

    value: float
    unit: str


def read_number(text: str) -> Quantity | None:
    """Read the number that a text gives as its answer; None where it gives none.

    >>> read_number("It takes 90 minutes, that is 1.5 hours.")
    Quantity(value=1.5, unit='hours')
    """
    marked = text.rpartition("####")[2]
    found = None
    for match in _NUMBER.finditer(marked):
        found = match if match["digits"] else found
    if found is None:
        return None
    digits = found["digits"].replace(",", "").replace("\u2212", "-")
    try:
        value = float(digits)
        if found["under"] and float(found["under"]):
            value = float(Fraction(digits) / Fraction(found["under"])) if abs(value) < 1e15 else math.inf
    except (ValueError, OverflowError):
        return None
    return Quantity(value, found["currency"] or found["unit"] or "")


class Numeric:
    """Check that the answer is the gold number, within an absolute `tolerance` or a `relative` one."""

    name = "numeric"

    def __init__(self, tolerance: float = 0.0, relative: float = 1e-9) -> None:
        if not (0 <= tolerance < math.inf and 0 <= relative < math.inf):
            raise UserError(f"numeric: tolerance={tolerance}, relative={relative}: give finite numbers from 0 on")
        self.tolerance, self.relative = tolerance, relative

    def __call__(self, item: Item, answer: str) -> Check:
        golds = [self._read_gold(item, text) for text in gold_answers(item)]
        given = read_number(answer)
        if given is None:
            return Check(name=self.name, passed=False, detail=f"no number in {answer[:60]!r}")
        details = [self._compare(given, gold) for gold in golds]
        return Check(name=self.name, passed="" in details, detail="" if "" in details else details[0])

    @staticmethod
    def _read_gold(item: Item, text: str) -> Quantity:
        gold = read_number(text)
        if gold is None:
            raise UserError(f"item {str(item.get('id', ''))[:60]!r} has the gold answer {text[:60]!r}: give a number")
        return gold

    def _compare(self, given: Quantity, gold: Quantity) -> str:
        """Why the two differ; empty where they do not."""
        value = given.value
        if gold.unit and given.unit != gold.unit:
            converted = convert(value, given.unit, gold.unit) if given.unit else None
            if converted is None:
                return f"{given.value:.12g} {given.unit or 'without a unit'} is not in {gold.unit}"
            value = converted
        if math.isclose(value, gold.value, rel_tol=self.relative, abs_tol=self.tolerance):
            return ""
        return f"{given.value:.12g}{given.unit and ' '}{given.unit} is not {gold.value:.12g} {gold.unit}".rstrip()


def convert(value: float, unit: str, wanted: str) -> float | None:
    """Convert a value between units; None where they do not measure the same. Raises UserError without `pint`."""
    if unit.casefold() == wanted.casefold() and unit.isalpha():
        return value
    registry = _units()
    try:
        quantity = registry.Quantity(value, registry.parse_units(_plain(unit)))
        return float(quantity.to(registry.parse_units(_plain(wanted))).magnitude)
    except Exception:  # an unknown unit, or another dimension: pint has a dozen errors for it
        return None


def _plain(unit: str) -> str:
    for sign, word in (("%", "percent"), ("²", "^2"), ("³", "^3"), ("·", "*")):
        unit = unit.replace(sign, word)
    return re.sub(r"(?<=[A-Za-z])\^?(-?\d)", r"**\1", unit)


@cache
def _units() -> Any:
    try:
        import pint
    except ImportError:
        raise UserError("numeric needs pint to convert units: pip install 'agentkd[verify]'") from None
    return pint.UnitRegistry()
