"""A run in parts: every question in one part, and their merged run is the one that was never parted."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.config import GenerateConfig
from agentkd.errors import UserError
from agentkd.generate import generate
from agentkd.merge import merge
from agentkd.runs.parts import Part, read_part
from agentkd.runs.read import read_traces
from agentkd.teacher.cache import Cache
from tests.support.commands import call
from tests.support.mock_server import mock_server


@given(st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_parts_hold_every_item_once(count: int, total: int) -> None:
    items = list(range(count))
    sizes = []
    found: list[int] = []
    for number in range(1, min(count, total) + 1):
        own = Part(number, total).take(items)
        found += own
        sizes.append(len(own))
    assert sorted(found) == items and max(sizes) - min(sizes) <= 1
    for number in range(count + 1, total + 1):
        with pytest.raises(UserError, match="has no question"):
            Part(number, total).take(items)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/1000000"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(UserError, match=f"shard={text} is no part"):
        read_part(text)


def by_sample(run: Path) -> dict[tuple[str, int], str]:
    return {(trace.id, trace.sample): trace.hash for trace in read_traces(run)}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GenerateConfig:
    """Capitals without gold for a third of them, so that doubts and second choices count, too."""
    monkeypatch.chdir(tmp_path)
    lands = [f"Land {n}" for n in range(14)]
    facts = "".join(f"{land}\tcapital\tCity {n}\n{land}\tcurrency\tCoin {n % 5}\n" for n, land in enumerate(lands))
    (tmp_path / "kb.tsv").write_text(facts)
    rng = random.Random(0)
    rows = []
    for number, land in enumerate(lands):
        word, answer = rng.choice([("capital", f"City {number}"), ("currency", f"Coin {number % 5}")])
        row = {"question": f"what is the {word} of {land}", "topic_entities": [land], "split": "train"}
        rows.append(row | ({"answers": [answer]} if number % 3 else {}))
    (tmp_path / "ask.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return GenerateConfig(
        task="ask.jsonl", kb="kb.tsv", retriever="bm25", agent="top-path", teacher="none", samples=2, rationalise=True
    )


def test_merged_parts_are_the_whole_run(config: GenerateConfig, tmp_path: Path) -> None:
    whole = generate(config.model_copy(update={"out": "whole"}))
    parts = []
    for number in range(1, 4):
        made = generate(config.model_copy(update={"shard": f"{number}/3"}))
        assert made["out"].endswith(f"-{number}-of-3")
        parts.append(Path(made["out"]))
    merged = merge(parts, Path("merged"))
    assert by_sample(Path("merged")) == by_sample(Path("whole"))
    same = whole.keys() - {"out", "model_seconds"}
    assert {name: merged[name] for name in same} == {name: whole[name] for name in same}
    assert merge(parts, Path("merged")) == merged  # again: it is complete
    assert generate(config.model_copy(update={"out": "merged"})) == merged  # and goes on as any other


def test_the_ledger_is_the_sum_and_nothing_is_asked_again(config: GenerateConfig) -> None:
    with mock_server() as server:
        asking = config.model_copy(
            update={"agent": "kd-cot", "teacher": server.spec, "samples": 1, "rationalise": False}
        )
        parts = [Path(generate(asking.model_copy(update={"shard": f"{n}/2"}))["out"]) for n in (1, 2)]
        asked = len(server.requests)
        merge(parts, Path("merged"))
        assert len(server.requests) == asked
    paid = [Cache(part / "cache") for part in parts]
    assert Cache(Path("merged/cache")).tokens == sum(cache.tokens for cache in paid) > 0


def test_wrong_parts_are_one_line(
    config: GenerateConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (generate(config.model_copy(update={"shard": f"{n}/3"}))["out"] for n in (1, 2))
    other = generate(config.model_copy(update={"shard": "3/3", "seed": 5, "out": "other"}))["out"]
    whole = generate(config.model_copy(update={"out": "whole"}))["out"]
    shutil.copytree(one, "copy")
    capsys.readouterr()
    for words, said in (
        ([one, two], "part 3 is missing"),
        ([one, two, "copy"], "are both part 1"),
        ([one, two, other], "they are no parts of one run"),
        ([one, whole], "generate made it without shard"),
        ([one, "nowhere"], "not a run directory"),
    ):
        code, _, error = call(["merge", *words, "--out", "merged"], monkeypatch, capsys)
        assert code == 2 and said in error and len(error.strip().splitlines()) == 1
    Path(one, "manifest.json").unlink()
    code, _, error = call(["merge", one, two, other, "--out", "merged"], monkeypatch, capsys)
    assert code == 2 and "is not finished" in error and not Path("merged").exists()
    for words in (["eval"], ["elicit", "labeling"]):
        code, _, error = call([*words, "shard=1/2"], monkeypatch, capsys)
        assert code == 2 and "is for generate" in error
