"""One pass over a trie gives what a pass over each continuation gives."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.inference.head import Head
from agentkd.inference.in_process import continuation_ids, open_in_process
from agentkd.inference.trie import Trie, log_likelihoods
from tests.support.students import packaged_student

TEXTS = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packaged_student(tmp_path_factory.mktemp("student"), layers=2, width=32, seed=0, spread=0.3)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


def one_by_one(model: Any, prompt: list[int], texts: list[list[int]]) -> list[float]:
    import torch

    found = []
    for text in texts:
        logits = model(torch.tensor([prompt + text])).logits[0, len(prompt) - 1 : -1]
        found.append(float(logits.log_softmax(-1).gather(-1, torch.tensor(text)[:, None]).sum()))
    return found


@settings(deadline=None, max_examples=20)
@given(prompt=st.lists(st.integers(0, 4), min_size=1, max_size=4), texts=TEXTS, others=TEXTS)
def test_the_trie_is_exact_in_any_batch(model: Any, prompt: list[int], texts: Any, others: Any) -> None:
    import torch

    tries = [Trie.build(prompt, texts), Trie.build([1, 2], others)]
    with torch.inference_mode():
        found = log_likelihoods(model, Head.of(model), tries, pad=0)
        assert found[0].tolist() == pytest.approx(one_by_one(model, prompt, texts), abs=1e-4)
        assert found[1].tolist() == pytest.approx(one_by_one(model, [1, 2], others), abs=1e-4)


def test_what_begins_alike_is_read_once() -> None:
    trie = Trie.build([9], [[1, 2, 3, 0], [1, 2, 4, 0], [5, 0]])
    assert trie.ids == [9, 1, 2, 3, 4, 5] and trie.depth == [0, 1, 2, 3, 3, 1]
    with pytest.raises(ValueError, match="need a token"):
        Trie.build([9], [[]])


def test_a_student_weighs_its_choices_and_writes_none_but_them(folder: Path, model: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    labels = ["country capital", "country capital > city mayor", "river"]

    async def ask() -> tuple[Any, Any, Any, Any]:
        async with open_in_process(str(folder), name="s", run=tmp_path) as student:
            likeliest = await student.complete("Question: x\nPath:\n", choices=labels)
            drawn = await student.complete("Question: x\nPath:\n", choices=labels, n=5, temperature=1.0)
            again = await student.complete("Question: x\nPath:\n", choices=labels)
            freely = await student.complete("Question: x\nPath:\n", choices=())
            return likeliest, drawn, again, freely

    likeliest, drawn, again, freely = asyncio.run(ask())
    prompt = tokenizer("Question: x\nPath:\n")["input_ids"]
    expected = one_by_one(model, prompt, [continuation_ids(tokenizer, label) for label in labels])
    assert likeliest.log_p == pytest.approx(expected, abs=1e-3)
    assert likeliest.text == labels[expected.index(max(expected))]
    assert len(drawn.texts) == 5 and set(drawn.texts) <= set(labels)
    assert again.texts == likeliest.texts and (again.usage.cached, likeliest.usage.cached) == (1, 0)
    assert likeliest.usage.prompt_tokens == len(prompt) and likeliest.usage.calls == 1
    assert not freely.log_p and "\n" not in freely.text


def test_the_continuation_is_the_json_string_that_servers_are_held_to() -> None:
    from transformers import AutoTokenizer

    from agentkd.models import find_weights

    tokenizer = AutoTokenizer.from_pretrained(find_weights("smollm2-135m"))
    ids = continuation_ids(tokenizer, 'a "b" > ü')
    assert json.loads(tokenizer.decode(ids[:-1])) == 'a "b" > ü' and ids[-1] == tokenizer.eos_token_id
