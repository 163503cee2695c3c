"""Ways in which rollouts teach: each lowers its loss on tiny models, and does what its name says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from agentkd.config import DistillConfig
from tests.support.lazy import lazily, require
from tests.support.students import byte_tokenizer, little_student, teacher_config

require("torch", "transformers", "trl")
torch = lazily("torch")
rollouts = lazily("agentkd.distill.lessons.rollouts")
stages = lazily("agentkd.distill.stages")


@pytest.mark.parametrize("kind", ["sod", "trd", "skew-pair"])
def test_a_student_comes_nearer_to_what_its_rollouts_teach(kind: str, traces: Path, tmp_path: Path) -> None:
    student = little_student(tmp_path / "student", spread=0.2)
    teacher = little_student(tmp_path / "teacher", seed=1, spread=0.2)
    options = {"method": "on-policy", "rollouts": kind, "rollout_tokens": 6, "epochs": 6, "form": "path"}
    losses = stages.distill(teacher_config(student, teacher, traces, tmp_path / "out", **options))["losses"]
    assert all(loss == loss and loss >= 0 for loss in losses)
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3]), losses


def test_a_rollout_is_kept_up_to_its_fault_and_continued_by_the_teacher() -> None:
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 9, 9]])

    class Teacher:
        """Gives the token 6 next to no probability in the first row."""

        def eval(self) -> None: ...

        def __call__(self, input_ids: object, **_: object) -> object:
            logits = torch.zeros(2, 6, 12)
            logits[0, 2, 6] = -50.0
            return SimpleNamespace(logits=logits)

        def generate(self, start: object, **_: object) -> object:
            return torch.cat([start, torch.tensor([[10, 11]])], 1)

    batch = {
        "prompt_ids": torch.tensor([[0, 1], [2, 3]]),
        "prompt_mask": torch.tensor([[0, 1], [1, 1]]),
        "completion_ids": ids,
        "completion_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
    }
    mended = rollouts.mend(Teacher(), batch, 9, SimpleNamespace(max_completion_length=4))
    assert mended["completion_ids"].tolist() == [[5, 10, 11], [5, 6, 9]]
    assert mended["completion_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_steps_end_at_relations_and_lines() -> None:
    tokenizer = byte_tokenizer()
    breaks = rollouts.find_breaks(tokenizer, 300)
    ends = {tokenizer.convert_ids_to_tokens(place) for place in breaks.nonzero()[:, 0].tolist()}
    assert {">", "Ċ"} <= ends and len(breaks) == 300


def test_another_word_for_rollouts_is_refused() -> None:
    with pytest.raises(ValueError, match="rollouts"):
        DistillConfig.model_validate({"rollouts": "sometimes"})
