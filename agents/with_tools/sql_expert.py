"""The scripted expert of task `sql`: queries that could answer a question, ranked by the words that they share with it.

The names in a question are looked up in the database. Around each, the queries of one table and of one join are listed,
and pairs of names are intersected. A query is as plausible as its columns and tables explain the question's words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from agentkd.agents.with_tools.expert import Program
from agentkd.tasks.geo_tables import KEYS, SCHEMA
from agentkd.verifiers.sql import QueryError, run_query

NAMED = (("country", "name"), ("country", "capital"), ("city", "name"), ("airport", "name"))  # columns of names
LONGEST = 8  # words of a name
RANKS = 16  # programs of a question
_WORDS = {  # what people call the columns and tables, besides their own names
    "currency": "money pay paid",
    "calling_code": "phone dial prefix",
    "iso_code": "letters abbreviation",
    "internet_domain": "web internet addresses",
    "driving_side": "drive road side",
    "subregion": "part region",
    "neighbour": "neighbours border borders next",
    "language": "languages speak spoken",
    "time_zone": "time clocks zone",
    "iata_code": "iata letters ticket code",
    "airport": "airports fly",
    "name": "country city",
    "count": "how many number count",
    "both": "both share common",
    "same": "same as",
}


class Mention(NamedTuple):
    """A name in a question, and a column that holds it."""

    table: str
    column: str
    name: str


class Candidate(NamedTuple):
    """A query, the words of what it reads, and how many tables it joins."""

    query: str
    words: frozenset[str]
    joins: int


class SqlExpert:
    """Lists queries over a database."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.names: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for table, column in NAMED:
            for name in run_query(database, f"SELECT DISTINCT {column} FROM {table}", rows=100_000).answers:
                self.names[name].append((table, column))

    def list_programs(self, question: str) -> list[Program]:
        """The queries that give a row, the most plausible first, as programs of one turn."""
        mentions = self.find_mentions(question)
        candidates = {candidate.query: candidate for candidate in self.list_candidates(mentions)}
        left = question
        for mention in mentions:
            left = left.replace(mention.name, " ")
        words = split_words(left)
        ranked = sorted(candidates.values(), key=lambda one: (-score(one, words), one.query))
        programs: list[Program] = [[one.query] for one in ranked if self.has_rows(one.query)]
        return programs[:RANKS]

    def has_rows(self, query: str) -> bool:
        try:
            return bool(run_query(self.database, query).answers)
        except QueryError:
            return False

    def find_mentions(self, question: str) -> list[Mention]:
        """The names in a question; of overlapping ones the longest."""
        words, found, place = question.split(), list[Mention](), 0
        while place < len(words):
            for end in range(min(len(words), place + LONGEST), place, -1):
                span = " ".join(words[place:end])
                spellings = (
                    span,
                    span.rstrip("?.,;:"),
                    span.removesuffix("'s"),
                    span.rstrip("?.,;:").removesuffix("'s"),
                )
                name = next((text for text in spellings if text in self.names), None)
                if name is not None:
                    found += [Mention(table, column, name) for table, column in self.names[name]]
                    place = end - 1
                    break
            place += 1
        return found

    def list_candidates(self, mentions: Sequence[Mention]) -> Iterator[Candidate]:
        """The queries around the mentions: of one table, of two that are joined, and intersections of two names."""
        for mention in mentions:
            for table, column in columns_like(mention):
                yield from around(mention._replace(table=table, column=column))
        for one in mentions:
            for other in mentions:
                if one.name < other.name and (one.table, one.column) == (other.table, other.column):
                    for table, column in columns_like(one):
                        for shown in SCHEMA[table]:
                            if shown != column:
                                parts = [
                                    f"SELECT {shown} FROM {table} WHERE {column} = {quote(each.name)}"
                                    for each in (one, other)
                                ]
                                yield Candidate(" INTERSECT ".join(parts), words_of(table, shown, "both"), 0)


def columns_like(mention: Mention) -> list[tuple[str, str]]:
    """The column of a mention, and those that refer to it."""
    own = (mention.table, mention.column)
    return [own, *(left for left, right in KEYS if right == own)]


def around(mention: Mention) -> Iterator[Candidate]:
    """The queries whose one condition is the mention."""
    table, column, value = mention.table, mention.column, quote(mention.name)
    for shown in SCHEMA[table]:
        if shown != column:
            yield Candidate(f"SELECT {shown} FROM {table} WHERE {column} = {value}", words_of(table, shown), 0)
    yield Candidate(f"SELECT count(*) FROM {table} WHERE {column} = {value}", words_of(table, "count"), 0)
    for left, right in KEYS:
        for (mine, my_key), (theirs, their_key) in ((left, right), (right, left)):
            if mine != table or theirs == table:
                continue
            join = (
                f"FROM {mine} JOIN {theirs} ON {theirs}.{their_key} = {mine}.{my_key} WHERE {mine}.{column} = {value}"
            )
            for shown in SCHEMA[theirs]:
                if shown != their_key:
                    yield Candidate(f"SELECT {theirs}.{shown} {join}", words_of(theirs, shown, mine), 1)
            yield Candidate(f"SELECT count(*) {join}", words_of(theirs, "count", mine), 1)


def quote(name: str) -> str:
    """A name as an SQL literal."""
    return "'" + name.replace("'", "''") + "'"


@cache
def words_of(*parts: str) -> frozenset[str]:
    """What people call some columns and tables, as stems."""
    return split_words(" ".join(f"{part.replace('_', ' ')} {_WORDS.get(part, '')}" for part in parts))


def split_words(text: str) -> frozenset[str]:
    """The words of a text as stems: without their endings."""
    return frozenset(re.sub(r"(ies|es|s|ing|y)$", "", word) for word in re.findall(r"[a-z]+", text.lower()))


def score(candidate: Candidate, words: frozenset[str]) -> float:
    """How well a query explains a question's words: those shared, less a part of those that nobody asked for."""
    return len(candidate.words & words) - 0.15 * len(candidate.words - words) - 0.3 * candidate.joins
