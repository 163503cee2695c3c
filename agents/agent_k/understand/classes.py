"""The classes of a target: their order, which of two is the positive one, and which column stands for which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.scoring.metrics import Metric
from agentkd.agents.agent_k.understand.cells import distinct_values
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PAIRS = (("0", "1"), ("-1", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("negative", "positive"),
         ("neg", "pos"), ("absence", "presence"), ("absent", "present"))  # fmt: skip
"""Of these the second is the positive class, whatever the pages say: `no_show` and `target_0` name no class."""
SCALES = (
    ("none", "very low", "low", "medium low", "medium|moderate|average|mid|middle|normal", "medium high", "high",
     "very high", "extreme|extremely high"),
    ("none|no", "minimal", "mild", "moderate", "severe", "very severe|extreme|critical"),
    ("never", "rarely|seldom", "sometimes|occasionally", "often|frequently", "usually", "always"),
    ("very poor|very bad|terrible", "poor|bad", "fair|average|ok|okay", "good", "very good", "excellent|ideal"),
    ("tiny|very small|xs", "small|s", "medium|m", "large|l", "very large|extra large|huge|xl", "xxl"),
    ("strongly disagree", "disagree", "neutral|neither", "agree", "strongly agree"),
    ("negative", "neutral", "positive"),
)  # fmt: skip
_UNEVEN = {"f1", "f2", "f0.5", "precision", "recall", "jaccard"}  # metrics of labels that ask for one of two classes


def read_classes(
    train: pd.DataFrame,
    target: str,
    outputs: tuple[str, ...],
    by_class: bool,
    *,
    text: str,
    metric: Metric | None,
    probability: bool,
    fixed: Mapping[str, Any],
    doubts: list[str],
) -> tuple[str, ...]:
    """The class names: sorted; in their own order where `metric`, the likeliest, asks for one; of two the positive one
    last. What the pages' `text` does not settle either is a doubt, where the submission depends on it."""
    found = sorted(distinct_values(train[target]), key=_natural)
    if len(found) < 2:
        if not found:
            raise UserError(f"column '{target}' of the training table has no known value: set target=COLUMN")
        raise UserError(f"column '{target}' of the training table has one value, {found}: set target=COLUMN")
    if by_class and set(outputs) > set(found):  # a class without an example: it can still be asked for
        found = sorted(outputs, key=_natural)
    unlike = [name for name in outputs if name not in set(found)] if by_class else []
    if odd := [name for name in unlike if not any(names_class(name, value) for value in found)]:
        raise UserError(
            f"which class of '{target}' ({', '.join(found[:5])}) the sample submission's column '{odd[0]}' stands for "
            f"is not clear: name its columns by the classes, or set target=COLUMN"
        )
    if len(found) == 2:
        asked = len(outputs) == 1 and (probability or (metric is not None and metric.name in _UNEVEN))
        return _positive_last(found, outputs, target, text, asked, fixed.get("positive"), doubts)
    if metric is not None and metric.name == "qwk" and any(_natural(name)[0] for name in found):
        return _ordered(found, text, doubts)
    return tuple(found)


def _positive_last(
    found: list[str],
    outputs: tuple[str, ...],
    target: str,
    text: str,
    asked: bool,
    own: str | None,
    doubts: list[str],
) -> tuple[str, ...]:
    """The user's word; else the class that the submission's column is called; else the second of a pair such as no and
    yes; else the class whose name the submission's or the target's column holds; else the one whose probability, or
    score, the pages ask for; else the later word."""
    if own is not None and own not in found:
        raise UserError(f"positive={own} is no class of '{target}': choose of {', '.join(found)}")
    output = outputs[0] if len(outputs) == 1 else ""
    plain = {_whole(name).lower(): name for name in found}
    ways: tuple[list[str], ...] = (
        [own] if own else [],
        [name for name in found if name.lower() == output.lower()][:1],
        [plain[positive] for negative, positive in PAIRS if {negative, positive} == set(plain)],
        [name for name in found if output and (_says(output, name) or _says(target, name))],
        [name for name in found if _wanted(text, name)],
    )
    positive = next((way[0] for way in ways if len(way) == 1), None)
    if positive is not None:
        return tuple(sorted(found, key=lambda name: name == positive))
    if asked:
        doubts.append(f"'{found[-1]}' is taken for the positive class of '{target}': set positive={found[0]} if it is "
                      f"the other")  # fmt: skip
    return tuple(found)


