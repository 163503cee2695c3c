"""The same questions to a real SPARQL server (oxigraph) and to the knowledge base in memory give the same answers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkd.cli.main import run_command
from agentkd.config import EvalConfig
from agentkd.errors import UserError, WorldError
from agentkd.eval.kbqa import evaluate
from agentkd.retrievers.bm25 import BM25Paths
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import RelationPath
from agentkd.retrievers.sparql import SparqlKB
from agentkd.tasks.load import load_task

BASE = "http://example.org/"
FACTS = [
    ("Ann", "mother_of", "Bob"),
    ("Ann", "mother_of", "Cleo"),
    ("Dan", "mother_of", "Bob"),
    ("Bob", "born_in", "Rome"),
    ("Cleo", "born_in", 'Ro"me \\2'),
    ("Ann", "marriage", "m.0abc"),
    ("m.0abc", "spouse", "Eve"),
    ("m.0abc", "year", "1999"),
    ("Rome", "population", "2,8 million"),
]
LITERAL = ("1999", "2,8 million")


def iri(name: str) -> str:
    return f"<{BASE}{urllib.parse.quote(name)}>"


def node(name: str) -> str:
    return json.dumps(name) if name in LITERAL else iri(name)


def label(name: str, tag: str = "@en") -> str:
    return f"{iri(name)} <http://www.w3.org/2000/01/rdf-schema#label> {json.dumps(name)}{tag} ."


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # a bare .venv/bin/pytest
    program = shutil.which("oxigraph", path=beside)
    if program is None:
        pytest.skip("no oxigraph: pip install oxigraph")
    lines = [f"{node(head)} {iri(relation)} {node(tail)} ." for head, relation, tail in FACTS]
    named = dict.fromkeys(name for head, _, tail in FACTS for name in (head, tail))
    lines += [label(name) for name in named if name not in LITERAL and name != "m.0abc"]
    lines += [f'{iri("Ann")} <http://www.w3.org/2000/01/rdf-schema#label> "Anne"@fr .']
    lines += [f"_:x {iri('spouse')} {iri('Eve')} .", f"{iri('Dan')} {iri('marriage')} _:x ."]
    wikidata = "http://www.wikidata.org/"
    lines += [
        f"<{wikidata}entity/Q1> <{wikidata}prop/direct/P19> <{wikidata}entity/Q2> .",
        f'<{wikidata}entity/Q1> <http://www.w3.org/2000/01/rdf-schema#label> "Douglas"@en .',
        f'<{wikidata}entity/Q2> <http://www.w3.org/2000/01/rdf-schema#label> "Cambridge"@en .',
        f"<{wikidata}entity/P19> <http://wikiba.se/ontology#directClaim> <{wikidata}prop/direct/P19> .",
        f'<{wikidata}entity/P19> <http://www.w3.org/2000/01/rdf-schema#label> "place of birth"@en .',
        f"<{wikidata}entity/Q1> <http://schema.org/about> <{wikidata}entity/Q2> .",
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([program, "serve", "--bind", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            data, kind = "\n".join(lines).encode(), {"Content-Type": "application/n-triples"}
            for _ in range(100):
                try:
                    urllib.request.urlopen(
                        urllib.request.Request(f"{url}/store?default", data, kind), timeout=5
                    ).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                pytest.fail("oxigraph does not start")
            yield f"{url}/query"
        finally:
            server.terminate()


@pytest.fixture
def kb(endpoint: str) -> SparqlKB:
    return SparqlKB(endpoint)


MEMORY = KnowledgeBase.from_triples(
    [(head, f"{BASE}{relation}", tail) for head, relation, tail in FACTS]
    + [("Dan", f"{BASE}marriage", "_:x"), ("_:x", f"{BASE}spouse", "Eve")]
)


def turns(path: RelationPath) -> bool:
    return len(path) > 2 and path[2] == (path[1][0], -path[1][1])


@pytest.mark.parametrize("topics", [["Ann"], ["Bob"], ["Ann", "Dan"], ["Rome"], ["Eve"], ['Ro"me \\2'], ["nobody"], []])
def test_paths_ends_and_evidence_are_those_in_memory(kb: SparqlKB, topics: list[str]) -> None:
    expected = {path: count for path, count in MEMORY.relation_paths(topics, 3).items() if not turns(path)}
    assert kb.relation_paths(topics, 3) == dict(sorted(expected.items()))
    for path in expected:
        assert kb.follow(topics, path) == sorted(MEMORY.follow(topics, path)), path
        cited = kb.evidence(topics, path)
        blank = {name: "m" for triple in cited for name in (triple[0], triple[2]) if kb.is_cvt(name)}
        facts = {(blank.get(h, h), r, blank.get(t, t)) for h, r, t in cited}
        assert facts == {
            tuple("m" if MEMORY.is_cvt(name) else name for name in triple) for triple in MEMORY.evidence(topics, path)
        }
        assert all(kb.has(*triple) for triple in cited)


def test_names_and_facts(kb: SparqlKB) -> None:
    assert kb.find("Ann") == "Ann" and kb.find("Anne") is None and "Ann" in kb and "nobody" not in kb
    assert kb.has("Rome", f"{BASE}population", "2,8 million") and not kb.has("Bob", f"{BASE}mother_of", "Ann")
    assert not kb.has("Dan", f"{BASE}mother_of", "Cleo") and not kb.has("_:y", f"{BASE}year", "1999")
    assert kb.label(((f"{BASE}mother_of", -1), (f"{BASE}born_in", 1))) == "inverse mother of > born in"
    assert SparqlKB(kb.url, language="fr").find("Anne") == "Anne"
    with pytest.raises(UserError, match="is no IRI"):
        kb.has("Ann", "x> ?y . ?z <p", "Bob")


def test_wikidata_is_spoken(endpoint: str) -> None:
    kb = SparqlKB(endpoint, dialect="wikidata")
    assert kb.find("Q1") == "Douglas"
    ((path, count),) = kb.relation_paths(["Douglas"], 2).items()
    assert kb.label(path) == "place of birth" and count == 1 and kb.follow(["Douglas"], path) == ["Cambridge"]


def test_a_retriever_works_on_it(kb: SparqlKB) -> None:
    best, *others = BM25Paths(kb).paths("whose mother is Ann", ["Ann"], 5, 2)
    assert best.label == "mother of" and kb.follow(["Ann"], best.path) == ["Bob", "Cleo"]
    assert "mother of > born in" in {item.label for item in others}


def test_own_questions_are_answered_from_an_endpoint(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "family.jsonl"
    row = {"id": "1", "question": "who is Ann the mother of", "topic_entities": ["Ann"], "answers": ["Bob", "Cleo"]}
    file.write_text(json.dumps({**row, "hops": 1}) + "\n")
    options = {"task": str(file), "kb": endpoint, "agent": "top-path", "retriever": "bm25", "split": "all"}
    report = evaluate(EvalConfig(**options, out=str(tmp_path / "out")))
    assert report["rows"][0]["f1"] == 100 and report["rows"][0]["faithful"] is None
    with pytest.raises(UserError, match="reads the whole knowledge base"):
        evaluate(EvalConfig(**{**options, "agent": "rag"}, teacher="none", out=str(tmp_path / "rag")))
    with pytest.raises(UserError, match=r"is for your own \.jsonl"):
        load_task("webqsp", kb=endpoint)


def test_a_server_that_is_none_or_gone(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(WorldError, match=r"failed 4 times.*is the endpoint up"):
        SparqlKB("http://127.0.0.1:9/query").find("Ann")
    with pytest.raises(UserError, match=r"is it a SPARQL 1\.1 endpoint"):
        SparqlKB(endpoint.replace("/query", "/nothing")).find("Ann")
    assert run_command(lambda: SparqlKB("http://127.0.0.1:9/query").find("Ann")) == WorldError.exit_code
