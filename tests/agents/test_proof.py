"""The typed proof of a trace: written as the JSON that the traces of earlier versions hold, and read back from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkd.agents.survey import followed_label, proven_label, read_survey
from agentkd.proof import Derivation, Proof
from agentkd.trace import Trace, content_hash

LINES = (Path(__file__).parent / "traces.jsonl").read_text().splitlines()
TRACES = [Trace.model_validate_json(line) for line in LINES]


@pytest.mark.parametrize(("line", "trace"), list(zip(LINES, TRACES, strict=True)))
def test_a_proof_is_written_as_it_was_read(line: str, trace: Trace) -> None:
    """Fields, their order, null and what is left out: the hash of the trace does not change."""
    proof = Proof.of(trace)
    again = trace.model_copy(update={"provenance": proof.record()})
    assert again.content_hash() == trace.hash == json.loads(line)["hash"]
    assert again.model_dump_json() == line
    assert content_hash(json.loads(json.dumps(proof.record()))) == content_hash(trace.provenance)


def test_the_traces_hold_every_field() -> None:
    proofs = [Proof.of(trace) for trace in TRACES]
    later = {"second_choice"}
    assert set[str]().union(*(proof.model_fields_set for proof in proofs)) == set(Proof.model_fields) - later
    assert any(proof.joins for proof in proofs) and any(proof.constraint for proof in proofs)
    assert any(proof.others for proof in proofs) and any(proof.path is None for proof in proofs)


def test_a_trace_follows_paths_of_its_survey() -> None:
    for trace in TRACES:
        proof, survey = Proof.of(trace), read_survey(trace)
        shown = {candidate["label"] for candidate in survey["candidates"]} if survey else set()
        label = followed_label(trace)
        assert (label is not None) == (survey is not None and proof.first != Derivation())
        assert label is None or set(label.split(" + ")) <= shown
        assert proven_label(trace) == (label if trace.verified else None)
        assert proven_label(trace.model_copy(update={"verified": False})) is None
