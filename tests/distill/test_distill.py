"""Training with TRL end to end on a tiny model, killed and resumed included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.distill import checkpoints as module
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from tests.support.students import sft_config, weights


def test_a_student_is_whole_learns_and_is_not_trained_twice(student: Path, traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    metrics = distill(sft_config(student, traces, out))
    assert metrics["examples"] == 8 and metrics["steps"] == 12
    assert metrics["loss_last"] < 0.9 * metrics["loss_first"]
    kept = {"config.yaml", "metrics.json", "manifest.json", "loss.png", "README.md", "report.html", "tokenizer.json"}
    assert kept <= {file.name for file in out.iterdir()} and not (out / "checkpoints").exists()
    assert json.loads((out / "metrics.json").read_text())["tokens_per_second"] > 0
    card = (out / "README.md").read_text()
    assert "8 examples" in card and "geo" in card
    written = (out / "model.safetensors").stat().st_mtime_ns
    distill(sft_config(student, traces, out))
    assert (out / "model.safetensors").stat().st_mtime_ns == written


def test_killed_and_resumed_equals_uninterrupted(
    student: Path, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    calm, killed = tmp_path / "calm", tmp_path / "killed"
    distill(sft_config(student, traces, calm))
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    step = torch.optim.AdamW.step
    count = 0

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        distill(sft_config(student, traces, killed))
    assert list(killed.glob("checkpoints/checkpoint-*")) and not (killed / "manifest.json").exists()
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    metrics = distill(sft_config(student, traces, killed))
    assert metrics["steps"] == 12
    before, after = weights(calm), weights(killed)
    apart = max((before[name] - after[name]).abs().max().item() for name in before)
    assert apart < 1e-6, metrics["losses"]


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for name, whole in [("checkpoint-2", True), ("checkpoint-10", True), ("checkpoint-12", False)]:
        (tmp_path / name).mkdir()
        if whole:
            (tmp_path / name / "trainer_state.json").write_text("{}")
    assert module.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert module.last_checkpoint(tmp_path / "none") is None


def test_wrong_input_is_named(student: Path, traces: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown method 'magic'; choose one of: sft"):
        distill(sft_config(student, traces, tmp_path / "a", method="magic"))
    with pytest.raises(UserError, match="all 8 examples are longer than 3 tokens: raise max_length"):
        distill(sft_config(student, traces, tmp_path / "b", max_length=3))
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in student.iterdir():
        if file.name != "chat_template.jinja":
            text = file.read_bytes()
            if file.name == "tokenizer_config.json":
                fields = json.loads(text)
                fields.pop("chat_template", None)
                text = json.dumps(fields).encode()
            (bare / file.name).write_bytes(text)
    with pytest.raises(UserError, match="no chat template: choose an instruction-tuned model"):
        distill(sft_config(bare, traces, tmp_path / "c"))
    assert not (tmp_path / "c" / "manifest.json").exists()
