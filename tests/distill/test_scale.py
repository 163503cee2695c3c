"""Memory for time: accumulated batches, checkpointed activations, adapters; and the plan of needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkd.cli.main import app, run_command
from agentkd.distill import needs
from agentkd.distill.data.dataset import load_training_set
from agentkd.distill.lora import count_lora_parameters, lora_config, merge_adapters
from agentkd.distill.plan import plan_run
from agentkd.distill.prepare import prepare_data
from agentkd.distill.resolve import resolve_run
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.machine import hardware, memory_needs
from tests.support.lazy import lazily
from tests.support.students import sft_config, weights
from tests.support.traces import make_trace, write_run

torch = lazily("torch")


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"country {number}" + " and its long name" * (number % 3) for number in range(9)]
    return write_run(tmp_path_factory.mktemp("runs") / "run", [make_trace(name) for name in names])


def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize("method", ["sft", "logits"])
def test_small_batches_accumulate_to_the_large_one(
    method: str, student: Path, teacher: Path, traces: Path, tmp_path: Path
) -> None:
    """9 examples of unlike lengths, 4 per step: losses are of the step's tokens, and the last step is a short one."""
    values: dict[str, Any] = {"method": method, "top_k": 8}
    if method == "logits":
        values["teacher"] = str(teacher)
    one = distill(sft_config(student, traces, tmp_path / "one", batch=4, **values))
    two = distill(
        sft_config(student, traces, tmp_path / "two", batch=1, accumulate=4, grad_checkpointing=True, **values)
    )
    assert one["steps"] == two["steps"] == 9
    for name in ("losses", "nll", "divergence") if method == "logits" else ("losses",):
        assert one[name] == pytest.approx(two[name], abs=2e-3), name
    before, after = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((before[name] - after[name]).abs().max().item() for name in before) < 1e-4


def test_adapters_are_merged_into_an_ordinary_student(student: Path, traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    metrics = distill(sft_config(student, traces, out, lora=3))
    assert metrics["loss_last"] < metrics["loss_first"]
    assert not list(out.glob("adapter*")) and "rank 3" in (out / "README.md").read_text()
    before, after = model(student).state_dict(), model(out).state_dict()
    assert before.keys() == after.keys() == weights(out).keys() | {"lm_head.weight"}
    for name, weight in before.items():
        change = after[name] - weight
        rank = int(torch.linalg.matrix_rank(change.double(), rtol=1e-4)) if change.dim() == 2 else 0
        assert rank == (3 if "proj" in name else 0), name
        assert "proj" in name or not change.any()


def test_the_merge_is_pefts(student: Path) -> None:
    from peft import get_peft_model

    plain = model(student)
    expected_parameters = count_lora_parameters(plain, 5)
    adapted = get_peft_model(plain, lora_config(plain, 5))
    assert sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad) == expected_parameters
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    merged = merge_adapters({name: weight.clone() for name, weight in adapted.state_dict().items()})
    expected = adapted.merge_and_unload().state_dict()
    assert merged.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(merged[name], weight, msg=name)


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
def test_activations_are_what_autograd_keeps(half: bool, tmp_path: Path) -> None:
    """Bytes of all tensors that a Llama's layers save for the backward pass, against the formula."""
    from transformers import LlamaConfig, LlamaModel

    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_attention_heads": 4, "num_key_value_heads": 4}
    backbone = LlamaModel(LlamaConfig(vocab_size=8, num_hidden_layers=6, **sizes))
    own = {weight.data_ptr() for weight in backbone.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros((3, 40), dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        states = backbone(ids).last_hidden_state
    copies = sum(weight.numel() * 2 for name, weight in backbone.named_parameters() if "proj" in name) if half else 0
    assert states.requires_grad
    shape = memory_needs.ModelSizes("tiny", 0, 6, 64, 4, 16, 8, 192)
    expected = memory_needs.training_bytes(shape, 120, half=half)["activations"]
    assert sum(kept.values()) - copies == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("method", ["sft", "logits"])
def test_a_plan_measures_and_leaves_nothing(
    method: str, student: Path, teacher: Path, traces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "folder" / "out"
    values: dict[str, Any] = {"method": method, "batch": 2, "epochs": 2, "lora": 2 if method == "sft" else None}
    if method == "logits":
        values["teacher"] = str(teacher)
    wanted = sft_config(student, traces, out, **values)
    found = plan_run(wanted)
    assert not out.parent.exists()
    assert found["seconds"] > 0 and found["step_tokens"][1] > found["step_tokens"][0] and found["peak_gb"] > 0.1
    said = " ".join(capfd.readouterr().err.split())
    for part in ("9 examples", "10 of 2 examples", "GB of", "for training", "measured"):
        assert part in said
    assert ("the teacher's scores" in found["memory"]) is (method == "logits")
    metrics = distill(wanted)
    for name in ("examples", "steps", "tokens_per_epoch", "target_tokens_per_epoch"):
        assert metrics[name] == found[name], name
    if method == "logits":
        scored = sum(file.stat().st_size for file in (out / "logits").iterdir())
        assert scored / 1e9 == pytest.approx(found["disk"]["teacher's scores"])


def test_what_does_not_fit_is_refused_with_what_would(
    student: Path, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A container's limit is what it is; the student's layers are made too wide for it."""
    wanted = sft_config(student, traces, tmp_path / "out", batch=9)
    (stage,) = resolve_run(wanted)
    data = prepare_data(stage, (), load_training_set(stage))
    base = sum(needs.compute_needs(stage.with_changes(batch=1), data)["memory"]["training"].values())
    limit = {"/sys/fs/cgroup/memory.max": f"{round(base * 1e9 + 1e6)}\n", "/sys/fs/cgroup/memory.current": "0\n"}
    monkeypatch.setattr(hardware, "_read", lambda path: limit.get(path, ""))
    monkeypatch.setattr(hardware, "has_gpu", lambda: False)
    monkeypatch.setattr(needs, "SURE", 1.0)
    refusal = r"training needs [\d.]+ GB and [\d.]+ GB are free: try batch=1 accumulate=9"
    with pytest.raises(UserError, match=refusal):
        distill(wanted)
    words = ["--plan", "--student", str(student), "--traces", str(traces), "--out", str(tmp_path / "out")]
    assert run_command(lambda: app(["distill", *words, "batch=9", "precision=fp32"], standalone_mode=False)) == 2
    said = capfd.readouterr().err
    assert "for training" in said and "error: training needs" in said and "measured" not in said
    assert not (tmp_path / "out").exists()
    distill(wanted.model_copy(update={"batch": 1, "accumulate": 9, "epochs": (1.0,)}))
    limit["/sys/fs/cgroup/memory.max"] = "1000\n"
    with pytest.raises(UserError, match="choose a smaller student, or a shorter max_length"):
        distill(wanted.model_copy(update={"out": str(tmp_path / "other")}))
