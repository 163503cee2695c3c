"""Models that cannot be students, and runs that are no whole ones: one line, the remedy, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig, load_config
from agentkd.distill.stages import distill
from agentkd.distill.student import load_model, open_student
from agentkd.errors import UserError
from tests.support.lazy import lazily
from tests.support.students import sft_config
from tests.support.traces import make_trace, write_run

transformers = lazily("transformers")


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", [make_trace(f"country {number}") for number in range(4)])


def encoder(folder: Path) -> None:
    """A BERT's random weights in place of the student's."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.BertModel(transformers.BertConfig(vocab_size=300, **shape)).save_pretrained(folder)


def changed(**fields: Any) -> Callable[[Path], None]:
    """Other fields in config.json, beside the same weights."""

    def change(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**content, **fields}))

    return change


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


BROKEN = {
    "encoder": (encoder, "is a BertModel, not a causal language model: choose one whose config.json"),
    "classifier": (
        changed(architectures=["LlamaForSequenceClassification"]),
        "is a LlamaForSequenceClassification, not",
    ),
    "no head": (changed(architectures=["LlamaModel"]), "is a LlamaModel, not a causal"),
    "seq2seq": (changed(is_encoder_decoder=True), "not a causal language model"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights .model.safetensors.: save"),
    "half weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "model.safetensors in .* is missing or half written: save or copy it again",
    ),
    "no JSON": (written("config.json", '{"model_type": "lla'), "cannot read .*config.json .*: save or copy the model"),
    "no kind": (written("config.json", "{}"), "cannot read .*config.json .*: save or copy the model"),
    "tokenizer": (written("tokenizer.json", "{"), "cannot read the tokenizer in .*: save or copy the model again"),
    "embedding": (changed(vocab_size=200), "a tokenizer of 258 tokens and an embedding of 200: take the"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_a_student_is_named(name: str, student: Path, traces: Path, tmp_path: Path) -> None:
    spoil, message = BROKEN[name]
    folder, out = tmp_path / "broken", tmp_path / "out"
    shutil.copytree(student, folder)
    spoil(folder)
    with pytest.raises(UserError, match=message) as refused:
        distill(sft_config(folder, traces, out))
    assert "\n" not in str(refused.value) and not out.exists(), "another student may have that directory"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_hidden_layers": 3}, r"lack 'model.layers.2.\S+' and 8 more: save or copy the model again"),
        ({"intermediate_size": 96}, r"do not fit its config.json .*: save or copy the model again"),
    ],
    ids=["missing", "another shape"],
)
def test_weights_that_are_not_the_configs_are_not_filled_with_noise(
    fields: dict[str, Any], message: str, student: Path, tmp_path: Path
) -> None:
    shutil.copytree(student, tmp_path / "broken")
    changed(**fields)(tmp_path / "broken")
    with pytest.raises(UserError, match=message):
        load_model(open_student(str(tmp_path / "broken")), None)


def test_a_half_written_run_gives_what_is_whole(student: Path, traces: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(traces, half)
    (half / "manifest.json").unlink()
    shard = half / "traces-0.jsonl"
    before = shard.read_bytes()
    shard.write_bytes(before[:-40])
    assert distill(sft_config(student, half, tmp_path / "out", epochs=1))["examples"] == 3
    assert shard.read_bytes() == before[:-40], "it is another command's to mend"
    lines = before.splitlines(keepends=True)
    for line, message in {
        b'{"id": "a", "sample": 0}\n': r"line 2 of .*half/traces-\*.jsonl is no trace .*: remove the line, or generate",
        b"{torn\n": r"traces-0.jsonl:2 is not JSON .*: run the command that wrote the directory again",
    }.items():
        shard.write_bytes(lines[0] + line + b"".join(lines[2:]))
        with pytest.raises(UserError, match=message):
            distill(sft_config(student, half, tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "word", ["lr=0", "lr=-1e-3", "lr=.nan", "lr=.inf", "epochs=0", "epochs=.inf", "batch=0", "accumulate=0", "lora=0"]
)
def test_numbers_that_train_nothing_are_refused(word: str) -> None:
    with pytest.raises(UserError, match=rf"option '{word.partition('=')[0]}' = \S+: input should be"):
        load_config(DistillConfig, recipe=None, options={}, overrides=[word])
