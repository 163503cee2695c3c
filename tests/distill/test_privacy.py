"""Private passages of the targets: detected, counted, softened or left out, and said on the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.config import DistillConfig
from agentkd.distill.plan import plan_run
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from tests.support.lazy import lazily
from tests.support.students import byte_tokenizer, sft_config
from tests.support.traces import make_trace, write_run

torch = lazily("torch")
SECRET = "ada@example.org"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four traces, two of them with the same secret."""
    traces = [make_trace(f"country {number}", answer=SECRET if number < 2 else "Paris") for number in range(4)]
    return write_run(tmp_path_factory.mktemp("runs") / "run", traces)


def config(student: Path, teacher: Path, traces: Path, out: Path, **changes: Any) -> DistillConfig:
    values = {"teacher": str(teacher), "method": "logits", "privacy": "swing", "epochs": 1, "top_k": 8, **changes}
    return sft_config(student, traces, out, **values)


def read_scores(out: Path) -> tuple[np.ndarray, np.ndarray]:
    ids = np.fromfile(out / "logits" / "ids.i32", np.int32).reshape(-1, 8)
    return ids, np.fromfile(out / "logits" / "log_p.f32", np.float32).reshape(-1, 8)


def test_private_tokens_are_softened_alike_and_others_are_the_teachers(
    student: Path, teacher: Path, secrets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = distill(config(student, teacher, secrets, tmp_path / "swing", nll=1.0))
    assert "2 private passages (e-mail 2) in 2 of 4 examples; 30 of " in capsys.readouterr().err.replace("\n", " ")
    assert metrics["private"] | {"target_tokens": 0} == {
        "privacy": "swing", "passages": {"e-mail": 2}, "examples": 2, "tokens": 30, "target_tokens": 0,
    }  # fmt: skip
    plain = distill(config(student, teacher, secrets, tmp_path / "plain", privacy=None, nll=1.0))
    assert "private" not in plain and metrics["losses"][0] < plain["losses"][0], "its own tokens have no weight"
    (soft_ids, soft), (ids, log_p) = read_scores(tmp_path / "swing"), read_scores(tmp_path / "plain")
    moved = (soft_ids != ids).any(-1) | ~np.isclose(soft, log_p, atol=1e-3).all(-1)
    assert moved.sum() == 30, "one token a byte, and no other is touched"
    first, second = np.split(soft_ids[moved], 2)
    assert (first[:, 0] == second[:, 0]).mean() > 0.9, "the same secret has the same noise"
    card = (tmp_path / "swing" / "README.md").read_text()
    assert "2 private passages were detected" in card and "temperature 32, noise of 2, seed 0" in card
    assert json.loads((tmp_path / "swing" / "metrics.json").read_text())["private"] == metrics["private"]
    assert SECRET not in card


def test_masked_tokens_are_no_targets(student: Path, secrets: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("paris\n\n")
    changes = {"privacy": "mask", "private_list": str(words)}
    metrics = distill(sft_config(student, secrets, tmp_path / "mask", epochs=1, **changes))
    assert metrics["private"]["passages"] == {"e-mail": 2, "listed": 2}
    assert metrics["target_tokens_per_epoch"] == metrics["private"]["target_tokens"] - 2 * len(SECRET) - 2 * len(
        "Paris"
    )
    assert "They were not learned" in (tmp_path / "mask" / "README.md").read_text()
    words.write_text("france\n")
    (tmp_path / "mask" / "manifest.json").unlink()
    with pytest.raises(UserError, match="hash_private_list"):
        distill(sft_config(student, secrets, tmp_path / "mask", epochs=1, **changes))


def test_names_are_found_by_a_model(student: Path, secrets: Path, tmp_path: Path) -> None:
    """Its bias says that every token is of a person."""
    from transformers import BertConfig, BertForTokenClassification

    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    labels = {"id2label": {0: "O", 1: "I-PER"}, "label2id": {"O": 0, "I-PER": 1}}
    model = BertForTokenClassification(BertConfig(vocab_size=258, max_position_embeddings=600, **shape, **labels))
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([0.0, 99.0]))
    model.save_pretrained(tmp_path / "ner")
    byte_tokenizer().save_pretrained(tmp_path / "ner")
    changes = {"privacy": "mask", "private_ner": str(tmp_path / "ner")}
    with pytest.raises(UserError, match=r"all \d+ target tokens but the ends are private"):
        distill(sft_config(student, secrets, tmp_path / "out", epochs=1, **changes))
    model.config.id2label, model.config.label2id = {0: "O", 1: "I-LOC"}, {"O": 0, "I-LOC": 1}
    model.save_pretrained(tmp_path / "ner")
    with pytest.raises(UserError, match="knows I-LOC, O: give a model with a label PER or PERSON"):
        distill(sft_config(student, secrets, tmp_path / "other", epochs=1, **changes))
    with pytest.raises(UserError, match="is a LlamaForCausalLM: give a …ForTokenClassification"):
        distill(sft_config(student, secrets, tmp_path / "causal", privacy="mask", private_ner=str(student)))


def test_a_plan_names_what_is_private_and_keeps_nothing(
    student: Path, teacher: Path, secrets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_run(config(student, teacher, secrets, tmp_path / "out"))
    assert "2 private passages" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_would_leak_is_refused(student: Path, teacher: Path, secrets: Path, tmp_path: Path) -> None:
    refusals: dict[str, dict[str, Any]] = {
        "--method sft does not take --privacy swing: choose logits, multi-teacher": {"method": "sft"},
        "--method on-policy does not take --privacy mask": {"method": "on-policy", "privacy": "mask"},
        "nothing is kept out: add --privacy": {"privacy": None, "private_list": "words.txt"},
        "private_list=missing.txt cannot be read": {"private_list": "missing.txt"},
    }
    for message, changes in refusals.items():
        with pytest.raises(UserError, match=message):
            distill(config(student, teacher, secrets, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()
