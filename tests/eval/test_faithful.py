"""The faithfulness checker: good chains pass, and each way of corrupting one is caught."""

import ast
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentkd.eval.faithful
import agentkd.eval.raw_graphs
import agentkd.eval.raw_kb
from agentkd.errors import UserError
from agentkd.eval.faithful import RawKB
from agentkd.eval.raw_kb import Triple
from tests.support.paths import KBQA_DATA

KB = """\
Marie Curie\tspouse\tPierre Curie\trog
Marie Curie\tborn_in\tWarsaw\trog
Pierre Curie\tborn_in\tParis\trog,pog;undirected
Warsaw\tcountry\tPoland

The Piano\tdirector\tJane Campion\tundirected
Jamaica\tcurrency\tJamaican dollar\trog
Jamaican dollar\tused_in\tJamaica\trog
Titanic\tbased_on\tTitanic\trog
25.0\tscore_of\tGame\trog
250\theight_of\tTower\trog
"""
SPOUSE: Triple = ("Marie Curie", "spouse", "Pierre Curie")
BORN: Triple = ("Pierre Curie", "born_in", "Paris")
TOPICS = ["marie curie"]


@pytest.fixture(name="kb")
def kb_fixture(tmp_path: Path) -> RawKB:
    (tmp_path / "kb.tsv").write_text(KB, encoding="utf-8")
    return RawKB.load(tmp_path / "kb.tsv")


def test_load_and_direction(kb: RawKB) -> None:
    assert len(kb) == 10
    assert kb.has(*SPOUSE)
    assert kb.has("Warsaw", "country", "Poland")
    assert not kb.has("Pierre Curie", "spouse", "Marie Curie")  # directed
    assert kb.has(*BORN) and kb.has("Paris", "born_in", "Pierre Curie")  # flagged undirected
    assert not kb.has("Jane Campion", "director", "The Piano")  # a source called "undirected" is no flag
    assert not kb.has("marie curie", "spouse", "pierre curie")  # verbatim


def test_an_undirected_triple_need_not_be_given_twice() -> None:
    kb = RawKB([SPOUSE], undirected=[BORN])
    assert len(kb) == 2 and kb.has(*BORN) and kb.has(*BORN[::-1])


