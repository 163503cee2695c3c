"""Build the packaged task `math`: word problems of two to four steps of arithmetic.

    python scripts/build_math.py --out agentkd/data/math

All choices are seeded. No person and no thing that a problem of one split names is named in another split, and no
numbers of a story are in two splits.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from agentkd.verifiers.arithmetic import compute, write_number

SIZES = {"train": 480, "dev": 120, "test": 240}
PERSONS = {
    "train": ("Ada", "Bruno", "Carla", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Klara", "Liam"),
    "dev": ("Mara", "Nils", "Olga", "Pablo"),
    "test": ("Quentin", "Rosa", "Simon", "Tara", "Ugo", "Vera", "Walter", "Yara"),
}
THINGS = {
    "train": ("pencils", "apples", "stamps", "marbles", "books", "cookies", "roses", "tickets", "shells", "coins"),
    "dev": ("oranges", "buttons", "postcards"),
    "test": ("candles", "plums", "stickers", "tulips", "bottles", "magnets"),
}
# story, expression, (least, most) of each number
STORIES = {
    "boxes": (
        ("{who} has {a} boxes with {b} {what} each and gives {c} {what} away. How many {what} are left?",
         "There are {a} boxes of {b} {what} each. {who} takes {c} of them. How many {what} remain?"),
        "{a} * {b} - {c}", ((2, 9), (6, 24), (3, 11)),
    ),
    "shopping": (
        ("{who} buys {a} {what} at ${b} each and {c} bags at ${d} each. How many dollars is that in all?",
         "{a} {what} at ${b} each and {c} bags at ${d} each: how many dollars does {who} pay altogether?"),
        "{a} * {b} + {c} * {d}", ((2, 12), (2, 9), (2, 6), (5, 15)),
    ),
    "change": (
        ("{who} buys {a} {what} at ${b} each and pays with ${c}. How many dollars of change are given?",
         "{a} {what} at ${b} each are paid by {who} with ${c}. How many dollars come back?"),
        "{c} - {a} * {b}", ((2, 9), (2, 9), (90, 120)),
    ),
    "sharing": (
        ("{who} has {a} {what} and finds {b} more. They are shared equally among {c} children. "
         "How many {what} does each get?",
         "{a} {what} and another {b} are shared equally by {who} among {c} children. How many {what} for each?"),
        "({a} + {b}) / {c}", ((12, 60), (12, 60), (2, 8)),
    ),
    "walking": (
        ("{who} walks {a} km an hour for {b} hours, then {c} km an hour for {d} hours. How many km is that altogether?",
         "For {b} hours {who} walks {a} km an hour, and for {d} hours {c} km an hour. How many km in all?"),
        "{a} * {b} + {c} * {d}", ((3, 6), (2, 5), (7, 12), (2, 5)),
    ),
    "saving": (
        ("{who} saves ${a} a week for {b} weeks, spends ${c} and gets ${d} as a gift. How many dollars are there now?",
         "After {b} weeks of saving ${a} each week, {who} spends ${c} and is given ${d}. How many dollars is that?"),
        "{a} * {b} - {c} + {d}", ((8, 20), (5, 12), (5, 30), (10, 50)),
    ),
    "machines": (
        ("{a} machines make {b} {what} an hour each. {who} lets them run for {c} hours, and {d} {what} are broken. "
         "How many {what} are good?",
         "{who} has {a} machines. Each makes {b} {what} an hour for {c} hours; {d} {what} are thrown away. "
         "How many are kept?"),
        "{a} * {b} * {c} - {d}", ((2, 6), (10, 30), (2, 8), (4, 20)),
    ),
    "packing": (
        ("{who} has {a} {what}, loses {b} of them and packs the rest into bags of {c}. How many bags are full?",
         "Of {a} {what} {who} drops {b}; the others go into bags of {c}. How many bags is that?"),
        "({a} - {b}) / {c}", ((60, 150), (5, 40), (3, 9)),
    ),
}  # fmt: skip


def make_problems(split: str) -> Iterator[dict[str, object]]:
    """The problems of a split: its stories in turn, with persons, things and numbers drawn by the seed."""
    rng = random.Random(f"math {split}")
    seen: set[str] = set()
    number = 0
    while number < SIZES[split]:
        for kind in rng.sample(list(STORIES), len(STORIES)):
            wordings, expression, ranges = STORIES[kind]
            numbers = [rng.randint(*bounds) for bounds in ranges]
            values = dict(zip("abcd", numbers, strict=False))
            result = compute(expression.format(**values))
            names = {"who": rng.choice(PERSONS[split]), "what": rng.choice(THINGS[split])}
            question = rng.choice(wordings).format(**values, **names)
            place = sum(map(int, map(str, numbers))) * 31 + numbers[0]  # which split these numbers are for
            if number == SIZES[split] or result <= 0 or result.denominator > 1 or question in seen:
                continue
            if ("train", "train", "dev", "test")[place % 4] != split:
                continue
            seen.add(question)
            number += 1
            yield {
                "id": f"math-{split}-{number:04d}", "question": question, "topic_entities": [],
                "answers": [write_number(result)], "type": kind, "expression": expression.format(**values),
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for split in SIZES:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_problems(split))
        (out / f"{split}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
