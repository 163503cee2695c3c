"""Train a stage and save the student: the loop, resumed from `checkpoints/` where it was stopped, weights and curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkd.distill import processes
from agentkd.distill.checkpoints import progress_callback, tracking_callbacks
from agentkd.distill.data.tokens import IGNORED, TrainingData
from agentkd.distill.health import train_and_save
from agentkd.distill.held_out import best_of, held_out_callback, load_best, read_curve
from agentkd.distill.loading import load_for_training
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
    model = load_for_training(data.student, stage.config)
    callbacks = [progress_callback("nats/token", interrupt), *tracking_callbacks(stage.config.log)]
    trainer = make_trainer(stage, data, model, checkpoints, signal, callbacks=callbacks)
    if data.held_out:
        pad, patience = data.student.tokenizer.pad_token_id, stage.config.early_stopping_patience
        trainer.add_callback(held_out_callback(trainer.model, data.held_out, checkpoints, pad=pad, patience=patience))
    args = trainer.args
    examples_a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = inputs // examples_a_step if stage.method.drops_last else -(-inputs // examples_a_step)
    say(f"{stage.epochs:g} epochs of {steps} steps · lr {stage.lr:g} · {'bf16' if args.bf16 else 'fp32'}")
    seconds = train_and_save(trainer, interrupt, stage.out, lambda: save_student(trainer, stage, data))
    curve = read_curve(trainer.state.log_history)
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = sum(len(row["input_ids"]) for row in data.rows)
    if processes.is_rank_0():
        plot_curve(history, stage.out / "loss.png", curve)
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
        "tokens_per_second": round(tokens * (trainer.state.epoch if curve else stage.epochs) / seconds, 1),
        "losses": [round(entry["loss"], 4) for entry in history],
        **{
            name: [round(entry[name], 4) for entry in history]
            for name in stage.method.terms
            if history and isinstance(history[0].get(name), float)
        },
        **(signal.facts if signal else {}),
        **({"private": data.private} if data.private else {}),
        **(describe_held_out(curve, len(data.held_out), trainer.state) if curve else {}),
    }


def describe_held_out(curve: Sequence[tuple[int, float]], examples: int, state: Any) -> dict[str, Any]:
    """The held-out losses for metrics.json, and which step's weights were kept; the latter is said."""
    step, loss = best_of(curve)
    if step != curve[-1][0]:
        say(f"the weights are those of step {step}, whose held-out loss of {loss:.4f} nats/token is the best")
    return {
        "eval_examples": examples,
        "eval_losses": [[step, round(loss, 4)] for step, loss in curve],
        "best_step": step,
        "stopped_early": state.global_step < state.max_steps,
    }


def save_student(trainer: Any, stage: Stage, data: TrainingData) -> None:
    """Write an ordinary model directory: whole weights, of the best step where one is known, and the tokenizer.

    All processes take part, rank 0 writes. Of adapters on 4 bits, the merge is with the weights as they were."""
    if data.held_out:
        load_best(trainer.model, Path(trainer.args.output_dir), trainer.state.log_history)
    wrapped = trainer.model_wrapped if trainer.is_deepspeed_enabled else trainer.model
    state = trainer.accelerator.get_state_dict(wrapped)
    if not processes.is_rank_0():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if stage.config.lora:
        from agentkd.distill.lora import merge_adapters, save_adapters, transposed_layers, with_base

        if stage.config.keep_adapter:
            save_adapters(model, state, stage.out / "adapter", stage.student)
        transposed = transposed_layers(model)
        if stage.config.load_in_4bit:
            model = load_model(data.student, None)
            state = with_base(state, model.state_dict())
        else:
            model = model.get_base_model()
        state = merge_adapters(state, transposed)
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


def plot_curve(history: list[dict[str, Any]], path: Path, held_out: Sequence[tuple[int, float]] = ()) -> None:
    """Draw the training loss over steps, and the held-out loss where it was measured, as a PNG."""
    from matplotlib.figure import Figure  # pyplot would choose a backend for the whole process

    figure = Figure(figsize=(6, 3.5))
    axes = figure.add_axes((0.12, 0.15, 0.86, 0.81))
    axes.plot([entry["step"] for entry in history], [entry["loss"] for entry in history])
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o-", label="held out")
        axes.legend()
    axes.set(xlabel="step", ylabel="loss (nats / target token)", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
