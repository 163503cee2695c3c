"""Preference and on-policy stages on tiny models: their training data, and stages one after another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig, load_config
from agentkd.distill.data.forms import Example
from agentkd.distill.lessons.on_policy import make_prompts
from agentkd.distill.lessons.preference import make_pairs
from agentkd.distill.resolve import resolve_stages
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.models import find_weights
from tests.support.students import little_student, weights
from tests.support.traces import several_paths, write_run

EXAMPLE = Example(
    id="a", trace="t", prompt="Question: x\nPath:\n", target="capital", rejected=("river", "mayor", "border")
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_student(tmp_path_factory.mktemp("teacher"), layers=3, seed=1, spread=0.2)


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = [trace for number in range(6) for trace in several_paths(f"country {number}")]
    return write_run(tmp_path_factory.mktemp("runs") / "run", found)


def config(student: Path, traces: Path, out: Path, **changes: Any) -> DistillConfig:
    values = {"student": str(student), "traces": str(traces), "out": str(out), "batch": 4, "lr": 1e-2, "epochs": 3}
    return DistillConfig.model_validate({**values, "precision": "fp32", **changes})


def test_pairs_hold_the_verified_target_and_the_most_plausible_refused_ones() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(find_weights("smollm2-135m"))
    found = make_pairs([EXAMPLE, EXAMPLE.model_copy(update={"rejected": ()})], tokenizer, most=2)
    texts = [{name: tokenizer.decode(ids) for name, ids in pair.items()} for pair in found]
    assert texts == [
        {
            "prompt_ids": "Question: x\nPath:\n",
            "chosen_ids": '"capital"<|im_end|>',
            "rejected_ids": f'"{name}"<|im_end|>',
        }
        for name in ("river", "mayor")
    ]
    with pytest.raises(UserError, match=r"no question has a refused path.*--samples 8"):
        make_pairs([EXAMPLE.model_copy(update={"rejected": ()})], tokenizer, most=2)


def test_a_prompt_is_asked_once() -> None:
    assert make_prompts([EXAMPLE, EXAMPLE.model_copy(update={"target": "river"})], None) == [
        {"prompt": "Question: x\nPath:\n"}
    ]


def test_preference_widens_the_margin(student: Path, traces: Path, tmp_path: Path) -> None:
    metrics = distill(config(student, traces, tmp_path / "out", method="preference"))
    margins = metrics["rewards/margins"]
    assert margins[0] == pytest.approx(0.0, abs=1e-4) and margins[-1] > 0.1
    assert metrics["examples"] == 12  # six questions, two refused paths each


def test_on_policy_comes_nearer_to_the_teacher(student: Path, teacher: Path, traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    metrics = distill(
        config(student, traces, out, method="on-policy", teacher=str(teacher), rollout_tokens=8, epochs=6, batch=2)
    )
    losses = metrics["losses"]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3]), losses
    assert metrics["steps"] == 18 and (out / "manifest.json").exists()


def test_stages_follow_one_another_and_each_is_kept(student: Path, teacher: Path, traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = config(
        student,
        traces,
        out,
        method="sft,on-policy",
        teacher=str(teacher),
        epochs="2,1",
        lr="1e-2,1e-3",
        rollout_tokens=8,
        batch=2,
    )
    distill(given)
    first = out / "stages" / "1-sft"
    assert (first / "manifest.json").exists() and json.loads((first / "metrics.json").read_text())["steps"] == 6
    written = (first / "model.safetensors").stat().st_mtime_ns
    (out / "manifest.json").unlink()  # as if the second stage had been stopped
    distill(given)
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    before, after = weights(first), weights(out)
    assert any((before[name] != after[name]).any() for name in before)


def test_what_is_left_open_depends_on_the_method() -> None:
    given = DistillConfig(method="sft,on-policy", teacher="t", out="o", student="s")
    stages = resolve_stages(given, {})
    first, second = (stage.config for stage in stages)
    assert (first.epochs, first.lr, first.teacher, first.out) == ((3.0,), (2e-4,), None, "o/stages/1-sft")
    assert (second.epochs, second.lr, second.divergence) == ((1.0,), (2e-5,), "reverse")
    assert (second.teacher, second.student, second.out) == ("t", first.out, "o")
    assert [(stage.epochs, stage.lr, stage.batch, stage.divergence) for stage in stages] == [
        (3.0, 2e-4, 16, "forward"),
        (1.0, 2e-5, 16, "reverse"),
    ]
    assert [(stage.student, stage.teachers, stage.out) for stage in stages] == [
        ("s", (), Path("o/stages/1-sft")),
        ("o/stages/1-sft", ("t",), Path("o")),
    ]
    with pytest.raises(UserError, match="epochs has 3 values for 2 methods"):
        resolve_stages(given.model_copy(update={"epochs": (1.0, 2.0, 3.0)}), {})
    with pytest.raises(UserError, match="--method on-policy needs teacher=MODEL"):
        resolve_stages(given.model_copy(update={"teacher": None, "method": "on-policy"}), {})
    with pytest.raises(UserError, match="forward, reverse or jsd, not divergence=skew"):
        resolve_stages(given.model_copy(update={"divergence": "skew", "method": "on-policy"}), {})
    words = load_config(DistillConfig, recipe=None, options={}, overrides=["epochs=3,1", "lr=1e-4"])
    assert (words.epochs, words.lr) == ((3.0, 1.0), (1e-4,))
