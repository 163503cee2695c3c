"""Training options under the names of transformers and TRL: what each changes, and what does not fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentkd.cli.main import app, run_command
from agentkd.config import DistillConfig, load_config
from agentkd.distill import needs, trainer
from agentkd.distill.lessons.sft import pack_rows
from agentkd.distill.lora import merge_adapters, with_base
from agentkd.distill.resolve import resolve_run
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from tests.support.lazy import lazily
from tests.support.students import TEMPLATE, sft_config, weights

torch = lazily("torch")


def same(one: Path, other: Path) -> bool:
    before, after = weights(one), weights(other)
    return all(bool((before[name] == after[name]).all()) for name in before)


def furthest(one: Path, other: Path) -> float:
    before, after = weights(one), weights(other)
    return max(float((before[name] - after[name]).abs().max()) for name in before)


@pytest.fixture(scope="module")
def plain(student: Path, traces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of a default run."""
    out = tmp_path_factory.mktemp("plain") / "out"
    distill(sft_config(student, traces, out))
    return out


def test_the_defaults_said_aloud_are_the_default_run(student: Path, traces: Path, plain: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = {"lr_scheduler_type": "cosine", "warmup_steps": 1, "weight_decay": 0.0}
    distill(sft_config(student, traces, tmp_path / "out", attn_implementation="sdpa", **values))
    assert same(tmp_path / "out", plain)


@pytest.mark.parametrize(
    ("values", "warmup"), [({"warmup_ratio": 0.5}, 6), ({"warmup_steps": 7}, 7), ({"warmup_steps": 0}, 0), ({}, 1)]
)
def test_options_reach_the_trainer(
    values: dict[str, Any], warmup: int, student: Path, traces: Path, tmp_path: Path
) -> None:
    from agentkd.distill.data.dataset import load_training_set
    from agentkd.distill.prepare import prepare_data
    from agentkd.distill.student import load_model

    config = sft_config(student, traces, tmp_path, weight_decay=0.3, lr_scheduler_type="linear", **values)
    (stage,) = resolve_run(config)
    data = prepare_data(stage, (), load_training_set(stage))
    args = trainer.make_trainer(stage, data, load_model(data.student, None), tmp_path).args
    assert (args.weight_decay, args.lr_scheduler_type, args.get_warmup_steps(12)) == (0.3, "linear", warmup)


def test_a_directory_of_an_older_version_goes_on(student: Path, traces: Path, tmp_path: Path, plain: Path) -> None:
    """Its config lacks the younger options, which have their defaults."""
    config = yaml.safe_load((plain / "config.yaml").read_text())
    young = {"weight_decay", "packing", "load_in_4bit", "keep_adapter", "lr_scheduler_type", "eval_fraction"}
    (plain / "config.yaml").write_text(yaml.safe_dump({k: v for k, v in config.items() if k not in young}))
    assert distill(sft_config(student, traces, plain))["steps"]  # it is complete: nothing is trained
    with pytest.raises(UserError, match=r"was made with weight_decay = 0\.0, not 0\.1"):
        distill(sft_config(student, traces, plain, weight_decay=0.1))


# ---- packing --------------------------------------------------------------------------------------------------------


def test_rows_are_packed_best_fit_first() -> None:
    rows = [{"input_ids": [size] * size, "labels": [-100] * size} for size in (3, 9, 2, 5, 5, 12)]
    packs = pack_rows(rows, 10)
    assert [pack["seq_lengths"] for pack in packs] == [[12], [9], [5, 5], [3, 2]]
    assert packs[3]["input_ids"] == [3, 3, 3, 2, 2] and len(packs[3]["labels"]) == 5


def test_packed_examples_are_learned_as_if_alone(student: Path, traces: Path, plain: Path, tmp_path: Path) -> None:
    """All eight in one row are a step of eight: the same loss, and the same weights."""
    values: dict[str, Any] = {"epochs": 2, "warmup_steps": 1}
    one = distill(sft_config(student, traces, tmp_path / "one", batch=8, **values))
    two = distill(sft_config(student, traces, tmp_path / "two", batch=1, packing=True, max_length=8192, **values))
    assert two["examples"] == 1 and one["steps"] == two["steps"] == 2
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-3)
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-4