def test_gzip_and_metaqa_read_the_same(tmp_path: Path, kb: RawKB) -> None:
    with gzip.open(tmp_path / "kb.tsv.gz", "wt", encoding="utf-8") as out:
        out.write(KB)
    (tmp_path / "kb.txt").write_text("Jaws|directed_by|Steven Spielberg\r\n$|has_tags|bd-r\n", encoding="utf-8")
    assert len(RawKB.load(tmp_path / "kb.tsv.gz")) == len(kb)
    metaqa = RawKB.load(str(tmp_path / "kb.txt"))
    assert metaqa.has("Jaws", "directed_by", "Steven Spielberg") and not metaqa.has("bd-r", "has_tags", "$")
    assert metaqa.chain_exists([("$", "has_tags", "bd-r")], ["$"], "bd-r")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("kb.tsv", b"a\tr\tb\na\tr\n", r"kb\.tsv:2: .*no triple"),
        ("kb.tsv", b"a\tr\tb\na|r|b\n", r"kb\.tsv:2: "),  # one separator a file
        ("kb.tsv", b"a\t\tb\n", r"kb\.tsv:1: "),
        ("kb.txt", b"a|r|b|c\n", r"kb\.txt:1: "),
        ("kb.tsv", b"\n\n", r"no triples"),
        ("kb.tsv", b"\xff\tr\tb\n", r"not UTF-8"),
        ("kb.tsv.gz", b"not gzip", r"cannot read"),
        ("kb.tsv.gz", gzip.compress(KB.encode(), mtime=0)[:40], r"cannot read"),
        ("kb.tsv", None, r"cannot read .*No such file"),
    ],
)
def test_a_bad_file_is_one_line_with_the_place(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        RawKB.load(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("evidence", "topics", "answer"),
    [
        ([SPOUSE], TOPICS, "Pierre Curie"),
        ([SPOUSE, BORN], TOPICS, "paris!"),  # two hops; ends are compared after normalisation
        ([BORN, SPOUSE], TOPICS, "Paris"),  # order does not matter
        ([SPOUSE, ("Paris", "born_in", "Pierre Curie")], TOPICS, "Paris"),  # undirected, cited the other way round
        ([SPOUSE, BORN], ["Paris"], "Marie Curie"),  # a walk may go against the triples' direction
        ([SPOUSE, BORN], ["Nobody", "Marie Curie"], "Paris"),  # any topic will do
        ([SPOUSE, BORN, ("Paris", "capital_of", "Spain")], TOPICS, "Paris"),  # a false triple that nothing needs
        ([SPOUSE], ["Marie Curie", "Pierre Curie"], "Pierre Curie"),  # the answer is another topic
        ([("Titanic", "based_on", "Titanic")], ["Titanic"], "Titanic"),  # the answer is the topic: a loop ...
        (
            [("Jamaica", "currency", "Jamaican dollar"), ("Jamaican dollar", "used_in", "Jamaica")],
            ["Jamaican dollar"],
            "Jamaican dollar",
        ),  # ... or a cycle of two different triples
    ],
)
def test_good_chains(kb: RawKB, evidence: list[Triple], topics: list[str], answer: str) -> None:
    assert kb.chain_exists(evidence, topics, answer)


@pytest.mark.parametrize(
    ("evidence", "topics", "answer"),
    [
        ([], TOPICS, "Paris"),  # no evidence
        ([], TOPICS, "Marie Curie"),  # the topic proves nothing about itself
        ([SPOUSE], TOPICS, "Marie Curie"),  # there and back over one triple
        ([BORN, ("Paris", "born_in", "Pierre Curie")], ["Paris"], "Paris"),  # one undirected triple, cited both ways
        ([SPOUSE, ("Pierre Curie", "born_in", "Lyon")], TOPICS, "Lyon"),  # fabricated tail
        ([SPOUSE, ("Pierre Curie", "lived_in", "Paris")], TOPICS, "Paris"),  # wrong relation
        ([("Pierre Curie", "spouse", "Marie Curie"), BORN], TOPICS, "Paris"),  # swapped, and not undirected
        ([BORN], TOPICS, "Paris"),  # does not touch the topic
        ([SPOUSE, ("Warsaw", "country", "Poland")], TOPICS, "Poland"),  # a gap in the middle
        ([SPOUSE, BORN], TOPICS, "Warsaw"),  # does not reach the answer, though the KB could
        (
            [("Jamaica", "currency", "Jamaican dollar"), ("Jamaican dollar", "used_in", "Jamaica"), BORN],
            ["Jamaican dollar"],
            "Paris",
        ),  # a cycle at the topic says nothing about another answer
        ([SPOUSE, BORN], TOPICS, ""),
        ([SPOUSE, BORN], ["", "  "], "Paris"),
        ([("Game", "x", "25.0")], ["Game"], "25.0"),
        ([("25.0", "score_of", "Game"), ("250", "height_of", "Tower")], ["Game"], "Tower"),  # merged by normalisation
    ],
)
def test_corrupted_chains(kb: RawKB, evidence: list[Triple], topics: list[str], answer: str) -> None:
    assert not kb.chain_exists(evidence, topics, answer)


def test_faithful_is_the_share_of_correct_answers(kb: RawKB) -> None:
    good = (TOPICS, ["Paris", "Pierre Curie", "pierre curie"], [SPOUSE, BORN])  # the third is the second again
    bad = (TOPICS, ["Poland"], [SPOUSE])
    assert kb.faithful_ratio([good]) == 1.0
    assert kb.faithful_ratio([good, bad]) == pytest.approx(2 / 3)
    assert kb.faithful_ratio([bad]) == 0.0
    assert kb.faithful_ratio([]) is None
    assert kb.faithful_ratio([(TOPICS, [], [SPOUSE]), (TOPICS, [" "], [SPOUSE])]) is None


NODES = st.sampled_from([f"node {i}" for i in range(6)])
TRIPLES = st.lists(st.tuples(NODES, st.sampled_from(["r", "s"]), NODES), max_size=8)


@given(TRIPLES, TRIPLES, TRIPLES, NODES, NODES)
def test_more_evidence_never_loses_a_chain_and_invented_evidence_never_makes_one(
    stored: list[Triple], cited: list[Triple], more: list[Triple], topic: str, answer: str
) -> None:
    kb = RawKB(stored)
    found = kb.chain_exists(cited, [topic], answer)
    assert kb.chain_exists([*cited, *more], [topic], answer) or not found
    assert kb.chain_exists([triple for triple in cited if triple in stored], [topic], answer) == found
    assert kb.chain_exists(cited[::-1], [topic], answer) == found


def test_the_checker_is_independent() -> None:
    """It may share the spelling rule, and nothing else, with what it checks."""
    own = {"agentkd.eval.raw_kb", "agentkd.eval.raw_graphs"}
    for checker in (agentkd.eval.faithful, agentkd.eval.raw_kb, agentkd.eval.raw_graphs):
        tree = ast.parse(Path(checker.__file__).read_text(encoding="utf-8"))
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        assert {m for m in modules if m.startswith("agentkd")} - own == {"agentkd.errors", "agentkd.matching"}


def test_real_knowledge_bases() -> None:
    root = KBQA_DATA
    if not root.is_dir():
        pytest.skip(f"no evaluation data at {root}: set AGENTKD_DATA")
    freebase = RawKB.load(root / "fbmini" / "kb.tsv")
    assert len(freebase) == 82_592
    assert freebase.has("#223898", "law.us_patent.inventor", "Thomas Edison")
    assert not freebase.has("Thomas Edison", "law.us_patent.inventor", "#223898")
    assert len(RawKB.load(root / "pathquestion" / "2H-kb.txt")) == 1_211
    kb = RawKB.load(root / "pathquestion" / "3H-kb.txt")
    checked = 0
    for line in (root / "pathquestion" / "PQ-3H.txt").read_text(encoding="utf-8").splitlines()[::50]:
        topic, r1, e1, r2, e2, r3, answer = line.split("\t")[2].split("#")[:7]
        chain = [(topic, r1, e1), (e1, r2, e2), (e2, r3, answer)]
        if len({topic, e1, e2, answer}) == 4:  # "her children's mother" comes back to the topic: one triple would do
            assert kb.chain_exists(chain, [topic], answer), line
            for i, (head, relation, tail) in enumerate(chain):
                assert not kb.chain_exists([*chain[:i], (head, "wrong", tail), *chain[i + 1 :]], [topic], answer), line
                if not kb.has(tail, relation, head):
                    swapped = [*chain[:i], (tail, relation, head), *chain[i + 1 :]]
                    assert not kb.chain_exists(swapped, [topic], answer), line
            checked += 1
    assert checked > 20


def test_corrupted_traces_of_a_real_run_are_rejected(tmp_path: Path) -> None:
    """At least 200 corruptions (wrong relation, entity, direction) of the facts next to a proven answer: 99 % are
    rejected, and of the untouched chains at most 1 %."""
    from agentkd.config import GenerateConfig
    from agentkd.eval.bench.truth.faithful import bench_faithful
    from agentkd.generate import generate

    run = tmp_path / "run"
    generate(GenerateConfig(agent="top-path", retriever="bm25", limit=150, samples=2, temperature=0, out=str(run)))
    report = bench_faithful(run, corruptions=300, seed=0)
    assert report["corrupted"] >= 200 and report["rejected"] >= 99, report
    assert report["good"] >= 50 and report["good_rejected"] <= 1, report


def test_a_checker_that_believes_everything_is_found_out(tmp_path: Path) -> None:
    from agentkd.config import GenerateConfig
    from agentkd.eval.bench.truth.faithful import corrupt
    from agentkd.generate import generate
    from agentkd.runs.read import read_traces
    from agentkd.tasks.load import load_task

    class Credulous(RawKB):
        def chain_exists(self, evidence: object, topics: object, answer: object) -> bool:
            return True

    run = tmp_path / "run"
    generate(GenerateConfig(agent="top-path", retriever="bm25", limit=20, out=str(run)))
    kb_path = load_task("geo").kb_path
    assert kb_path is not None
    good, rejected = corrupt(Credulous.load(kb_path), read_traces(run), corruptions=30, seed=0)
    assert all(good) and not any(map(any, rejected.values()))
