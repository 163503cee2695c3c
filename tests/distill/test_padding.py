"""Models that read padding as text: they answer one by one, and TRL's rollouts are refused."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

import pytest

from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.inference.in_process import open_in_process
from agentkd.inference.padding import reads_padding
from agentkd.trace import Message
from tests.support.families import family_model, family_student
from tests.support.lazy import lazily
from tests.support.students import sft_config

torch = lazily("torch")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "masks"),
    [("llama", True), ("gpt2", True), ("mpt", True), ("mamba", True), ("rwkv", False), ("recurrent_gemma", False)],
)
def test_whether_padding_is_masked_is_tried_on_the_model(name: str, masks: bool, dtype: str) -> None:
    model = family_model(name).to(getattr(torch, dtype))
    model.train()
    assert reads_padding(model, 256) == masks and model.training


def answers(folder: Path, run: Path, texts: list[str]) -> list[Any]:
    async def ask() -> Any:
        async with open_in_process(str(folder), name="student", run=run) as student:
            return await asyncio.gather(*(student.chat([Message(role="user", content=t)], max_tokens=6) for t in texts))

    return list(asyncio.run(ask()))


def test_positions_that_count_padding_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GPT2LMHeadModel

    forward = GPT2LMHeadModel.forward

    @functools.wraps(forward)
    def counting(self: Any, *args: Any, position_ids: Any = None, **options: Any) -> Any:
        return forward(self, *args, **options)

    monkeypatch.setattr(GPT2LMHeadModel, "forward", counting)
    assert not reads_padding(family_model("gpt2"), 256)


def test_a_state_that_runs_over_padding_answers_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, texts = family_student(tmp_path / "student", "rwkv"), ["A long question about rivers", "Hi", "Why not?"]
    together = answers(folder, tmp_path / "together", texts)
    alone = [answers(folder, tmp_path / str(number), [text])[0] for number, text in enumerate(texts)]
    assert [reply.texts for reply in together] == [reply.texts for reply in alone]
    assert [reply.usage.prompt_tokens for reply in together] == [reply.usage.prompt_tokens for reply in alone]
    assert capsys.readouterr().err.count("RwkvForCausalLM does not mask padding: it answers one by one") == 1


@pytest.mark.parametrize("method", ["on-policy", "sft,on-policy"])
@pytest.mark.parametrize("odd", ["student", "teacher"])
def test_rollouts_of_such_a_model_are_refused_before_anything_is_trained(
    method: str, odd: str, traces: Path, tmp_path: Path
) -> None:
    student, teacher = (
        family_student(tmp_path / role, "rwkv" if role == odd else "llama") for role in ("student", "teacher")
    )
    options: dict[str, Any] = {"method": method, "teacher": str(teacher), "rollout_tokens": 4, "limit": 2}
    with pytest.raises(UserError, match="RwkvForCausalLM does not mask padding: take --method sft") as refused:
        distill(sft_config(student, traces, tmp_path / "out", **options))
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()


def test_a_model_that_keeps_all_activations_is_refused_where_they_should_be_computed_twice(
    traces: Path, tmp_path: Path
) -> None:
    student = family_student(tmp_path / "student", "openai-gpt")
    line = r"grad_checkpointing: the student .*student \(openai-gpt\) keeps all of its activations: leave it out"
    with pytest.raises(UserError, match=line):
        distill(sft_config(student, traces, tmp_path / "out", grad_checkpointing=True))
    assert not (tmp_path / "out").exists()
