"""Each family as student and teacher, in the trie and at export: the model's own log-likelihoods, or one line.

`pytest -m "" tests/distill/test_families.py -v` runs all of them, about six seconds each.
"""

from __future__ import annotations

import asyncio
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
from agentkd.inference.in_process import continuation_ids, open_in_process
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
def test_a_family_distils_and_is_weighed_as_it_is(name: str, run: Path, tmp_path: Path) -> None:
    folder, tokenizer = family_student(tmp_path / "model", name), byte_tokenizer()
    rows = [tokenise(example, tokenizer) for example in load_dataset(run, "one-call").examples]
    texts = []
    for row in rows:
        given = row["labels"].count(IGNORED)
        texts.append((row["input_ids"][:given], row["input_ids"][given:]))
    own = np.concatenate(own_log_p(folder, texts))

    metrics = distill(sft_config(folder, run, tmp_path / "sft", **STEP))
    assert metrics["loss_first"] == pytest.approx(-own.mean(), abs=1e-3)
    assert np.concatenate(own_log_p(tmp_path / "sft", texts)) == pytest.approx(own, abs=1e-3)

    out = tmp_path / "logits"  # the student is its own teacher
    metrics = distill(sft_config(folder, run, out, method="logits", teacher=str(folder), top_k=258, **STEP))
    assert metrics["nll"][0] == pytest.approx(-own.mean(), abs=1e-3) and abs(metrics["divergence"][0]) < 1e-3
    assert np.array(teacher_scores.Scores(out / "logits", rows, 258).target) == pytest.approx(own, abs=1e-3)

    asked = [(prompt_ids(), continuation_ids(tokenizer, choice)) for choice in CHOICES]
    assert weigh(out, tmp_path) == pytest.approx([sum(values) for values in own_log_p(out, asked)], abs=1e-3)

    if not name.startswith("llama"):  # tests/distill/test_gguf.py runs what is exported
        with pytest.raises(
            UserError, match=r"cannot export .*: its architecture is \w+, known is LlamaForCausalLM"
        ) as no:
            export(str(out))
        assert "\n" not in str(no.value)


PROMPT = "Question: what is the capital of the country?\nPath:\n"


def prompt_ids() -> list[int]:
    return list(byte_tokenizer()(PROMPT)["input_ids"])


def weigh(folder: Path, tmp_path: Path) -> list[float]:
    """The log-likelihoods of CHOICES that `eval --constrain kb` decides by."""

    async def ask() -> Any:
        async with open_in_process(str(folder), name="s", run=tmp_path / "run") as student:
            return await student.complete(PROMPT, choices=CHOICES)

    return list(asyncio.run(ask()).log_p)
