"""The scripted expert of task `math`: the ways to join a problem's numbers, ranked by cue words between them.

The numbers stand in a tree in the order of the text; each node joins two parts by an operation. An operation is as
plausible as the words around the place where its parts meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from agentkd.agents.with_tools.expert import Program
from agentkd.verifiers.arithmetic import NotArithmetic, compute

RANKS = 16  # programs of a problem
MOST = 5  # numbers of a problem
BEAM = 60  # trees kept of each part
_CUES = {
    "+": "more another and gift given total altogether all finds then",
    "-": "away left remain remains gives takes spends loses drops broken thrown of change back",
    "*": "each every hour hours week weeks at an for",
    "/": "equally shared share among into bags full",
    "r-": "pays paid with change come back",  # the right part less the left
}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Tree(NamedTuple):
    """An expression of a part of the numbers: its value, its operations in the order of computing, and how plausible it
    is. An operand is a number, or the place of an earlier operation."""

    value: Fraction
    operations: tuple[tuple[str, str, str], ...]
    root: str
    score: float


def list_programs(question: str) -> list[Program]:
    """The programs that end in a positive number, the most plausible first; none for a question of other than 2 to 5
    numbers."""
    places = list(_NUMBER.finditer(question))
    if not 2 <= len(places) <= MOST:
        return []
    numbers = tuple(match[0] for match in places)
    ends = [*(match.start() for match in places[1:]), len(question)]
    gaps = tuple(split_words(question[match.end() : end]) for match, end in zip(places, ends, strict=True))
    trees = sorted(join(numbers, gaps), key=lambda tree: (-tree.score, write(tree)))
    programs = dict.fromkeys(write(tree) for tree in trees if tree.value > 0)
    return list(programs)[:RANKS]


def split_words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+", text.lower()))


@cache
def join(numbers: tuple[str, ...], gaps: tuple[frozenset[str], ...]) -> tuple[Tree, ...]:
    """The best trees over some numbers; gap i stands behind number i."""
    if len(numbers) == 1:
        return (Tree(Fraction(numbers[0]), (), numbers[0], 0.0),)
    found = [
        tree
        for cut in range(1, len(numbers))
        for left in join(numbers[:cut], gaps[:cut])
        for right in join(numbers[cut:], gaps[cut:])
        for tree in combine(left, right, gaps[cut - 1], gaps[len(numbers) - 1])
    ]
    return tuple(sorted(found, key=lambda tree: -tree.score)[:BEAM])


def combine(left: Tree, right: Tree, between: frozenset[str], behind: frozenset[str]) -> Iterator[Tree]:
    """The trees that join two parts, by the words between them and behind the second."""
    for operation, cues in _CUES.items():
        words = frozenset(cues.split())
        plausible = len(words & between) + 0.5 * len(words & behind)
        first, second = (right, left) if operation == "r-" else (left, right)
        sign = operation[-1]
        try:
            value = compute(f"({first.value}) {sign} ({second.value})")
        except NotArithmetic:
            continue
        shift = len(first.operations)
        moved = tuple((move(a, shift), sign_, move(b, shift)) for a, sign_, b in second.operations)
        operations = (*first.operations, *moved, (first.root, sign, move(second.root, shift)))
        odd = 1.0 * (value <= 0) + 1.0 * (value.denominator > 1)
        yield Tree(value, operations, f"#{len(operations) - 1}", left.score + right.score + plausible - odd)


def move(operand: str, shift: int) -> str:
    """An operand after `shift` more operations were put before its own."""
    return f"#{int(operand[1:]) + shift}" if operand.startswith("#") else operand


def write(tree: Tree) -> Program:
    """The program of a tree: its operations, then its answer; `{2}` stands for the result of the third turn."""

    def show(operand: str) -> str:
        return f"{{{operand[1:]}}}" if operand.startswith("#") else operand

    lines: Sequence[str] = [f"calc {show(a)} {sign} {show(b)}" for a, sign, b in tree.operations]
    return (*lines, f"answer {show(tree.root)}")
