"""Arithmetic computed again: exact, by the syntax tree, without `eval`.

`compute` is also the calculator that agents call. Numbers are fractions, so that 0.1 + 0.2 is 0.3, and 1/3 is exact.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from agentkd.trace import Check
from agentkd.verifiers.contract import Item

LONGEST, DIGITS, POWER = 400, 400, 64  # characters, digits of a result, the largest exponent
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**"} | dict.fromkeys("$€£¥,", ""))
_EQUATION = re.compile(
    r"(?P<left>[(\d$€£¥+−-][\d\s.,+*/^()$€£¥%×·÷−–-]*?)\s*=\s*"
    r"(?P<right>[-−+]?[$€£¥]?\d[\d,]*(?:\.\d+)?%?)(?![\d%]*\s*[*/^×÷(])"
)
_DECIMAL = re.compile(r"[\d_]*\.?\d*(?:[eE][-+]?\d{1,3})?")
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
}


class NotArithmetic(ValueError):
    """An expression that cannot be computed; the text says why, in one line."""


def compute(expression: str) -> Fraction:
    """Compute an expression of numbers, + - * / // % **, parentheses and per cent (5% is 0.05). Exact.

    Raises NotArithmetic for anything else, for a division by zero, and for what grows too large."""
    text = re.sub(r"(?<=\d)\s*%(?!\s*[\d(])", "/100", expression.translate(_SIGNS)).strip()
    if len(text) > LONGEST:
        raise NotArithmetic(f"longer than {LONGEST} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotArithmetic(f"not arithmetic: {expression[:60]!r}") from None
    return _compute(tree.body, text)


def _compute(node: ast.expr, text: str) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        digits = ast.get_source_segment(text, node) or ""
        if _DECIMAL.fullmatch(digits) is None or abs((number := Decimal(digits)).adjusted()) > DIGITS:
            raise NotArithmetic(f"no number that is computed with: {digits[:60]}")
        return _bounded(Fraction(number))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _compute(node.operand, text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _compute(node.left, text), _compute(node.right, text)
        if isinstance(node.op, ast.Pow):
            if right.denominator != 1 or abs(right) > POWER or (not left and right < 0):
                raise NotArithmetic(f"the power {left} ** {right} is not computed: whole exponents up to {POWER}")
            return _bounded(left ** int(right))
        if (operator := _OPERATORS.get(type(node.op))) is not None:
            if not right and isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
                raise NotArithmetic("division by zero")
            return _bounded(operator(left, right))
    raise NotArithmetic(f"not arithmetic: {ast.unparse(node)[:60]!r}")


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > DIGITS * 10 // 3:
        raise NotArithmetic(f"a number of more than {DIGITS} digits")
    return value


def write_number(value: Fraction) -> str:
    """Write a number as people do: whole, with its decimals where these end, else to ten digits.

    >>> write_number(compute("7 / 4")), write_number(compute("2 / 3"))
    ('1.75', '0.6666666667')
    """
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    text = f"{exact:f}" if rest == 1 and len(f"{exact:f}") <= 20 else f"{float(value):.10g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def find_equations(text: str) -> list[tuple[str, str]]:
    """The equations of a text, as (expression, stated result); a lone number on the left is none."""
    pairs = [(match["left"].strip(), match["right"]) for match in _EQUATION.finditer(text)]
    return [(left, right) for left, right in pairs if re.search(r"\d[\d.,)%\s]*[+*/^×·÷−–-]", left)]


def holds(expression: str, stated: str) -> bool:
    """Whether an expression has the stated result, rounded to as many decimals as are stated.

    Raises NotArithmetic where it cannot be computed."""
    value, result = compute(expression), compute(stated)
    decimals = len(stated.rstrip("%").partition(".")[2])
    scale = Fraction(100 if stated.endswith("%") else 1)
    tolerance = Fraction(1, 2 * 10**decimals) / scale if value != result and value.denominator != 1 else Fraction(0)
    return abs(value - result) <= tolerance


def arithmetic(item: Item, answer: str) -> Check:
    """Check that every equation of the answer holds (`3 * 4 = 12`), and that it has at least one."""
    equations = find_equations(answer)
    for left, right in equations:
        try:
            if not holds(left, right):
                found = write_number(compute(left))
                return Check(name="arithmetic", passed=False, detail=f"{left[:60]} is {found}, not {right[:30]}")
        except NotArithmetic as error:
            return Check(name="arithmetic", passed=False, detail=f"{left[:60]} = {right[:30]}: {error}")
    return Check(name="arithmetic", passed=bool(equations), detail="" if equations else "no equation to compute")
