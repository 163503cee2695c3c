"""Build the packaged task `sql`: questions over the packaged geography, with a query whose rows are the answers.

    python scripts/build_sql.py --out agentkd/data/sql

The same facts give the same bytes: all choices are seeded. No entity that a question of one split names is named in
another split: countries are dealt out first, and cities and airports go with their country.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from agentkd.tasks.geo_tables import find_geo_database
from agentkd.verifiers.sql import run_query

ROOT = Path(__file__).parents[1]
SIZES = {"train": 480, "dev": 120, "test": 240}
SHARES = {"train": 0.6, "dev": 0.15, "test": 0.25}
MOST = 10  # answers of a question
COLUMNS = {
    "currency": ("Which currency is used in {country}?", "What do people pay with in {country}?"),
    "calling_code": ("What is the calling code of {country}?", "Which prefix do I dial to phone someone in {country}?"),
    "iso_code": ("What is the ISO code of {country}?", "Which two letters stand for {country} in ISO 3166?"),
    "internet_domain": ("What is the internet domain of {country}?", "How do web addresses of {country} end?"),
    "driving_side": ("On which side do people drive in {country}?", "Which side of the road is used in {country}?"),
    "subregion": ("In which subregion is {country}?", "Which part of its continent does {country} belong to?"),
    "capital": ("What is the capital of {country}?", "From which city is {country} governed?"),
}
OTHERS = {
    "country of a capital": (
        ("Which country has the capital {capital}?", "{capital} is the capital of which country?"),
        "SELECT name FROM country WHERE capital = {capital!q}",
    ),
    "neighbours": (
        ("Which countries border {country}?", "Name the neighbours of {country}."),
        "SELECT neighbour FROM border WHERE country = {country!q}",
    ),
    "number of neighbours": (
        ("How many countries border {country}?", "How many neighbours does {country} have?"),
        "SELECT count(*) FROM border WHERE country = {country!q}",
    ),
    "languages": (
        ("Which languages are spoken in {country}?", "What do people speak in {country}?"),
        "SELECT language FROM speaks WHERE country = {country!q}",
    ),
    "time zone": (
        ("In which time zone is {city}?", "What time do the clocks of {city} show?"),
        "SELECT time_zone FROM city WHERE name = {city!q}",
    ),
    "currency of a city": (
        ("Which currency is used in the city of {city}?", "What do people pay with in the city of {city}?"),
        "SELECT country.currency FROM city JOIN country ON country.name = city.country WHERE city.name = {city!q}",
    ),
    "capital of a city's country": (
        ("What is the capital of the country that the city of {city} is in?",
         "From which capital is the country of the city {city} governed?"),
        "SELECT country.capital FROM city JOIN country ON country.name = city.country WHERE city.name = {city!q}",
    ),
    "neighbours' capitals": (
        ("What are the capitals of the countries that border {country}?",
         "Name the capitals of {country}'s neighbours."),
        "SELECT country.capital FROM border JOIN country ON country.name = border.neighbour "
        "WHERE border.country = {country!q}",
    ),
    "common neighbours": (
        ("Which countries border both {country} and {other}?", "Which neighbours do {country} and {other} share?"),
        "SELECT neighbour FROM border WHERE country = {country!q} INTERSECT "
        "SELECT neighbour FROM border WHERE country = {other!q}",
    ),
    "number of airports": (
        ("How many airports does {country} have?", "Count the airports in {country}."),
        "SELECT count(*) FROM airport JOIN city ON city.name = airport.city WHERE city.country = {country!q}",
    ),
    "code of an airport": (
        ("What is the IATA code of {airport}?", "Which three letters stand for {airport} on a ticket?"),
        "SELECT iata_code FROM airport WHERE name = {airport!q}",
    ),
}  # fmt: skip


def quote(name: str) -> str:
    """A name as an SQL literal."""
    return "'" + name.replace("'", "''") + "'"


def fill(query: str, names: dict[str, str]) -> str:
    for key, name in names.items():
        query = query.replace(f"{{{key}!q}}", quote(name))
    return query


def deal(database: Path) -> dict[str, dict[str, list[dict[str, str]]]]:
    """Names to fill in by split and kind of template: those of its countries, and of their cities and airports."""
    connection = sqlite3.connect(database)
    countries = dict(connection.execute("SELECT name, capital FROM country ORDER BY name"))
    cities = list(connection.execute("SELECT name, country FROM city WHERE country NOT NULL ORDER BY name"))
    airports = list(
        connection.execute("SELECT airport.name, country FROM airport JOIN city ON city.name = airport.city ORDER BY 1")
    )
    borders = defaultdict(set)
    for one, other in connection.execute("SELECT country, neighbour FROM border"):
        borders[one].add(other)
    connection.close()
    order = list(countries)
    random.Random(0).shuffle(order)
    found, begin = {}, 0.0
    taken = Counter([*countries, *(name for name, _ in cities), *(name for name, _ in airports)])
    for split, share in SHARES.items():
        own = set(order[round(begin * len(order)) : round((begin + share) * len(order))])
        begin += share
        found[split] = {
            "{country}": [{"country": name} for name in countries if name in own],
            "{capital}": [{"capital": city} for name, city in countries.items() if name in own and city],
            "{city}": [{"city": name} for name, country in cities if country in own and taken[name] == 1],
            "{airport}": [{"airport": name} for name, country in airports if country in own and taken[name] == 1],
            "{other}": [
                {"country": one, "other": other}
                for one in sorted(own)
                for other in sorted(own)
                if one != other and borders[one] & borders[other]
            ],
        }
    return found


def make_questions(database: Path, split: str, pools: dict[str, list[dict[str, str]]]) -> Iterator[dict[str, object]]:
    """The questions of a split: its templates in turn, each with names drawn by the seed and no question twice."""
    rng = random.Random(f"sql {split}")
    templates = [
        (kind, wording, query)
        for kind, (wordings, query) in [
            *(
                (column, (two, f"SELECT {column} FROM country WHERE name = {{country!q}}"))
                for column, two in COLUMNS.items()
            ),
            *OTHERS.items(),
        ]
        for wording in wordings
    ]
    seen: set[str] = set()
    number = 0
    while number < SIZES[split]:
        for kind, wording, query in rng.sample(templates, len(templates)):
            pool = next(
                pools[key] for key in ("{other}", "{capital}", "{city}", "{airport}", "{country}") if key in wording
            )
            names = rng.choice(pool)
            question, sql = wording.format(**names), fill(query, names)
            answers = run_query(database, sql).answers
            if question in seen or not 0 < len(answers) <= MOST or answers == ["0"] or number == SIZES[split]:
                continue
            seen.add(question)
            number += 1
            yield {
                "id": f"sql-{split}-{number:04d}", "question": question, "topic_entities": [], "answers": answers,
                "type": kind, "sql": sql,
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    database = find_geo_database(ROOT / "agentkd/data/geo/kb.tsv")
    for split, pools in deal(database).items():
        rows = make_questions(database, split, pools)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / f"{split}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
