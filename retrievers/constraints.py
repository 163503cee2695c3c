"""Constraints of a question on its answers, apart from the path: a superlative, a date, a type.

"The largest city of …", "… founded after 1960", "which country …": rules read the words, the attribute is looked for
among the facts around the path's endpoints, and the endpoints that meet the constraint are kept. A constraint is
executed like a path, so a verifier can execute it again. ComplexWebQuestions is made of such questions (Talmor and
Berant, NAACL 2018, section 3: conjunctions, superlatives, comparatives, compositions).

A constraint does not count where it cannot be checked (too few endpoints have the attribute), or where all or none of
the endpoints meet it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agentkd.retrievers.graph import Graph
from agentkd.retrievers.relation_path import RelationPath

ENDS = 200  # a path with more endpoints is not constrained: each is looked up
PROBED = 12  # endpoints whose attributes are listed
KNOWN = 0.5  # of the endpoints must have the attribute; for a superlative all, or another could be the largest

SUPERLATIVES = {
    "latest": r"latest|last|newest|youngest|most recent(?:ly)?|final",
    "earliest": r"earliest|first|oldest|original",
    "highest": r"largest|biggest|most|highest|greatest|longest|tallest|heaviest",
    "lowest": r"smallest|fewest|least|lowest|shortest|lightest",
}
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DATE = (
    r"(?:(?P<year>\d{4})(?:-(?P<month>\d\d?)(?:-(?P<day>\d\d?))?)?"
    rf"|(?P<name>{_MONTHS})\s+(?:(?P<nth>\d\d?),?\s+)?(?P<of>\d{{4}}))"
)
_COMPARISONS = {
    "before": r"before|until|till|prior to|earlier than",
    "after": r"after|since|later than|following",
    "within": r"in|on|during|from",
}
_TYPE_RELATION = re.compile(r"\b(types?|instance of)\b")
_NOUN = re.compile(r"\b(?:which|what)\s+(?:of the\s+)?(?P<noun>[a-z]+(?:\s[a-z]+)?)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_ISO = re.compile(r"(?P<year>\d{4})(?:-(?P<month>\d\d))?(?:-(?P<day>\d\d))?(?:T.*)?")

Value = tuple[float, ...]


class Constraint(NamedTuple):
    """A test of a path's endpoints by one of their attributes.

    `op`: highest or lowest (numbers), latest or earliest (dates), before, after or within (a date), type.
    `way` leads from an answer to the attribute; `value` is the date, or the type's noun, that is compared."""

    op: str
    way: RelationPath
    value: str = ""


class Wish(NamedTuple):
    """A constraint as the question words it, before an attribute is found."""

    op: str
    value: str = ""


def read_wishes(question: str) -> list[Wish]:
    """Read the constraints in a question that comes without its topics' names.

    At most one superlative and one date; of "which … …" both words, since either may be the type."""
    text = question.lower()
    found: list[Wish] = []
    for op, words in SUPERLATIVES.items():
        if re.search(rf"\b(?:{words})\b", text) and not found:
            found.append(Wish(op))
    for op, words in _COMPARISONS.items():
        if match := re.search(rf"\b(?:{words})\s+(?:the year\s+)?{_DATE}\b", text):
            found.append(Wish(op, _iso(match)))
            break
    if noun := _NOUN.search(text):
        found += [Wish("type", _singular(word)) for word in reversed(noun["noun"].split())]  # "us state", "lake is"
    return found


def _iso(match: re.Match[str]) -> str:
    """A date as a question spells it, as YYYY, YYYY-MM or YYYY-MM-DD."""
    if match["year"]:
        parts = [match["year"], match["month"], match["day"]]
    else:
        parts = [match["of"], str(_MONTHS.split("|").index(match["name"]) + 1), match["nth"]]
    return "-".join(part.zfill(2) for part in parts if part)


def find_constraint(
    kb: Graph, question: str, ends: Sequence[str], rank: Callable[[Sequence[str]], Sequence[float]]
) -> tuple[Constraint, list[str]] | None:
    """Find the constraint that a question puts on a path's endpoints, and the endpoints that meet it.

    `rank` scores labels of attributes for the question. Superlatives and dates come before types."""
    if not 2 <= len(ends) <= ENDS:
        return None
    for wish in read_wishes(question):
        ways = [
            way
            for way in list_attributes(kb, ends[:PROBED])
            if bool(_TYPE_RELATION.search(_last(kb, way))) == (wish.op == "type")
        ]
        scores = rank([kb.label(way) for way in ways]) if ways else []
        for _, way in sorted(zip(scores, ways, strict=True), key=lambda pair: -pair[0]):
            constraint = Constraint(wish.op, way, wish.value)
            kept, known = _apply(kb, ends, constraint)
            needed = len(ends) if wish.op in SUPERLATIVES else KNOWN * len(ends)
            if known >= needed and 0 < len(kept) < len(ends):
                return constraint, kept
    return None


def apply_constraint(kb: Graph, ends: Sequence[str], constraint: Constraint) -> list[str]:
    """Return the endpoints that meet a constraint, in their order."""
    return _apply(kb, ends, constraint)[0]


def list_attributes(kb: Graph, ends: Sequence[str]) -> list[RelationPath]:
    """Return the paths from some entities to their values: one edge, or two over an unnamed node."""
    one = kb.relation_paths(ends, 1)
    two = kb.relation_paths(ends, 2)
    return [*one, *(way for way in two if len(way) == 2 and way[:1] not in one)]


def _last(kb: Graph, way: RelationPath) -> str:
    return kb.label(way[-1:])


def _apply(kb: Graph, ends: Sequence[str], constraint: Constraint) -> tuple[list[str], int]:
    """The endpoints that meet a constraint, and how many have a value that can be compared."""
    values = {end: kb.follow([end], constraint.way) for end in ends}
    if constraint.op == "type":
        kept = [end for end in ends if any(_is_a(text, constraint.value) for text in values[end])]
        return kept, sum(map(bool, values.values()))
    parse = parse_number if constraint.op in ("highest", "lowest") else parse_date
    read = {end: [value for text in values[end] if (value := parse(text)) is not None] for end in ends}
    known = {end: found for end, found in read.items() if found}
    if not known:
        return [], 0
    if constraint.op in _COMPARISONS:
        limit = parse_date(constraint.value) or ()
        meets = {
            "before": lambda value: value < limit,
            "after": lambda value: value[: len(limit)] > limit,
            "within": lambda value: value[: len(limit)] == limit,
        }[constraint.op]
        return [end for end in ends if any(map(meets, read[end]))], len(known)
    pick = max if constraint.op in ("highest", "latest") else min
    best = pick(pick(found) for found in known.values())
    return [end for end in ends if best in read[end]], len(known)


def parse_number(text: str) -> Value | None:
    """Read a number, with commas between thousands or without, as a tuple of one."""
    return (float(text.replace(",", "")),) if _NUMBER.fullmatch(text.strip()) else None


def parse_date(text: str) -> Value | None:
    """Read an ISO date as (year[, month[, day]]); comparing tuples puts 1990 before 1990-05."""
    match = _ISO.fullmatch(text.strip())
    return tuple(float(part) for part in match.groups() if part) if match else None


def _is_a(text: str, noun: str) -> bool:
    """Whether a type's name ends with the noun: "US state" is a state, "country music" no country."""
    return f" {text.lower()}".endswith(f" {noun}") or f" {text.lower()}".replace("/", " ").endswith(f" {noun}")


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("sses", "ss"), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            return word[: -len(ending)] + instead
    return word
