"""A teacher's scores and the student that learns from them, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.config import DistillConfig
from agentkd.distill.data import teacher_scores
from agentkd.distill.stages import distill
from agentkd.distill.student import choose_layers, prune_layers
from agentkd.errors import UserError
from tests.support.lazy import lazily
from tests.support.students import little_student

torch = lazily("torch")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_student(tmp_path_factory.mktemp("student"), layers=4)


def config(student: Path, teacher: Path | None, traces: Path, out: Path, **changes: Any) -> DistillConfig:
    values: dict[str, Any] = {"student": str(student), "traces": str(traces), "out": str(out)}
    values |= {"teacher": None if teacher is None else str(teacher)}
    values |= {"method": "logits", "epochs": 3, "batch": 2, "lr": 1e-2, "top_k": 8, "precision": "fp32"}
    return DistillConfig.model_validate({"form": "one-call", **values, **changes})


def rows() -> list[dict[str, list[int]]]:
    """11 sequences of several lengths; what is before the middle is prompt."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for length in range(4, 15):
        ids = torch.randint(0, 258, (length,), generator=generator).tolist()
        found.append({"input_ids": ids, "labels": [-100] * (length // 2) + ids[length // 2 :]})
    return found


def test_scores_are_the_models_and_a_stopped_pass_goes_on(teacher: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32).eval()
    tokens = range(258)
    scores = teacher_scores.score_rows(model, tokens, rows(), tmp_path, 5)
    for number, row in enumerate(rows()):
        ids, log_p = scores.top_k_of(number)
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0]
        dense = logits.log_softmax(-1)[len(row["input_ids"]) // 2 - 1 : -1]
        own = dense[range(len(dense)), row["input_ids"][-len(dense) :]]
        torch.testing.assert_close(torch.from_numpy(scores.target_log_p(number)), own, rtol=1e-4, atol=1e-4)
        expected = dense.topk(5)
        torch.testing.assert_close(torch.from_numpy(log_p), expected.values, rtol=1e-4, atol=1e-4)
        assert ids.tolist() == expected.indices.tolist()

    whole = [(tmp_path / name).read_bytes() for name in ("ids.i32", "log_p.f32", "target.f32")]
    calls = 0
    forward = type(model.base_model).forward

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return forward(self, *args, **options)

    (tmp_path / "ids.i32").write_bytes(whole[0][: len(whole[0]) // 2])
    (tmp_path / "log_p.f32").write_bytes(whole[1][:-3])  # cut within a number
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.base_model), "forward", counted)
        teacher_scores.score_rows(model, tokens, rows(), tmp_path, 5)
        assert calls == 2  # its head was tried, and the first half was not asked for again
        teacher_scores.score_rows(model, tokens, rows(), tmp_path, 5)
        assert calls == 3
    assert (tmp_path / "ids.i32").read_bytes() == whole[0]
    again = np.frombuffer((tmp_path / "target.f32").read_bytes(), np.float32)  # batches differ, and so do last digits
    np.testing.assert_allclose(again, np.frombuffer(whole[2], np.float32), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="top_k is 0: the teacher knows"):
        teacher_scores.score_rows(model, tokens, rows(), tmp_path / "other", 0)


def test_the_student_comes_nearer_to_its_teacher(student: Path, teacher: Path, traces: Path, tmp_path: Path) -> None:
    metrics = distill(config(student, teacher, traces, tmp_path / "out", nll=0.0))
    assert metrics["steps"] == 12 and len(metrics["divergence"]) == 12
    assert metrics["divergence"] == pytest.approx(metrics["losses"], abs=2e-4)
    assert metrics["divergence"][-1] < 0.8 * metrics["divergence"][0]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["divergence"] == metrics["divergence"]


def test_both_terms_add_up(student: Path, teacher: Path, traces: Path, tmp_path: Path) -> None:
    """The student as its own teacher, all tokens known: nothing to diverge from, so that NLL is what is left."""
    same = distill(config(student, student, traces, tmp_path / "same", epochs=1, top_k=258, lr=1e-9, nll=0.25))
    assert max(map(abs, same["divergence"])) < 1e-4
    assert same["losses"] == pytest.approx([0.25 * value for value in same["nll"]], rel=1e-3)
    sft = distill(config(student, None, traces, tmp_path / "sft", method="sft", epochs=1, lr=1e-9))
    assert same["nll"] == pytest.approx(sft["losses"], rel=1e-3)


def test_layers_are_pruned_evenly_and_the_student_still_writes(student: Path, traces: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert choose_layers(30, 10) == [0, 3, 6, 10, 13, 16, 19, 23, 26, 29] and choose_layers(4, 4) == [0, 1, 2, 3]
    distill(config(student, None, traces, tmp_path / "out", method="sft", layers=2, lr=1e-9, epochs=1))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    whole = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    assert model.config.num_hidden_layers == 2
    one, last = model.base_model.layers, whole.base_model.layers[3]
    torch.testing.assert_close(one[1].mlp.up_proj.weight, last.mlp.up_proj.weight, rtol=1e-5, atol=1e-6)
    ids = torch.arange(10, 18)[None]
    cached = model.generate(ids, max_new_tokens=6, do_sample=False)
    assert torch.equal(cached, model.generate(ids, max_new_tokens=6, do_sample=False, use_cache=False))
    with pytest.raises(UserError, match="layers is 5: the student has 4"):
        prune_layers(whole, 5)


def test_set_up_names_what_does_not_fit(student: Path, teacher: Path, traces: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for file in teacher.iterdir():
        (foreign / file.name).write_bytes(file.read_bytes())
    content = json.loads((foreign / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (foreign / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"has another vocabulary .*'[ab]' is token \d+ here and \d+ there"):
        distill(config(student, foreign, traces, tmp_path / "a"))
    with pytest.raises(UserError, match="--method logits needs teacher=MODEL"):
        distill(config(student, None, traces, tmp_path / "b"))