def _says(column: str, name: str) -> bool:
    """Whether a column's name, or a part of it between other signs, is that of a class: `is_fraud` for `fraud`."""
    return f" {_words(name)} " in f" {_words(column)} " if _words(name) else False


def _words(text: str) -> str:
    """In lower case, parts by blanks: LoanStatus, loan_status and Loan Status are the same."""
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).lower()))


def _wanted(text: str, name: str) -> bool:
    """Whether a sentence asks for the probability of a class, or for a score of it. A number or a letter has to be
    called a class: probabilities lie between 0 and 1."""
    word = re.escape(" ".join(name.lower().split()))
    if sum(map(str.isalpha, name)) < 2:
        word = rf"(?:class|label|category) {word}"
    positive = rf"positive class(?: is| being|:)? (?:the )?{word}"
    of = rf"(?:chances?|odds|risk|f\d? ?-?score|f1|f-?measure|precision|recall) (?:of|for|on) (?:the |a |an )?{word}"
    that = rf"(?:probabilit(?:y|ies)|likelihood)\b(?:(?!\bnot?\b)[^.;!?]){{0,80}}?(?<!\w){word}"
    return bool(re.search(rf"\b(?:{positive}|{of}|{that})(?!\w)", " ".join(text.lower().split())))


def _ordered(found: list[str], text: str, doubts: list[str]) -> tuple[str, ...]:
    """Classes that are words in the order of a usual scale, else in that in which the pages name them all in a row;
    downwards is as good as upwards where distances count."""
    for scale in SCALES:
        place = {word: rank for rank, words in enumerate(scale) for word in words.split("|")}
        ranks = [place.get(_words(name)) for name in found]
        if None not in ranks and len(set(ranks)) == len(found):
            return tuple(sorted(found, key=lambda name: place[_words(name)]))
    row = _row(found, text) or tuple(found)
    if list(row) not in (found, found[::-1]):  # the alphabet's may be chance
        return row
    doubts.append(f"the classes are taken to be in the order {', '.join(row)}: write them as numbers if it is not")
    return row


def _row(found: Sequence[str], text: str) -> tuple[str, ...] | None:
    """All the classes as a list in the text, parted by marks and little words, each of them once."""
    names = {name.lower(): name for name in found}
    one = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    between = r"(?:[^\w.;!?]|\b(?:to|and|or|then|through|\d+)\b){1,12}"
    pattern = rf"(?<!\w)(?:{one})(?!\w)(?:{between}(?:{one})(?!\w)){{{len(found) - 1}}}"
    for match in re.finditer(pattern, text.lower()):
        row = [names[name] for name in re.findall(rf"(?<!\w)(?:{one})(?!\w)", match[0])]
        if sorted(row) == sorted(found):
            return tuple(row)
    return None


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def _whole(name: str) -> str:
    """`1.0` as `1`: pandas writes whole numbers so where a column once had a gap."""
    return name[:-2] if re.fullmatch(r"-?\d+\.0", name) else name


def names_class(column: str, name: str) -> bool:
    """Whether a column such as `winner_a`, `Class_1` or `class1` stands for the class `a` or `1`, also called `1.0`."""
    apart = r"(?:^|[^A-Za-z0-9]|(?<=[A-Za-z])(?=\d))"  # a number ends where letters begin
    return bool(re.search(rf"{apart}(?:{re.escape(name)}|{re.escape(_whole(name))})$", column))


def each_names_one(outputs: tuple[str, ...], found: list[str]) -> bool:
    """Each value ends exactly one output."""
    return len(found) == len(outputs) and all(
        sum(names_class(column, value) for column in outputs) == 1 for value in found
    )
