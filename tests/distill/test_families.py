"""Each family as student and teacher, in the trie and at export: the model's own log-likelihoods, or one line.

`pytest -m "" tests/distill/test_families.py --junitxml=families.xml` runs all of them, about four seconds each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.distill.data import teacher_scores
from agentkd.distill.data.dataset import load_dataset
from agentkd.distill.data.tokens import IGNORED, tokenise
from agentkd.distill.publish.gguf import export
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.inference.in_process import continuation_ids, format_chat, open_in_process
from agentkd.inference.model_folder import open_tokenizer
from agentkd.trace import Message
from tests.support.families import FAMILIES, family_student
from tests.support.lazy import lazily
from tests.support.students import byte_tokenizer, sft_config
from tests.support.traces import make_trace, write_run

torch = lazily("torch")

ALWAYS = ("granite", "mpt")
NAMES = [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.whole) for name in FAMILIES]
CHOICES = ["capital", "capital > mayor", "river"]
STEP: dict[str, Any] = {"epochs": 1, "batch": 2, "lr": 1e-9}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", [make_trace("a"), make_trace("a longer name")])


def own_log_p(folder: Path, texts: list[tuple[list[int], list[int]]]) -> list[list[float]]:
    """The model's own log-probabilities of the tokens of (context, continuation), one text at a time."""
    from transformers import AutoModelForCausalLM

    model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), []
    for context, continuation in texts:
        with torch.no_grad():
            log_p = model(torch.tensor([context + continuation])).logits[0, len(context) - 1 : -1].log_softmax(-1)
        found.append(log_p[range(len(continuation)), continuation].tolist())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_family_distils_and_is_weighed_as_it_is(
    name: str, run: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder, tokenizer = family_student(tmp_path / "model", name), byte_tokenizer()
    rows = [tokenise(example, tokenizer) for example in load_dataset(run, "one-call").examples]
    texts = []
    for row in rows:
        given = row["labels"].count(IGNORED)
        texts.append((row["input_ids"][:given], row["input_ids"][given:]))
    own = np.concatenate(own_log_p(folder, texts))
    record_property("family", name)

    def check(what: str, found: Any, expected: Any) -> None:
        """Record and bound the largest difference, in nats."""
        difference = float(np.abs(np.asarray(found) - np.asarray(expected)).max())
        record_property(what, f"{difference:.0e}")
        assert difference < 1e-3, what

    metrics = distill(sft_config(folder, run, tmp_path / "sft", **STEP))
    saved = np.concatenate(own_log_p(tmp_path / "sft", texts))
    check("sft", [metrics["loss_first"], *saved], [-own.mean(), *own])

    out = tmp_path / "logits"  # the student is its own teacher
    metrics = distill(sft_config(folder, run, out, method="logits", teacher=str(folder), top_k=258, **STEP))
    scored = teacher_scores.Scores(out / "logits", rows, 258).target
    check("logits", [metrics["nll"][0], metrics["divergence"][0], *scored], [-own.mean(), 0.0, *own])

    asked = [(prompt_ids(), continuation_ids(tokenizer, choice)) for choice in CHOICES]
    weighed, answers = ask(out, tmp_path)
    check("trie", weighed, [sum(values) for values in own_log_p(out, asked)])
    assert answers == [own_words(out, text) for text in LONG_AND_SHORT]
    record_property("answers", "equal")

    if name.startswith("llama") and name != "llama4_text":  # tests/distill/test_gguf.py runs what is exported
        record_property("export", "runs")
        return
    with pytest.raises(UserError, match=r"cannot export .*: its architecture is \w+, known is LlamaForCausalLM") as no:
        export(str(out))
    assert "\n" not in str(no.value)
    record_property("export", "refused")


TOKENS = 4
LONG_AND_SHORT = ["Which river runs through the capital of the country? " * 2, "Hi"]
PROMPT = "Question: what is the capital of the country?\nPath:\n"


def prompt_ids() -> list[int]:
    return list(byte_tokenizer()(PROMPT)["input_ids"])


def ask(folder: Path, tmp_path: Path) -> tuple[list[float], list[str]]:
    """The log-likelihoods of CHOICES that `eval --constrain kb` decides by, and a batch of answers to two texts."""

    async def both() -> tuple[Any, Any]:
        async with open_in_process(str(folder), name="s", run=tmp_path / "run") as student:
            weighed = await student.complete(PROMPT, choices=CHOICES)
            chats = [student.chat([Message(role="user", content=text)], max_tokens=TOKENS) for text in LONG_AND_SHORT]
            return weighed, await asyncio.gather(*chats)

    weighed, answers = asyncio.run(both())
    return list(weighed.log_p), [answer.text for answer in answers]


def own_words(folder: Path, text: str) -> str:
    """The model's likeliest continuation of a chat, token by token, without a cache and without padding."""
    from transformers import AutoModelForCausalLM

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(),
        open_tokenizer(folder, name="s"),
    )
    ids = tokenizer(format_chat(tokenizer, [Message(role="user", content=text)]))["input_ids"]
    start = len(ids)
    while (len(ids) < start + TOKENS and ids[-1] != tokenizer.eos_token_id) or len(ids) == start:
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return str(tokenizer.decode(ids[start:], skip_special_tokens=True))
