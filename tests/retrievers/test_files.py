"""The files of knowledge bases: every form is read by the reader and by the checker alike, or refused in one line."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from agentkd.errors import UserError
from agentkd.eval.faithful import RawKB
from agentkd.matching import clean_name
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import Triple
from tests.support.kb_forms import FORMS, ONE, PREFIXES, WD, rows, write


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes are kept by a file's content: those of another version must not answer."""
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))


def read(path: Path, columns: str | None = None) -> KnowledgeBase:
    """Read a knowledge base twice, from the file and from its index, and once with the checker's readers."""
    kb = KnowledgeBase.load(path, columns=columns)
    again = KnowledgeBase.load(path, columns=columns)
    assert list(kb.triples()) == list(again.triples()) and kb.describe() == again.describe()
    assert RawKB.load(path, columns=columns).triples == set(kb.triples())
    return kb


@pytest.mark.parametrize(("files", "wanted"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_every_form_gives_its_facts(tmp_path: Path, files: dict[str, str], wanted: list[Triple]) -> None:
    assert list(read(write(tmp_path, files)).triples()) == wanted


COLUMNS: list[tuple[str, str, str]] = [
    ("kb.csv", rows("film,director", "Alien,Ridley Scott"), "film,=directed by,director"),
    ("kb.csv", rows("film,filmLabel,p,pLabel", f"{WD}Q1,Alien,{WD}Q2,Ridley Scott"), "film,=directed by,p"),
    ("kb.csv", rows("7,Alien,directed by,Ridley Scott"), "2,3,4"),
    ("kb.tsv", rows("by\twhat\tof", "Ridley Scott\tdirected by\tAlien"), "of, what, by"),
    ("kb.csv", rows("object,predicate,subject", "Alien,directed by,Ridley Scott"), "1,2,3"),
    ("kb.jsonl", rows('{"a": "Alien", "b": "directed by", "c": "Ridley Scott"}'), "a,b,c"),
]


@pytest.mark.parametrize(("name", "text", "columns"), COLUMNS)
def test_the_user_can_settle_the_columns(tmp_path: Path, name: str, text: str, columns: str) -> None:
    kb = read(write(tmp_path, {name: text}), columns)
    assert list(kb.triples()) == ONE
    assert kb.sha256 != KnowledgeBase.load(write(tmp_path, {"same": rows("a\tb\tc")})).sha256


REFUSED: list[tuple[dict[str, str], str | None, str]] = [
    ({"kb.tsv": rows("?a\t?b\t?c", '"x"\t"y"\t"z"')}, None, r"kb\.tsv:1: the header .*--kb-columns"),
    ({"kb.tsv": rows("subject\tpredicate\tobjekt", "a\tb\tc")}, None, r"kb\.tsv:1: the header"),
    ({"kb.csv": rows("source,target,weight", "a,b,1")}, None, r"kb\.csv:1: the header"),
    ({"kb.csv": rows("film,filmLabel,director,directorLabel", "a,b,c,d")}, None, r"kb\.csv:1: the header"),
    ({"kb.csv": rows("head,relation,tail", "a,b")}, None, r"kb\.csv:2: not a triple"),
    ({"kb.csv": rows("head,relation,tail", "a,b,c,d")}, None, r"kb\.csv:2: .*4 cells, the first line has 3"),
    ({"kb.csv": rows("head,relation,tail", '"a"x,b,c')}, None, r"kb\.csv:2: not CSV"),
    ({"kb.csv": rows("head,relation,tail", "a,,c")}, None, r"kb\.csv:2: not a triple"),
    ({"kb.csv": rows("head,relation,tail")}, None, r"holds no triple"),
    ({"kb.csv": ""}, None, r"holds no triple"),
    ({"kb.jsonl": rows('{"h": "a", "r": "b", "t": "c"}', '{"h": "a"}')}, None, r"kb\.jsonl:2: no 'r'"),
    ({"kb.jsonl": rows('{"head": ["a"], "relation": "b", "tail": "c"}')}, None, r"kb\.jsonl:1: .*give a name"),
    ({"kb.jsonl": rows("{nothing")}, None, r"kb\.jsonl:1: not JSON"),
    ({"kb.tsv": rows("Ali\x01en\tb\tc")}, None, r"kb\.tsv:1: .*control character"),
    ({"kb.jsonl": rows('{"h": "Ali\\u0001en", "r": "b", "t": "c"}')}, None, r"kb\.jsonl:1: .*control character"),
    ({"kb.tsv": rows("a\tb\tc", "d\re\tf\tg")}, None, r"kb\.tsv:2: not a triple"),
    ({"kb.nt": rows("<http://a/b> <http://a/c> <http://a/d> .", "nonsense")}, None, r"kb\.nt:2: not n-triples"),
    ({"kb.ttl": "@prefix ex: <http://ex.org/> .\nex:a ex:b\n"}, None, r"kb\.ttl:3: not turtle"),
    ({"kb.jsonld": '{"@context": "https://schema.org", "@id": "http://x/a"}'}, None, r"kb\.jsonld.*@context"),
    ({"kb.tsv": "just, some, text\n"}, None, r"kb\.tsv:1: not a triple"),
    ({"g/nodes.csv": rows("id,name", "1,a"), "g/more.csv": rows("id,name", "2,b")}, None, r"no table has edges"),
    ({"g/n.csv": rows("id,name", "1,a"), "g/e.csv": rows("source,target", "1,1")}, None, r"e\.csv:1: no column"),
    ({"g/n.csv": rows("id,name", "1,a"), "g/x.csv": rows("u,v", "1,1")}, None, r"x\.csv:1: neither nodes nor edges"),
    ({"g/a.md": "", "g/b.md": ""}, None, r"holds no \.csv"),
    ({"kb.csv": rows("a,b,c", "1,2,3")}, "a,b", r"--kb-columns a,b: give three columns"),
    ({"kb.csv": rows("a,b,c", "1,2,3")}, "a,b,d", r"no column 'd'; it has: a, b, c"),
    ({"kb.csv": rows("a,b,c", "1,2,3")}, "1,2,4", r"no column '4'"),
    ({"kb.nt": ""}, "1,2,3", r"--kb-columns 1,2,3: .*is RDF"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "columns", "message"), REFUSED)
def test_what_cannot_be_told_is_refused_in_one_line(
    tmp_path: Path, files: dict[str, str], columns: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        KnowledgeBase.load(write(tmp_path, files), columns=columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a\tb\tc\n".encode("utf-16"), "UTF-16 text"),
        (b"PAR1\xff", "Parquet"),
        (b"PK\x03\x04\xff", "spreadsheet"),
        (b"caf\xe9\tr\tb\n", "UTF-8"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "kb.tsv").write_bytes(data)
    with pytest.raises(UserError, match=rf"kb\.tsv: cannot be read .*{message}"):
        KnowledgeBase.load(tmp_path / "kb.tsv")


SAID: list[tuple[dict[str, str], list[str]]] = [
    ({"kb.tsv": rows("a\tb\tc\tRidley Scott")}, ["1 fact, 1 relation, 2 names (first: a | b | c)",
     "columns after the third are not read, but for ';undirected' (first: 'Ridley Scott')"]),
    ({"kb.tsv": rows("a\tb\tm.0x")}, ["1 fact, 1 relation, 1 name, 1 unnamed node (first: a | b | m.0x)"]),
    ({"kb.csv": rows("to,p,from,weight", "a,b,c,3")}, ["1 fact", "columns: head 'from', relation 'p', tail 'to'",
     "columns that are not read: weight"]),
    ({"kb.ttl": PREFIXES + 'ex:a ex:t "x"@de, "y"@en .'}, ["1 fact", "1 values in other languages (de) are left out"]),
    ({"kb.csv": rows(*(f"h{n % 3},r{n},t{n % 4}" for n in range(30)))}, ["30 facts", "30 relations are many"]),
    ({"g/nodes.csv": rows("id,name", "1,a"), "g/edges.csv": rows("source,target,type,w", "1,9,to,3")},
     ["1 fact", "1 nodes of the edges are in no table and are called by their ids (first: '9')",
      "columns of edges that are not read: w"]),
]  # fmt: skip


@pytest.mark.parametrize(("files", "lines"), SAID)
def test_how_a_file_was_read_is_said(tmp_path: Path, files: dict[str, str], lines: list[str]) -> None:
    said = read(write(tmp_path, files)).describe()
    assert len(said) == len(lines) and all(part in line for part, line in zip(lines, said, strict=True)), said


def test_other_names_are_aliases(tmp_path: Path) -> None:
    turtle = 'ex:Q1 rdfs:label "Alien" ; skos:altLabel "Alien 1" ; schema:alternateName "Star Beast" ; ex:x ex:y .'
    kb = read(write(tmp_path, {"kb.ttl": PREFIXES + turtle}))
    assert [kb.find(name) for name in ("alien 1", "Star Beast", "Q1", "Alien 2")] == ["Alien", "Alien", "Alien", None]
    nodes = {
        "g/nodes.csv": rows("id,name,aliases", "1,Alien,Alien 1|Star Beast", "2,It,"),
        "g/e.csv": "s,p,o\n1,to,2\n",
    }
    kb = read(write(tmp_path, nodes))
    assert [kb.find(name) for name in ("Star Beast", "1", "2")] == ["Alien", "Alien", "It"]
    (tmp_path / "names.csv").write_text("entity,alias\nAlien,Ovomorph\nStar Beast II,Alien\nnobody,no one\n")
    kb = KnowledgeBase.load(tmp_path / "g", aliases=tmp_path / "names.csv")
    assert kb.find("ovomorph") == kb.find("Star Beast II") == "Alien"
    assert [line for line in kb.describe() if "of no known entity" in line and "2 more" in line]  # the header, nobody


def test_evidence_cites_the_file_where_it_spells_otherwise(tmp_path: Path) -> None:
    kb = read(write(tmp_path, {"kb.tsv": rows("Alien  \tby\tJose\u0301", "José\tin\tRome", "Rome\tin\tItaly")}))
    assert kb.cite(("Alien", "by", "José")) == "kb: Alien   | by | Jose\u0301"
    assert kb.cite(("José", "in", "Rome")) == kb.cite(("Rome", "in", "Italy")) == "kb"
    assert RawKB.load(tmp_path / "kb.tsv").has("Alien  ", "by", "Jose\u0301")  # traces of the file as it stood


def test_an_unknown_direction_is_read_from_each_form(tmp_path: Path) -> None:
    for name, text in {
        "kb.tsv": rows("a\tr\tb\tx;undirected"),
        "kb.csv": rows("head,relation,tail,provenance", "a,r,b,x;undirected"),
        "gephi.csv": rows("Source,Target,Type,Label", "a,b,Undirected,r"),
    }.items():
        kb, raw = read(write(tmp_path, {name: text})), RawKB.load(tmp_path / name)
        assert kb.has("b", "r", "a") and raw.has("b", "r", "a"), name


# ---- the round trip of names through every form --------------------------------------------------------------------

_LETTER = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
_PIECE = st.sampled_from(
    ['"', ",", ";", "|", "'", "\\", "<", ">", "@en", "e\u0301", "\u00a0", "\u200b", "C++", "3.14", "#"]
)
NAME = st.lists(_LETTER | _PIECE, min_size=1, max_size=6).map("".join).filter(clean_name)
FACTS = st.lists(st.tuples(NAME, NAME, NAME), min_size=1, max_size=5)


def as_csv(facts: list[Triple], separator: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([("head", "relation", "tail"), *facts])
    return text.getvalue()


def as_tsv(facts: list[Triple]) -> str:
    assume(not any('""' in cell or re.fullmatch('".*"', cell.strip()) for fact in facts for cell in fact))
    return rows("head\trelation\ttail", *("\t".join(fact) for fact in facts))


def as_jsonl(facts: list[Triple]) -> str:
    return rows(*(json.dumps(dict(zip(("subject", "predicate", "object"), fact, strict=True))) for fact in facts))


def as_graph(facts: list[Triple]) -> str:
    """A table of nodes and edges in one, as Neo4j exports it: ids in the edges."""
    ids = {clean_name(name): str(n) for n, name in enumerate(name for head, _, tail in facts for name in (head, tail))}
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["_id", "name", "_start", "_end", "_type"])
    out.writerows([number, name, "", "", ""] for name, number in ids.items())
    out.writerows(["", "", ids[clean_name(h)], ids[clean_name(t)], r] for h, r, t in facts)
    return text.getvalue()


def as_turtle(facts: list[Triple]) -> str:
    names = dict.fromkeys(clean_name(name) for fact in facts for name in fact[::2])
    nodes = {name: f"<http://ex.org/n{n}>" for n, name in enumerate(names)}
    ways = {name: f"<http://ex.org/r{n}>" for n, name in enumerate(dict.fromkeys(clean_name(f[1]) for f in facts))}
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    lines = [f"{iri} {label} {json.dumps(name, ensure_ascii=False)} ." for name, iri in [*nodes.items(), *ways.items()]]
    return rows(
        *lines, *(f"{nodes[clean_name(h)]} {ways[clean_name(r)]} {nodes[clean_name(t)]} ." for h, r, t in facts)
    )


def number_names(facts: list[Triple]) -> tuple[dict[str, str], dict[str, str]]:
    """Ids of the clean names of nodes, and of relations."""
    nodes = dict.fromkeys(clean_name(name) for fact in facts for name in fact[::2])
    ways = dict.fromkeys(clean_name(fact[1]) for fact in facts)
    return {name: f"Q{n}" for n, name in enumerate(nodes)}, {name: f"P{n}" for n, name in enumerate(ways)}


def as_bars(facts: list[Triple]) -> str:
    assume(not any("|" in cell for fact in facts for cell in fact))
    return rows("head|relation|tail", *("|".join(fact) for fact in facts))


def as_wikidata(facts: list[Triple]) -> str:
    nodes, ways = number_names(facts)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["item", "itemLabel", "property", "propertyLabel", "value", "valueLabel"])
    for names in facts:
        head, way, tail = map(clean_name, names)
        ids = f"{WD}entity/{nodes[head]}", f"{WD}prop/direct/{ways[way]}", f"{WD}entity/{nodes[tail]}"
        out.writerow([cell for pair in zip(ids, names, strict=True) for cell in pair])
    return text.getvalue()


def as_json_ld(facts: list[Triple]) -> str:
    nodes, ways = number_names(facts)
    named = [{"@id": f"ex:{key}", "rdfs:label": name} for name, key in [*nodes.items(), *ways.items()]]
    for names in facts:
        head, way, tail = map(clean_name, names)
        named.append({"@id": f"ex:{nodes[head]}", f"ex:{ways[way]}": {"@id": f"ex:{nodes[tail]}"}})
    context = {"ex": "http://ex.org/", "rdfs": "http://www.w3.org/2000/01/rdf-schema#"}
    return json.dumps({"@context": context, "@graph": named})


def as_rdf_xml(facts: list[Triple]) -> str:
    nodes, ways = number_names(facts)
    assume(all(ord(char) < 0xD800 for name in [*nodes, *ways] for char in name))  # XML lacks some of the others
    parts = [
        f'<rdf:Description rdf:about="http://ex.org/{key}"><rdfs:label>{escape(name)}</rdfs:label></rdf:Description>'
        for name, key in [*nodes.items(), *ways.items()]
    ]
    for names in facts:
        head, way, tail = map(clean_name, names)
        edge = f'<ex:{ways[way]} rdf:resource="http://ex.org/{nodes[tail]}"/>'
        parts.append(f'<rdf:Description rdf:about="http://ex.org/{nodes[head]}">{edge}</rdf:Description>')
    spaces = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:ex="http://ex.org/"'
    spaces += ' xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#"'
    return f"<rdf:RDF {spaces}>{''.join(parts)}</rdf:RDF>"


WRITERS: dict[str, Callable[[list[Triple]], str]] = {
    "kb.nt": as_turtle,
    "kb.jsonld": as_json_ld,
    "kb.rdf": as_rdf_xml,
    "wd.csv": as_wikidata,
    "kb.txt": as_bars,
    "kb.csv": as_csv,
    "kb.tsv": as_tsv,
    "kb.jsonl": as_jsonl,
    "semi.csv": lambda facts: as_csv(facts, ";"),
    "neo.csv": as_graph,
    "kb.ttl": as_turtle,
    "kb.ttl.gz": as_turtle,
}


@pytest.mark.parametrize("name", WRITERS)
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@example([('"a" b', "r", "x"), ("a", "r", 'y"')])
@given(facts=FACTS)
def test_names_come_back_from_every_form(tmp_path: Path, name: str, facts: list[Triple]) -> None:
    file = write(tmp_path, {name: WRITERS[name](facts)})
    wanted = dict.fromkeys((clean_name(h), clean_name(r), clean_name(t)) for h, r, t in facts)
    kb = KnowledgeBase.load(file)
    assert list(kb.triples()) == list(wanted)
    assert RawKB.load(file).triples == set(wanted)
    for head, relation, tail in wanted:
        assert kb.has(head, relation, tail) and kb.find(head) == head


@pytest.mark.parametrize(("first", "said"), [("film\tproperty\tdirector", True), ("Alien\tfollowed by\tAliens", False)])
def test_a_header_of_strange_words_is_asked_about(first: str, said: bool, tmp_path: Path) -> None:
    rows = "Alien\tdirected by\tRidley Scott\nBlade Runner\tdirected by\tRidley Scott\n"
    lines = read(write(tmp_path, {"kb.tsv": f"{first}\n{rows}"})).describe()
    assert any("if that line is a header" in line and "--kb-columns" in line for line in lines) == said
