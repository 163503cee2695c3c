"""Another path for doubtful questions: chosen by the kinds of answers, proven like any other, and marked."""

from __future__ import annotations

import json
from pathlib import Path

from agentkd.agents.survey import proven_label, read_survey, surveyed_derivations
from agentkd.config import GenerateConfig
from agentkd.distill.data.dataset import load_dataset
from agentkd.doubts.check import RunCheck
from agentkd.doubts.checks import Checks, Proven
from agentkd.doubts.review import make_trust_check
from agentkd.generate import generate
from agentkd.proof import Derivation, Proof
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.runs.read import read_traces
from tests.doubts.conftest import ALBUMS, BANDS, MakeTrace
from tests.support.traces import write_run

ALBUM = (("performed by", -1),)
LABELS = (*ALBUM, ("record label", 1))
YEAR = (("release year", 1),)
LABEL = (("record label", 1),)


def test_the_beginning_of_a_path_that_went_too_far(music: KnowledgeBase, trace: MakeTrace) -> None:
    wrong = Proven(trace("Which albums did Anchors record?", "Anchors", LABELS), music)
    assert Checks([wrong], music).choose_again(wrong, []) == ALBUM


def test_a_path_of_the_survey_and_none_where_nothing_fits(music: KnowledgeBase, trace: MakeTrace) -> None:
    wrong = Proven(trace("When was Amber Door released?", "Amber Door", LABEL), music)
    checks = Checks([wrong], music)
    assert checks.choose_again(wrong, [Derivation(LABEL), Derivation(YEAR)]) == YEAR
    assert checks.choose_again(wrong, [Derivation(LABEL)]) is None


def test_of_a_mixture_its_own_part_is_taken(music: KnowledgeBase, trace: MakeTrace) -> None:
    mixed = Proven(trace("When was Amber Door released?", "Amber Door", LABEL, YEAR), music)
    others = [Derivation((("produced by", 1),))]
    assert Checks([mixed], music).choose_again(mixed, others) == YEAR
    unclear = Proven(trace("What is known of Amber Door?", "Amber Door", LABEL, YEAR), music)
    assert Checks([unclear], music).choose_again(unclear, others) is None


def test_a_question_with_a_sure_sample_has_no_second_choice(
    tmp_path: Path, music: KnowledgeBase, trace: MakeTrace
) -> None:
    wrong = [trace(f"Which albums did {band} record?", band, LABELS) for band in BANDS]
    right = trace("Which albums did Keys record?", "Keys", ALBUM, sample=1)
    run = write_run(tmp_path / "run", [*wrong, right])
    check = RunCheck(run, music, {item.id for item in wrong})
    assert check.second_choices(surveyed_derivations) == {
        f"Which albums did {band} record?": ALBUM for band in ("Anchors", "Lanterns")
    }


def test_a_run_makes_them_once_and_distill_learns_them(tmp_path: Path) -> None:
    rows = [(name, relation, value) for name, row in ALBUMS.items() for relation, value in
            zip(("performed by", "record label", "release year", "produced by"), row, strict=True)]  # fmt: skip
    (tmp_path / "music.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    questions = [(f"Which albums did {band} record, on whatever label?", band) for band in BANDS]
    lines = [json.dumps({"question": text, "topic_entities": [topic]}) for text, topic in questions]
    (tmp_path / "music.jsonl").write_text("\n".join(lines))
    config = GenerateConfig(
        task=str(tmp_path / "music.jsonl"), kb=str(tmp_path / "music.tsv"), agent="top-path", retriever="bm25",
        out=str(tmp_path / "run"),
    )  # fmt: skip
    first = generate(config)
    assert (first["traces"], first["doubtful"], first["second_choices"]) == (3, 3, 3)
    shards = (tmp_path / "run" / "traces-0.jsonl").read_bytes()
    assert generate(config) == first and (tmp_path / "run" / "traces-0.jsonl").read_bytes() == shards
    second = [trace for trace in read_traces(tmp_path / "run") if Proof.of(trace).second_choice]
    assert {trace.answers for trace in second} == {
        ("Amber Door", "Late Echo"), ("Pale River", "Open Yard"), ("Kind Night",)
    }  # fmt: skip
    assert all(trace.verified and proven_label(trace) == "inverse performed by" for trace in second)
    assert all(len((read_survey(trace) or {})["candidates"]) <= 5 for trace in second)
    check = make_trust_check(tmp_path / "run", doubtful=False)
    learned = load_dataset(tmp_path / "run", refused_by=check)
    assert {example.target for example in learned.examples} == {"inverse performed by"}
    assert learned.left_out == {"doubtful (answers may not be what was asked)": 3}
    blind = load_dataset(tmp_path / "run", second_choice=False)
    assert {example.target for example in blind.examples} == {"inverse performed by > record label"}
