"""Traces into examples: only what is verified and readable, nothing twice, nothing cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.base import Option, survey_step
from agentkd.config import GenerateConfig
from agentkd.distill.dataset import build, load, one_call_example, tokenise
from agentkd.errors import UserError
from agentkd.models import find_weights
from agentkd.store import Run
from agentkd.trace import Step, Trace, Verdict

CAPITAL = (("capital", 1),)


def make(
    name: str, *, question: str | None = None, verified: bool = True, shown: bool = True, sample: int = 0
) -> Trace:
    options = [Option(CAPITAL if shown else (("river", 1),), "capital" if shown else "river", ("Paris",))]
    gold = Step(kind="gold", verdict=Verdict(ok=True, rung="gold"), reward=1.0)
    fields: dict[str, Any] = {"answers": ("Paris",), "provenance": {"path": CAPITAL, "topics": ["France"]}}
    return Trace.close(
        id=name,
        sample=sample,
        task="geo",
        question=question or f"What is the capital of {name}?",
        steps=(survey_step(options, ["France"]), gold),
        verified=verified,
        verdict=Verdict(ok=verified, rung="gold"),
        teacher="t",
        **fields,
    )


def write_run(path: Path, traces: list[Trace]) -> Path:
    with Run(path, "generate", GenerateConfig(task="geo"), {}) as run:
        for trace in traces:
            run.append(trace)
        run.finish({})
    return path


def test_what_is_left_out_is_counted() -> None:
    traces = [
        make("a"),
        make("b", verified=False),
        make("c", question="what is THE capital of a"),
        make("d", shown=False),
        make("a", sample=1),
    ]
    found = build(traces)
    assert [example.id for example in found.examples] == ["a"]
    assert found.left_out == {"not verified": 1, "question seen before": 2, "path not in the survey": 1}


def test_the_hash_knows_the_content_and_not_the_order() -> None:
    assert build([make("a"), make("b")]).hash == build([make("b"), make("a")]).hash != build([make("a")]).hash


def test_an_example_holds_the_survey_and_the_proven_path_and_no_gold() -> None:
    example = one_call_example(make("a"))
    assert example is not None
    assert example.target.splitlines()[0].endswith("capital") and example.target.splitlines()[-1] == "Paris"
    assert "Paris" in example.messages[-1].content  # from the survey
    assert not any("gold" in message.content.lower() for message in example.messages)


def test_an_empty_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing to learn from.*2 traces, 2 not verified; generate more"):
        load(write_run(tmp_path / "run", [make("a", verified=False), make("b", verified=False)]))


def test_only_the_target_is_learned_and_it_ends(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(find_weights("smollm2-135m"))
    example = one_call_example(make("a"))
    assert example is not None
    row = tokenise(example, tokenizer)
    start = sum(label == -100 for label in row["labels"])
    assert row["labels"] == [-100] * start + row["input_ids"][start:]
    assert tokenizer.decode(row["input_ids"][start:-1]) == example.target
    assert row["input_ids"][-1] == tokenizer.eos_token_id
    assert tokenizer.decode(row["input_ids"][:start]).endswith("<|im_start|>assistant\n")
