"""Traces into examples: only verified and readable ones, nothing twice, nothing cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.option import Option
from agentkd.agents.survey import survey_step
from agentkd.distill.data.dataset import Dataset, build_dataset, load_dataset, trl_row
from agentkd.distill.data.forms import Example, dialogue_examples, one_call_examples
from agentkd.distill.data.tokens import IGNORED, tokenise
from agentkd.errors import UserError
from agentkd.models import find_weights
from tests.support.traces import CAPITAL, make_trace, several_paths, write_run


def test_what_is_left_out_is_counted() -> None:
    traces = [
        make_trace("a"),
        make_trace("b", verified=False),
        make_trace("c", question="what is THE capital of a"),
        make_trace("d", shown=False),
        make_trace("a", sample=1),
    ]
    found = build_dataset(traces)
    assert [example.id for example in found.examples] == ["a"]
    assert found.left_out == {"not verified": 1, "question seen before": 2, "path not in the survey": 1}


def test_the_hash_knows_the_content_and_not_the_order() -> None:
    assert (
        build_dataset([make_trace("a"), make_trace("b")]).hash
        == build_dataset([make_trace("b"), make_trace("a")]).hash
        != build_dataset([make_trace("a")]).hash
    )


def test_an_example_holds_the_survey_and_the_proven_path_and_no_gold() -> None:
    (example,) = one_call_examples(make_trace("a"))
    assert example.target.splitlines()[0].endswith("capital") and example.target.splitlines()[-1] == "Paris"
    assert "Paris" in example.prompt[-1].content  # type: ignore[union-attr]  # from the survey
    assert not any("gold" in message.content.lower() for message in example.prompt)  # type: ignore[union-attr]


def test_an_empty_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing to learn from.*2 traces, 2 not verified; generate more"):
        load_dataset(write_run(tmp_path / "run", [make_trace("a", verified=False), make_trace("b", verified=False)]))


def test_what_is_asked_at_evaluation_is_left_out() -> None:
    found = build_dataset([make_trace("a"), make_trace("b")], held_out=lambda trace: trace.id == "b")
    assert [example.id for example in found.examples] == ["a"] and found.left_out == {"asked at evaluation": 1}


def test_refused_paths_stand_beside_the_verified_one() -> None:
    traces = several_paths("a")
    (example,) = build_dataset(traces, "path").examples
    assert (example.target, example.rejected) == ("capital", ("river", "border"))  # half right is not refused
    (control,) = build_dataset(traces[1:], "path", verified=False).examples
    assert control.target == "river"


def test_a_path_with_the_same_answers_is_a_target_too() -> None:
    trace = make_trace("a")
    shown = [Option(CAPITAL, "capital", ("Paris",)), Option((("seat", -1),), "inverse seat", ("Paris",))]
    more = [*shown, Option((("city", 1),), "city", ("Paris", "Lyon"))]
    seen = trace.model_copy(update={"steps": (survey_step(more, ["France"]), *trace.steps[1:])})
    assert [example.target for example in build_dataset([seen], "path").examples] == ["capital", "inverse seat"]


def several(*targets: str) -> Dataset:
    made = [
        Example(id=f"{n}", trace=f"t{n}", prompt=f"Question {n}", target=target) for n, target in enumerate(targets)
    ]
    return Dataset("path", made)


def test_a_limit_keeps_rare_targets() -> None:
    dataset = several(*["common"] * 20, "rare", "rarer")
    kept = dataset.limited(4, seed=0)
    assert {"rare", "rarer"} < {example.target for example in kept.examples} and len(kept.examples) == 4
    assert kept.left_out == {"over the limit": 18} and dataset.limited(22, seed=0) is dataset
    assert kept.hash == dataset.limited(4, seed=0).hash


def test_the_shuffled_control_moves_targets_and_keeps_tokens() -> None:
    dataset = several("a", "b", "c", "d", "e", "f")
    mixed = dataset.shuffled(seed=1)
    assert [e.prompt for e in mixed.examples] == [e.prompt for e in dataset.examples]
    assert sorted(e.target for e in mixed.examples) == ["a", "b", "c", "d", "e", "f"]
    assert [e.target for e in mixed.examples] != ["a", "b", "c", "d", "e", "f"]


def test_saved_as_jsonl_and_as_a_datasets_folder(tmp_path: Path) -> None:
    from datasets import load_from_disk

    for form in ("path", "one-call", "dialogue"):
        dataset = build_dataset([make_trace("a"), make_trace("b")], form)
        folder = tmp_path / form
        folder.mkdir()
        dataset.save(folder)
        lines = [json.loads(line) for line in (folder / "dataset.jsonl").read_text().splitlines()]
        assert (
            lines == [trl_row(example) for example in dataset.examples] == load_from_disk(folder / "dataset").to_list()
        )
        assert ("messages" in lines[0]) == (form != "path")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(find_weights("smollm2-135m"))


def test_only_the_target_is_learned_and_it_ends(tokenizer: Any) -> None:
    (example,) = one_call_examples(make_trace("a"))
    found = tokenise(example, tokenizer)
    start = sum(label == IGNORED for label in found["labels"])
    assert found["labels"] == [IGNORED] * start + found["input_ids"][start:]
    assert tokenizer.decode(found["input_ids"][start:-1]) == example.target
    assert found["input_ids"][-1] == tokenizer.eos_token_id
    assert tokenizer.decode(found["input_ids"][:start]).endswith("<|im_start|>assistant\n")


def test_a_path_is_learned_as_the_text_that_a_server_is_made_to_write(tokenizer: Any) -> None:
    (example,) = build_dataset([make_trace("a")], "path").examples
    found = tokenise(example, tokenizer)
    text = tokenizer.decode(found["input_ids"])
    assert text == 'Question: What is the capital of a?\nPath:\n"capital"<|im_end|>'
    assert tokenizer.decode([i for i, label in zip(*found.values(), strict=True) if label != IGNORED]) == (
        '"capital"<|im_end|>'
    )


def test_every_turn_of_a_dialogue_is_learned_and_nothing_else(tokenizer: Any) -> None:
    (example,) = dialogue_examples(make_trace("a"))
    found = tokenise(example, tokenizer)
    learned = tokenizer.decode([i for i, label in zip(*found.values(), strict=True) if label != IGNORED])
    assert learned == "Action: Path[capital]<|im_end|>Action: Finish[Paris]<|im_end|>"
    from agentkd.inference.in_process import format_chat

    assert (
        tokenizer.decode(found["input_ids"]) == format_chat(tokenizer, example.prompt) + example.target + "<|im_end|>"
    )
