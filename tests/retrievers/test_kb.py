"""The knowledge base: the forms of its files, and paths executed as by a naive reading of the rule."""

import gzip
import itertools
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.errors import UserError
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.passages import list_passage_triples, write_passage, write_passages
from tests.support.paths import KBQA_DATA

needs_data = pytest.mark.skipif(not KBQA_DATA.is_dir(), reason=f"no data at {KBQA_DATA}; set AGENTKD_DATA")

FAMILY = [
    ("Ann", "people.person.parent", "Eve"),
    ("Bob", "people.person.parent", "Eve"),
    ("Cid", "people.person.parent", "Eve"),
    ("Ann", "people.person.marriage", "m.0abc"),
    ("m.0abc", "people.marriage.spouse", "Dan"),
    ("m.0abc", "people.marriage.year", "1999"),
    ("Eve", "people.person.birth_place", "Rome"),
]
UP, DOWN = ("people.person.parent", 1), ("people.person.parent", -1)
MARRIED = (("people.person.marriage", 1), ("people.marriage.spouse", 1))


@pytest.fixture
def family() -> KnowledgeBase:
    return KnowledgeBase.from_triples(FAMILY)


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kb.tsv", "a\tr\tb\nb\ts\tc d\n"),
        ("kb.tsv", "head\trelation\ttail\na\tr\tb\tsource\nb\ts\tc d\n\na\tr\tb\tagain\n"),
        ("kb.tsv", "\ufeffa\tr\tb\r\nb\ts\tc d\r\n"),
        ("kb.txt", "a|r|b\nb|s|c d"),
        ("kb.tsv.gz", "a\tr\tb\nb\ts\tc d\n"),
    ],
    ids=["tabs", "header, provenance, blank line, duplicate", "BOM and CRLF", "bars", "gzip"],
)
def test_formats_are_told_apart_by_the_first_line(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    data = content.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    kb = KnowledgeBase.load(file)
    assert list(kb.triples()) == [("a", "r", "b"), ("b", "s", "c d")]
    assert len(kb) == 2 and "c d" in kb and "r" not in kb and kb.path == file
    assert kb.follow(["a"], (("r", 1), ("s", 1))) == ["c d"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tr\tb\na\tr\n", r"kb\.tsv:2: not a triple: 'a\\tr'; write"),
        ("a\tr\tb\na\t\tb\n", r"kb\.tsv:2: not a triple"),
        ("a|r|b\na|r|b|c\n", r"kb\.tsv:2: not a triple"),
        ("just text\n", r"kb\.tsv:1: not a triple: 'just text'"),
        ("\n\n", r"kb\.tsv: holds no triple; give"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_remedy(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "kb.tsv").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        KnowledgeBase.load(tmp_path / "kb.tsv")
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        KnowledgeBase.load(tmp_path / "absent.tsv")
    (tmp_path / "latin.tsv").write_bytes(b"caf\xe9\tr\tb\n")
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"a\tr\tb\n" * 99)[:-20])
    for name in ("latin.tsv", "torn.gz"):
        with pytest.raises(UserError, match=f"{name}: cannot be read as"):
            KnowledgeBase.load(tmp_path / name)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    for name, text in (("one", "a\tr\tb\n"), ("two", "a\tr\tc\n"), ("three", "a\tr\tb\n")):
        (tmp_path / name).write_text(text)
    one, two, three = (KnowledgeBase.load(tmp_path / name).sha256 for name in ("one", "two", "three"))
    assert one == three != two and re.fullmatch("[0-9a-f]{64}", one)
    assert KnowledgeBase.from_triples(FAMILY).sha256 == KnowledgeBase.from_triples(FAMILY).sha256


# ---- names ---------------------------------------------------------------------------------------------------------


def test_find_exact_alias_normalised_accents(tmp_path: Path) -> None:
    (tmp_path / "kb.tsv").write_text(
        "The Beatles\tr\tLuis Suárez\nthe beatles!\tr\tx\nthe beatles!\tr\ty\nU.S.\tr\tx\n$\tr\tx\n"
    )
    (tmp_path / "aliases.tsv").write_text("The Fab Four\tThe Beatles\nU.S.\tAmerica\nnobody\tnothing\n")
    kb = KnowledgeBase.load(tmp_path / "kb.tsv", aliases=tmp_path / "aliases.tsv")
    assert kb.find("The Beatles") == "The Beatles"
    assert kb.find("THE BEATLES") == "The Beatles" and kb.find("The Beatles!") == "the beatles!"
    assert kb.find("BEATLES") is None  # it could be either
    assert kb.find("fab four") == kb.find("The Fab Four") == "The Beatles"
    assert kb.find("america") == kb.find("us") == "U.S."
    assert kb.find("luis suarez") == "Luis Suárez"
    assert kb.find("$") == "$"
    assert kb.find("nothing") is None and kb.find("") is None and kb.find("!?") is None
    (tmp_path / "aliases.tsv").write_text("The Fab Four\n")
    with pytest.raises(UserError, match=r"aliases\.tsv:1: not an alias"):
        KnowledgeBase.load(tmp_path / "kb.tsv", aliases=tmp_path / "aliases.tsv")


TWINS = ["C", "C++", "C#", "Hepatitis", "Hepatitis A", "3.5", "T-5", "US", "us", "U.S.S.R.", "AC/DC", "Hernán Cortés"]
TWINS += ["Hamlet!", "Hamlet?", "1979", "São Paulo"]


@pytest.mark.parametrize(
    ("text", "name", "loose"),
    [
        ("C++", "C++", False),
        ("c#", "C#", False),
        ("C--", None, False),
        ("hepatitis a", "Hepatitis A", False),
        ("Hepatitis B", None, False),
        ("35", None, False),
        ("T+5", None, False),
        ("T\u22125", "T-5", False),
        ("us", "us", False),
        ("Us", "US", True),  # of two that differ in case the one with more edges
        ("ussr", "U.S.S.R.", True),
        ("ACDC", "AC/DC", True),
        ("Hernan Cortes", "Hernán Cortés", True),
        ("hamlet", None, False),  # either
        ("Hamlet!", "Hamlet!", False),
        ("1979.0", "1979", True),
        ("Sa\u0303o Paulo ", "São Paulo", False),
        ("", None, False),
    ],
)
def test_who_is_meant(text: str, name: str | None, loose: bool) -> None:
    kb = KnowledgeBase.from_triples([*((twin, "is", "x") for twin in TWINS), ("US", "is", "y")])
    match = kb.match(text)
    assert (match and match.name) == kb.find(text) == name
    assert match is None or match.loose == loose


def test_an_alias_of_two_entities_names_neither() -> None:
    kb = KnowledgeBase.from_triples([("Paris", "is", "x"), ("Paris (Texas)", "is", "x")])
    kb.lookup.add_aliases([("City of Light", 0), ("Paree", 0), ("Paree", 2)])
    assert (kb.find("city of light"), kb.find("Paree"), kb.find("paree!")) == ("Paris", None, None)
    assert kb.lookup.nearest("Pariss") == ["Paris", "Paris (Texas)"] and kb.lookup.nearest("zzz") == []


def test_unnamed_nodes(family: KnowledgeBase) -> None:
    assert all(map(family.is_cvt, ["m.0abc", "M.010pvk_k", "g.11b_x", "cvt.q1.2", "_:b0"]))
    assert not any(map(family.is_cvt, ["M. C. Escher", "G. Love", "m.", "M.O.N.Y.", "46.41"]))
    assert family.find("M.0ABC") is None


# ---- executing -----------------------------------------------------------------------------------------------------


def test_siblings_of_x_do_not_include_x(family: KnowledgeBase) -> None:
    assert family.follow(["Ann"], (UP, DOWN)) == ["Bob", "Cid"]
    assert family.follow(["Ann", "Bob"], (UP, DOWN)) == ["Cid"]
    assert family.follow(["Ann"], (UP,)) == ["Eve"]
    assert family.steps("Eve") == [DOWN, ("people.person.birth_place", 1)]


def test_unnamed_nodes_are_passed_through_and_never_returned(family: KnowledgeBase) -> None:
    assert family.follow(["Ann"], MARRIED) == ["Dan"]
    assert family.follow(["Ann"], MARRIED[:1]) == []
    assert family.follow(["Dan"], ((MARRIED[1][0], -1), ("people.marriage.year", 1))) == ["1999"]


def test_what_is_unknown_leads_nowhere(family: KnowledgeBase) -> None:
    assert family.follow(["Zoe"], (UP,)) == family.follow([], (UP,)) == family.follow(["Ann"], ()) == []
    assert family.follow(["Ann"], (("no.such", 1),)) == []
    assert family.evidence(["Ann"], (("no.such", 1),)) == []
    assert family.steps("Zoe") == [] and family.relation_paths(["Zoe"], 2) == {} and write_passage(family, "Zoe") == ""
    with pytest.raises(UserError, match=r"unknown relation 'no\.such'"):
        family.label((("no.such", 1),))


def test_evidence_is_pruned_and_in_kb_direction(family: KnowledgeBase) -> None:
    parents = [("Ann", UP[0], "Eve"), ("Bob", UP[0], "Eve"), ("Cid", UP[0], "Eve")]
    assert set(family.evidence(["Ann"], (UP, DOWN))) == set(parents)
    assert set(family.evidence(["Ann"], (UP, DOWN), ["Bob"])) == set(parents[:2])
    assert family.evidence(["Ann"], (UP, DOWN), ["Dan"]) == []
    assert ("m.0abc", "people.marriage.year", "1999") not in family.evidence(["Ann"], MARRIED)


def test_an_unknown_direction_is_matched_both_ways() -> None:
    kb = KnowledgeBase.from_triples(
        [("a", "r", "b", "x;undirected"), ("a", "s", "b", "x;undirected"), ("a", "s", "b", "y")]
    )
    for sign in (1, -1):
        assert kb.follow(["a"], (("r", sign),)) == ["b"] and kb.follow(["b"], (("r", sign),)) == ["a"]
        assert kb.evidence(["b"], (("r", sign),)) == [("a", "r", "b")]
    assert kb.has("b", "r", "a") and kb.has("a", "r", "b")
    # another line gives `s` its direction
    assert kb.follow(["b"], (("s", 1),)) == [] and not kb.has("b", "s", "a") and not kb.has("b", "t", "a")
    assert kb.relation_paths(["a"], 1) == {(("r", 1),): 1, (("s", 1),): 1}  # one of the twins


_ENTITY = st.sampled_from(["a", "b", "c", "d", "m.01", "m.02"])
_TRIPLES = st.lists(st.tuples(_ENTITY, st.sampled_from(["r", "s"]), _ENTITY), min_size=1, max_size=9, unique=True)
_LOOSE = st.lists(st.booleans(), min_size=9, max_size=9)
_PATHS = [tuple(p) for n in (1, 2, 3) for p in itertools.product([("r", 1), ("r", -1), ("s", 1), ("s", -1)], repeat=n)]


class Naive:
    """Walks one by one, straight from the docstring."""

    def __init__(self, rows: list[tuple[str, ...]]) -> None:
        self.edges = []
        for h, r, t, *loose in rows:
            self.edges += [(h, (r, 1), t, (h, r, t)), (t, (r, -1), h, (h, r, t))]
            if loose:
                self.edges += [(t, (r, 1), h, (h, r, t)), (h, (r, -1), t, (h, r, t))]

    def walks(self, starts: list[str], path: tuple[tuple[str, int], ...]) -> list[list[tuple[str, tuple[str, ...]]]]:
        walks: list[list[tuple[str, tuple[str, ...]]]] = [[(start, ())] for start in starts]
        for hop, step in enumerate(path, start=1):
            walks = [
                [*walk, (target, triple)]
                for walk in walks
                for source, name, target, triple in self.edges
                if source == walk[-1][0] and name == step and (hop == 1 or target not in starts)
            ]
        return [walk for walk in walks if not walk[-1][0].startswith("m.")]


def _rows(triples: list[tuple[str, str, str]], loose: list[bool]) -> list[tuple[str, ...]]:
    return [(*t, "x;undirected") if flag else t for t, flag in zip(triples, loose, strict=False)]


@settings(max_examples=80, deadline=None)
@given(_TRIPLES, _LOOSE, st.lists(_ENTITY, min_size=1, max_size=2, unique=True))
def test_follow_and_evidence_agree_with_a_naive_executor(
    triples: list[tuple[str, str, str]], loose: list[bool], starts: list[str]
) -> None:
    rows = _rows(triples, loose)
    kb, naive = KnowledgeBase.from_triples(rows), Naive(rows)
    for path in _PATHS[::3] if len(starts) > 1 else _PATHS:
        walks = naive.walks(starts, path)
        ends = kb.follow(starts, path)
        assert sorted(ends) == sorted({walk[-1][0] for walk in walks})
        assert set(kb.evidence(starts, path)) == {triple for walk in walks for _, triple in walk[1:]}
        if ends:
            wanted = {triple for walk in walks if walk[-1][0] == ends[0] for _, triple in walk[1:]}
            evidence = kb.evidence(starts, path, ends[:1])
            assert set(evidence) == wanted and len(evidence) == len(wanted)


@settings(max_examples=80, deadline=None)
@given(_TRIPLES, _LOOSE, _ENTITY)
def test_relation_paths_list_every_path_with_its_endpoints(
    triples: list[tuple[str, str, str]], loose: list[bool], topic: str
) -> None:
    kb = KnowledgeBase.from_triples(_rows(triples, loose))
    found = kb.relation_paths([topic], 3)
    listed = {(tuple(r for r, _ in path), tuple(kb.follow([topic], path))) for path in found}
    for path, count in found.items():
        assert count == len(kb.follow([topic], path)) > 0
    for path in _PATHS:
        there_and_back = any(a[0] == b[0] and a[1] == -b[1] for a, b in itertools.pairwise(path))
        if not there_and_back and (ends := kb.follow([topic], path)):
            assert path in found or (any(loose) and (tuple(r for r, _ in path), tuple(ends)) in listed)


# ---- pruning, labels, passages -------------------------------------------------------------------------------------


def test_a_step_straight_back_counts_only_if_it_reaches_something_new(family: KnowledgeBase) -> None:
    found = family.relation_paths(["Ann"], 3)
    assert found[UP, DOWN] == 2  # the siblings
    assert (*MARRIED, (MARRIED[1][0], -1)) not in found
    assert (("people.person.birth_place", -1), ("people.person.birth_place", 1)) not in family.relation_paths(
        ["Rome"], 2
    )


def test_frontiers_beyond_max_nodes_are_listed_but_not_extended() -> None:
    kb = KnowledgeBase.from_triples(
        [("a", "r", f"n{i}") for i in range(30)]
        + [(f"n{i}", "s", "z") for i in range(30)]
        + [("a", "t", "b"), ("b", "s", "c")]
    )
    assert kb.relation_paths(["a"], 2, max_nodes=30)[("r", 1), ("s", 1)] == 1
    assert kb.relation_paths(["a"], 2, max_nodes=29) == {(("r", 1),): 30, (("t", 1),): 1, (("t", 1), ("s", 1)): 1}


def test_labels_read_well_and_are_distinct(family: KnowledgeBase) -> None:
    assert family.label((UP, DOWN)) == "person parent > inverse person parent"
    assert family.label((("people.person.birth_place", 1),)) == "person birth place"
    names = ["x.a.b", "y.a.b", "a.b", "a_b", "inverse a.b", "a > b", "a", "b", "a.b (2)", ".", "_", "p.q.r..s.t.u"]
    kb = KnowledgeBase.from_triples([("h", name, "t") for name in names])
    steps = [(name, sign) for name in names for sign in (1, -1)]
    paths = [*itertools.product(steps), *itertools.product(steps, steps)]
    assert len({kb.label(path) for path in paths}) == len(paths)
    assert kb.label((("x.a.b", 1),)) == "x a b"  # "a b" is taken: the full name
    assert kb.label((("p.q.r..s.t.u", 1),)) == "q r t u"


def test_passages_inline_unnamed_nodes_and_break_at_the_word_limit(family: KnowledgeBase) -> None:
    assert write_passage(family, "Ann") == (
        "Ann people person parent Eve . Ann people person marriage people marriage spouse Dan . "
        "Ann people person marriage people marriage year 1999 ."
    )
    assert list_passage_triples(family, "Ann") == [FAMILY[0], FAMILY[3], FAMILY[4], FAMILY[5]]
    assert write_passage(family, "Ann", 7) == "Ann people person parent Eve ."
    assert list_passage_triples(family, "Ann", 7, 1) == [FAMILY[3], FAMILY[4]]
    assert (
        write_passage(family, "Rome") == ""
        and list_passage_triples(family, "Rome") == []
        and write_passage(family, "Ann", 7, 9) == ""
    )
    assert [entity for entity, _ in write_passages(family, 7)] == ["Ann"] * 3 + ["Eve", "Bob", "Cid"]
    assert [text for entity, text in write_passages(family, 7) if entity == "Ann"] == [
        write_passage(family, "Ann", 7, i) for i in range(3)
    ]


# ---- real data -----------------------------------------------------------------------------------------------------


@needs_data
def test_real_hubs_stay_fast() -> None:
    began = time.perf_counter()
    kb = KnowledgeBase.load(KBQA_DATA / "fbmini" / "kb.tsv")
    loaded = time.perf_counter()
    hub = kb.relation_paths(["United States of America"], 2)
    assert (len(kb), sum(map(kb.is_cvt, kb.entities))) == (82_592, 16_767)
    assert len(hub) > 1000 and loaded - began < 5 and time.perf_counter() - loaded < 2  # generous: cores are shared
    brother = (("people.person.sibling_s", 1), ("people.sibling_relationship.sibling", 1))
    assert "Jaxon Bieber" in kb.follow(["Justin Bieber"], brother)


@needs_data
@pytest.mark.parametrize(("hops", "exact"), [(2, 0.995), (3, 1.0)])
def test_metaqa_gold_is_the_endpoint_set(hops: int, exact: float) -> None:
    kb = KnowledgeBase.load(KBQA_DATA / "metaqa" / "kb.txt")
    relations = {"director": "directed_by", "actor": "starred_actors", "writer": "written_by", "genre": "has_genre"}
    relations |= {"language": "in_language", "year": "release_year"}
    folder = KBQA_DATA / "metaqa" / f"{hops}-hop"
    lines = (folder / "qa_dev.txt").read_text().splitlines()[::40]
    types = (folder / "qa_dev_qtype.txt").read_text().splitlines()[::40]
    right = []
    for line, kind in zip(lines, types, strict=True):
        question, answers = line.split("\t")
        nodes = itertools.pairwise(kind.split("_to_"))
        path = tuple((relations[b], 1) if a == "movie" else (relations[a], -1) for a, b in nodes)
        topic = question[question.index("[") + 1 : question.index("]")]
        right.append(set(kb.follow([topic], path)) == set(answers.split("|")))
    assert sum(right) >= exact * len(right)


def test_the_shuffled_control_keeps_all_but_the_facts() -> None:
    triples = [(f"h{n}", f"r{n % 2}", f"t{n}") for n in range(40)]
    kb = KnowledgeBase.from_triples(triples)
    control = kb.shuffled(0)
    assert sorted(control.entities) == sorted(kb.entities) and control.relations == kb.relations
    assert [row[:2] for row in control.triples()] == [row[:2] for row in kb.triples()]
    assert sum(kb.has(*row) for row in control.triples()) < 8
    assert list(kb.shuffled(0).triples()) == list(control.triples()) != list(kb.shuffled(1).triples())


def test_an_index_is_built_once_and_damage_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))
    file = tmp_path / "kb.tsv"
    file.write_text("Ann\tmother\tBob\nAnn\tmother\tCleo\nBob\tage\t7\tx;undirected\n")
    first = KnowledgeBase.load(file)
    (folder,) = (tmp_path / "home" / "kb").iterdir()
    again = KnowledgeBase.load(file)
    assert isinstance(again._index.edge_target.base, np.memmap) and not isinstance(
        first._index.edge_target.base, np.memmap
    )

    def content(kb: KnowledgeBase) -> list[object]:
        return [list(kb.triples()), kb.relation_paths(["Ann"], 2), kb.follow(["7"], (("age", 1),)), kb.entities]

    assert content(again) == content(first)
    for damaged in sorted(folder.iterdir()):
        damaged.write_bytes(damaged.read_bytes()[:-3])
        assert content(KnowledgeBase.load(file)) == content(first), damaged.name
        assert content(KnowledgeBase.load(file)) == content(first)
    monkeypatch.setenv("AGENTKD_HOME", str(file / "not a folder"))
    assert content(KnowledgeBase.load(file)) == content(first)
