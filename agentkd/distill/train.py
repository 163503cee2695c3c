"""Train a stage and save the student: the loop, resumed from `checkpoints/` where it was stopped, weights and curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.distill import processes
from agentkd.distill.checkpoints import progress_callback
from agentkd.distill.data.tokens import IGNORED, TrainingData
from agentkd.distill.health import train_and_save
from agentkd.distill.resolve import Stage
from agentkd.distill.student import load_model
from agentkd.distill.trainer import make_teacher_signal, make_trainer
from agentkd.inference.model_folder import set_tied
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say


def train_student(stage: Stage, data: TrainingData) -> dict[str, Any]:
    """Train on the targets and write weights, tokenizer and curve into `stage.out`. Returns losses (nats per target
    token), tokens and seconds."""
    checkpoints, inputs = stage.out / "checkpoints", len(data.inputs.rows)
    signal = make_teacher_signal(stage, data, stage.out / "logits")
    interrupt = Interrupt(lambda: None)
    model = load_model(data.student, stage.config.layers)
    trainer = make_trainer(
        stage, data, model, checkpoints, signal, callbacks=[progress_callback("nats/token", interrupt)]
    )
    args = trainer.args
    examples_a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = inputs // examples_a_step if stage.method.drops_last else -(-inputs // examples_a_step)
    say(f"{stage.epochs:g} epochs of {steps} steps · lr {stage.lr:g} · {'bf16' if args.bf16 else 'fp32'}")
    seconds = train_and_save(trainer, interrupt, stage.out, lambda: save_student(trainer, stage))
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = sum(len(row["input_ids"]) for row in data.rows)
    if processes.is_rank_0():
        plot_curve(history, stage.out / "loss.png")
    return {
        "examples": inputs,
        "tokens_per_epoch": tokens,
        "target_tokens_per_epoch": sum(label != IGNORED for row in data.rows for label in row["labels"]),
        "steps": trainer.state.global_step,
        "examples_a_step": examples_a_step,
        "parallel": trainer.accelerator.distributed_type.value,
        "loss_first": history[0]["loss"] if history else None,
        "loss_last": history[-1]["loss"] if history else None,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens * stage.epochs / seconds, 1),
        "losses": [round(entry["loss"], 4) for entry in history],
        **{
            name: [round(entry[name], 4) for entry in history]
            for name in stage.method.terms
            if history and isinstance(history[0].get(name), float)
        },
        **(signal.facts if signal else {}),
        **({"private": data.private} if data.private else {}),
    }


def save_student(trainer: Any, stage: Stage) -> None:
    """Write an ordinary model directory: whole weights and the tokenizer. All processes take part, rank 0 writes."""
    wrapped = trainer.model_wrapped if trainer.is_deepspeed_enabled else trainer.model
    state = trainer.accelerator.get_state_dict(wrapped)
    if not processes.is_rank_0():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if stage.config.lora:
        from agentkd.distill.lora import merge_adapters, transposed_layers

        model, state = model.get_base_model(), merge_adapters(state, transposed_layers(model))
    drop_tied_head(model, state)
    model.save_pretrained(stage.out, state_dict=state)
    trainer.processing_class.save_pretrained(stage.out)


def drop_tied_head(model: Any, state: dict[str, Any]) -> None:
    """Leave one of two equal embedding and output matrices in a state dict, and let the model's config say whether they
    are one. FSDP gathers a tied weight under both names."""
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): f"{name}.weight" for name, module in model.named_modules()}
    one, other = (state.get(names[id(module)]) for module in (inner, outer))
    tied = one is None or other is None or (one.shape == other.shape and bool((one == other).all()))
    if tied:
        state.pop(names[id(outer)], None)
    set_tied(model, tied)


def plot_curve(history: list[dict[str, Any]], path: Path) -> None:
    """Draw the training loss over steps, as a PNG."""
    from matplotlib.figure import Figure  # pyplot would choose a backend for the whole process

    figure = Figure(figsize=(6, 3.5))
    axes = figure.add_axes((0.12, 0.15, 0.86, 0.81))
    axes.plot([entry["step"] for entry in history], [entry["loss"] for entry in history])
    axes.set(xlabel="step", ylabel="loss (nats / target token)", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
