"""Read the classes of a target: their order, the positive one, and the columns that stand for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.understand.cells import distinct_values
from agentkd.agents.agent_k.understand.target_hints import Hints, TargetColumns, split_list
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PAIRS = (
    ("0", "1"),
    ("-1", "1"),
    ("no", "yes"),
    ("n", "y"),
    ("false", "true"),
    ("f", "t"),
    ("negative", "positive"),
    ("neg", "pos"),
    ("absence", "presence"),
    ("absent", "present"),
)
"""(negative, positive) class, whatever the pages say: `no_show` and `target_0` name no class."""
# Scales from low to high; `|` stands between words for one step.
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
_ONE_SIDED = {"f1", "f2", "f0.5", "precision", "recall", "jaccard"}  # label metrics of the positive class alone


def read_classes(
    train: pd.DataFrame,
    columns: TargetColumns,
    hints: Hints,
    asked: bool,
    numbers: Mapping[str, str],
    doubts: list[str],
) -> tuple[str, ...]:
    """The class names in order: the positive one of two last, ordered ones as on their scale, else sorted.

    Ordered classes matter for QWK alone. `asked`: whether a submission holds probabilities, or numbers in place of
    words. `numbers` may map two classes to 0 and 1. A choice that the pages leave open, and on which the submission
    depends, is added to `doubts`. Raises UserError where there are no two classes, or an output column names none of
    them."""
    target, outputs, metric = columns.targets[0], columns.outputs, hints.metric
    found = sorted(distinct_values(train[target]), key=_natural)
    if len(found) < 2:
        if not found:
            raise UserError(f"column '{target}' of the training table has no known value: set target=COLUMN")
        raise UserError(f"column '{target}' of the training table has one value, {found}: set target=COLUMN")
    if columns.by_class and set(outputs) > set(found):  # a class without an example can still be asked for
        found = sorted(outputs, key=_natural)
    unlike = [name for name in outputs if name not in set(found)] if columns.by_class else []
    if odd := [name for name in unlike if not any(names_class(name, value) for value in found)]:
        raise UserError(
            f"the sample submission's column '{odd[0]}' is no class of '{target}' ({', '.join(found[:5])}): name its "
            "columns "
            f"by the classes; several values a row of one target are not there (docs/kaggle.md, What is not there)"
        )
    own = split_list(hints.fixed.get("classes"))
    if own and sorted(own) != sorted(found):
        raise UserError(f"classes={','.join(own)} has to name each class of '{target}' once: {', '.join(found[:20])}")
    if len(found) == 2:
        asked = len(outputs) == 1 and (asked or (metric is not None and metric.name in _ONE_SIDED))
        return _put_positive_last(found, columns, hints, numbers, doubts if asked else [])
    if own:
        return own
    if metric is not None and metric.name == "qwk" and any(_natural(name)[0] for name in found):
        return _order_classes(found, hints.text, doubts)
    return tuple(found)


def _put_positive_last(
    found: list[str], columns: TargetColumns, hints: Hints, numbers: Mapping[str, str], doubts: list[str]
) -> tuple[str, ...]:
    """Two classes with the positive one last.

    The first of these that holds for one class decides: the user's word; the data or the pages number it 1; the
    submission's column is called like the class; it is the second of a pair such as no and yes; its name is part of the
    submission's or the target's column; the pages ask for its probability or score. Else it is the later word."""
    own, target, outputs = hints.fixed.get("positive"), columns.targets[0], columns.outputs
    if own is not None and own not in found:
        raise UserError(f"positive={own} is no class of '{target}': choose of {', '.join(found)}")
    output = outputs[0] if len(outputs) == 1 else ""
    plain = {_drop_point_zero(name).lower(): name for name in found}
    ways: tuple[list[str], ...] = (
        [own] if own else list(split_list(hints.fixed.get("classes"))[1:]),
        [name for name in found if numbers.get(name) == "1"],
        [name for name in found if name.lower() == output.lower()][:1],
        [plain[positive] for negative, positive in PAIRS if {negative, positive} == set(plain)],
        [name for name in found if output and (_mentions(output, name) or _mentions(target, name))],
        [name for name in found if _is_asked_for(hints.text, name)],
    )
    positive = next((way[0] for way in ways if len(way) == 1), None)
    if positive is not None:
        return tuple(sorted(found, key=lambda name: name == positive))
    doubts.append(
        f"'{found[-1]}' is taken for the positive class of '{target}': set positive={found[0]} if it is the other"
    )
    return tuple(found)


def _mentions(column: str, name: str) -> bool:
    """Whether the words of a column's name include those of a class: `is_fraud` for `fraud`."""
    return f" {_split_words(name)} " in f" {_split_words(column)} " if _split_words(name) else False


def _split_words(text: str) -> str:
    """Lower-case words with blanks between them: the same for LoanStatus, loan_status and Loan Status."""
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).lower()))


def _is_asked_for(text: str, name: str) -> bool:
    """Whether a sentence asks for the probability or the score of a class.

    A number or a letter only counts where it is called a class: probabilities lie between 0 and 1."""
    word = re.escape(" ".join(name.lower().split()))
    if sum(map(str.isalpha, name)) < 2:
        word = rf"(?:class|label|category) {word}"
    positive = rf"positive class(?: is| being|:)? (?:the )?{word}"
    of = rf"(?:chances?|odds|risk|f\d? ?-?score|f1|f-?measure|precision|recall) (?:of|for|on) (?:the |a |an )?{word}"
    that = rf"(?:probabilit(?:y|ies)|likelihood)\b(?:(?!\bnot?\b)[^.;!?]){{0,80}}?(?<!\w){word}"
    return bool(re.search(rf"\b(?:{positive}|{of}|{that})(?!\w)", " ".join(text.lower().split())))


def _order_classes(found: list[str], text: str, doubts: list[str]) -> tuple[str, ...]:
    """Classes that are words, in the order of a usual scale, else of a list of them all in the pages.

    Downwards is as good as upwards, since only distances count."""
    for scale in SCALES:
        place = {word: rank for rank, words in enumerate(scale) for word in words.split("|")}
        ranks = [place.get(_split_words(name)) for name in found]
        if None not in ranks and len(set(ranks)) == len(found):
            return tuple(sorted(found, key=lambda name: place[_split_words(name)]))
    row = _find_list(found, text) or tuple(found)
    if list(row) not in (found, found[::-1]):  # alphabetical order may be chance
        return row
    doubts.append(f"the classes are taken to be in the order {', '.join(row)}: set classes=A,B,C if it is not")
    return row


def _find_list(found: Sequence[str], text: str) -> tuple[str, ...] | None:
    """A list of all classes in the text, each once, with marks and little words between them."""
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
    """A sort key: numbers by value, then other texts."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def _drop_point_zero(name: str) -> str:
    """Turn `1.0` into `1`: pandas writes whole numbers as `1.0` where a column had a gap."""
    return name[:-2] if re.fullmatch(r"-?\d+\.0", name) else name


def names_class(column: str, name: str) -> bool:
    """Whether a column such as `winner_a` or `class1` stands for the class `a`, `1` or `1.0`."""
    apart = r"(?:^|[^A-Za-z0-9]|(?<=[A-Za-z])(?=\d))"  # a number ends where letters begin
    return bool(re.search(rf"{apart}(?:{re.escape(name)}|{re.escape(_drop_point_zero(name))})$", column))


def each_names_one(outputs: tuple[str, ...], found: list[str]) -> bool:
    """Whether each value is named by exactly one output column, as many as there are values."""
    return len(found) == len(outputs) and all(
        sum(names_class(column, value) for column in outputs) == 1 for value in found
    )