def test_a_model_that_reads_a_row_as_one_text_is_not_packed(
    student: Path, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkd.distill.lessons.sft.keeps_packed_apart", lambda model: False)
    with pytest.raises(UserError, match="packing: LlamaForCausalLM does not keep examples of one row apart"):
        distill(sft_config(student, traces, tmp_path / "out", packing=True))


# ---- held-out loss --------------------------------------------------------------------------------------------------


def test_the_best_weights_on_held_out_questions_are_kept(
    student: Path, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch is the best, and two more are not better: its weights are kept, and the training stops."""
    losses = iter([3.0, 2.0, 2.5, 2.0, 3.0, 2.0])
    monkeypatch.setattr("agentkd.distill.held_out.measure_loss", lambda *_, **__: next(losses))
    values: dict[str, Any] = {"eval_fraction": 0.25, "lr_scheduler_type": "constant", "warmup_steps": 0}
    out = tmp_path / "out"
    found = distill(sft_config(student, traces, out, epochs=8, early_stopping_patience=2, **values))
    assert found["eval_losses"] == [[3, 3.0], [6, 2.0], [9, 2.5], [12, 2.0]] and found["best_step"] == 6
    assert (found["stopped_early"], found["steps"], found["examples"], found["eval_examples"]) == (True, 12, 6, 2)
    told = capsys.readouterr().err
    assert "held out: 2 examples of 2 questions" in told and "2 epochs were no better than step 6" in told
    assert "the weights are those of step 6, whose held-out loss of 2.0000 nats/token is the best" in told
    learned = [json.loads(line)["id"] for line in (out / "dataset.jsonl").read_text().splitlines()]
    kept_out = [json.loads(line)["id"] for line in (out / "held_out.jsonl").read_text().splitlines()]
    assert len(learned) == 6 and len(kept_out) == 2 and not set(learned) & set(kept_out)
    second = distill(sft_config(student, traces, tmp_path / "second", epochs=2, **values))
    assert same(out, tmp_path / "second") and not second["stopped_early"]
    assert not (out / "checkpoints").exists()


@pytest.mark.parametrize("values", [{"lora": 2}, {"method": "logits", "top_k": 8}], ids=["lora", "logits"])
def test_the_loss_is_that_of_the_saved_student(
    values: dict[str, Any], student: Path, teacher: Path, traces: Path, tmp_path: Path
) -> None:
    from agentkd.distill.data.dataset import load_training_set
    from agentkd.distill.data.tokens import tokenise
    from agentkd.distill.student import load_model, open_student

    if values.get("method") == "logits":
        values = {**values, "teacher": str(teacher)}
    config = sft_config(student, traces, tmp_path / "out", eval_fraction=0.3, epochs=2, **values)
    found = distill(config)
    opened = open_student(str(tmp_path / "out"))
    model = load_model(opened, None)
    total, count = 0.0, 0
    for example in load_training_set(resolve_run(config)[0]).held_out:
        row = tokenise(example, opened.tokenizer)
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].detach()
        labels = torch.tensor(row["labels"][1:])
        total += float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
        count += int((labels != -100).sum())
    assert min(loss for _, loss in found["eval_losses"]) == pytest.approx(total / count, abs=1e-3)


@pytest.mark.parametrize("stop", [3, pytest.param(5, marks=pytest.mark.whole)])
def test_a_run_that_was_stopped_measures_as_an_undisturbed_one(
    stop: int, student: Path, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 is the last of an epoch: the checkpoint is older than the measurement."""
    values: dict[str, Any] = {"eval_fraction": 0.25, "epochs": 3, "lr": 0.05}
    whole = distill(sft_config(student, traces, tmp_path / "whole", **values))
    make = trainer.make_trainer

    def stopped(*args: Any, **options: Any) -> Any:
        from transformers import TrainerCallback

        class Stop(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == stop:
                    control.should_save = True

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == stop:
                    raise KeyboardInterrupt

        found = make(*args, **options)
        found.add_callback(Stop())
        return found

    with monkeypatch.context() as patch:
        patch.setattr("agentkd.distill.train.make_trainer", stopped)
        with pytest.raises(KeyboardInterrupt):
            distill(sft_config(student, traces, tmp_path / "again", **values))
    again = distill(sft_config(student, traces, tmp_path / "again", **values))
    assert again["eval_losses"] == whole["eval_losses"] and again["best_step"] == whole["best_step"]
    assert same(tmp_path / "whole", tmp_path / "again")


# ---- adapters, 4 bits, templates ------------------------------------------------------------------------------------


def test_adapters_are_kept_beside_the_merged_weights(student: Path, traces: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    distill(sft_config(student, traces, tmp_path / "out", lora=2, keep_adapter=True))
    folder = tmp_path / "out/adapter"
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(student)
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    base = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, str(folder)).merge_and_unload().state_dict()
    for name, weight in weights(tmp_path / "out").items():
        assert torch.allclose(weight, merged[name], atol=1e-5), name


def test_adapters_of_a_quantised_model_are_merged_into_the_weights_as_they_were() -> None:
    base = {"model.a.weight": torch.eye(2), "model.norm.weight": torch.ones(2)}
    root = "base_model.model.model."
    state = {
        f"{root}a.base_layer.weight": torch.zeros(1, dtype=torch.uint8),
        f"{root}a.base_layer.weight.absmax": torch.zeros(1),
        f"{root}a.lora_A.default.weight": torch.ones(1, 2),
        f"{root}a.lora_B.default.weight": torch.ones(2, 1),
        f"{root}norm.weight": torch.zeros(2),
    }
    merged = merge_adapters(with_base(state, base))
    assert {name: weight.tolist() for name, weight in merged.items()} == {
        "model.a.weight": [[3.0, 2.0], [2.0, 3.0]],
        "model.norm.weight": [1.0, 1.0],
    }


def test_weights_of_4_bits_take_less_memory_in_the_plan(
    student: Path, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agentkd.distill.data.dataset import load_training_set
    from agentkd.distill.prepare import prepare_data

    (stage,) = resolve_run(sft_config(student, traces, tmp_path / "out", lora=2, keep_adapter=True, eval_fraction=0.2))
    data = prepare_data(stage, (), load_training_set(stage))
    whole = needs.compute_needs(stage, data)
    small = needs.compute_needs(stage.with_changes(load_in_4bit=True), data)
    assert small["memory"]["training"]["weights"] < whole["memory"]["training"]["weights"]
    assert {"adapters", "the best weights"} <= whole["disk"].keys()


def test_a_chat_template_is_used_and_saved(
    student: Path, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(TEMPLATE.replace("<|im_start|>", "## "))
    values: dict[str, Any] = {"epochs": 1, "chat_template": str(file)}
    distill(sft_config(student, traces, tmp_path / "out", **values))
    assert (tmp_path / "out/chat_template.jinja").read_text() == file.read_text()
    assert "it ends a turn" not in capsys.readouterr().err
    distill(sft_config(student, traces, tmp_path / "copied", epochs=1, chat_template=str(tmp_path / "out")))
    assert same(tmp_path / "out", tmp_path / "copied")
    file.write_text(TEMPLATE.replace("<|im_end|>", "</s>"))
    with pytest.raises(UserError, match="was made with hash_template"):
        distill(sft_config(student, traces, tmp_path / "out", **values))
    distill(sft_config(student, traces, tmp_path / "other", **values))
    assert "it ends a turn with '</s>', the student with '<|im_end|>'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("warmup_steps=3 warmup_ratio=0.1", "warmup_steps=3 and warmup_ratio=0.1: give one of them"),
        ("early_stopping_patience=2", "early_stopping_patience needs a held-out loss: add eval_fraction=0.1"),
        ("eval_fraction=0.9", "option 'eval_fraction' = 0.9: input should be less than or equal to 0.5"),
        ("keep_adapter=true", "keep_adapter needs adapters: add lora=16"),
        ("keep_adapter=true lora=2 layers=1", "keep_adapter does not go with layers=1"),
        ("load_in_4bit=true", "load_in_4bit trains adapters on quantised weights: add lora=16"),
        ("load_in_4bit=true lora=2 layers=1", "load_in_4bit does not go with layers=1"),
        ("load_in_4bit=true lora=2", "load_in_4bit needs a GPU, and none is seen"),
        (
            "attn_implementation=flash_attention_2",
            "attn_implementation=flash_attention_2 needs a GPU, and none is seen",
        ),
        (
            "attn_implementation=flash_atention_2",
            "option 'attn_implementation' = 'flash_atention_2'; did you mean flash_",
        ),
        ("lr_scheduler_type=cosin", "option 'lr_scheduler_type' = 'cosin'; did you mean cosine?"),
        ("warmup_step=3", "unknown option 'warmup_step'; did you mean warmup_steps"),
        ("gradient_accumulation_steps=4", "option 'gradient_accumulation_steps' is called accumulate here: write"),
        ("learning_rate=1e-4", "option 'learning_rate' is called lr here: write lr=…"),
        ("packing=true method=preference", "--method preference does not take packing=true: choose sft"),
        ("chat_template=mine.jinja", "chat_template=mine.jinja is none: give a .jinja file, or a model that has it"),
    ],
)
def test_what_does_not_fit_is_one_line(
    words: str, line: str, student: Path, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "distill",
        "--student",
        str(student),
        "--traces",
        str(traces),
        "--out",
        str(tmp_path / "out"),
        *words.split(),
    ]
    assert run_command(lambda: app(argv, standalone_mode=False)) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {line}")
    assert not (tmp_path / "out").exists()


def test_foreign_names_lead_to_fields_that_exist() -> None:
    assert set(DistillConfig.CALLED.values()) <= set(DistillConfig.model_fields)
    assert not set(DistillConfig.CALLED) & set(DistillConfig.model_fields)
    assert load_config(DistillConfig, recipe=None, options={}, overrides=["packing=true"]).packing
