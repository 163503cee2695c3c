"""Train on blocks of text, measure the loss on held-out ones meanwhile, and save the student."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.config import TextsConfig
from agentkd.distill.checkpoints import progress_callback, tracking_callbacks, trainer_arguments
from agentkd.distill.data.tokens import IGNORED
from agentkd.distill.health import train_and_save, with_health_checks
from agentkd.distill.lessons.sft import with_own_logits
from agentkd.distill.lessons.trl_head import trl_knows_head
from agentkd.distill.student import Student, load_model, prune_layers, rebuild
from agentkd.distill.texts.blocks import collate
from agentkd.distill.train import drop_tied_head
from agentkd.pretrained import make_model
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say

HELD_OUT = "held_out_loss"  # in the trainer's history, which checkpoints keep


class Steps(NamedTuple):
    """How many optimiser steps a run takes, and how many tokens it learns in them."""

    batch: int
    a_step: int  # blocks
    steps: int
    tokens: int


def count_steps(config: TextsConfig, blocks: int, targets: int) -> Steps:
    """The steps for `blocks` blocks with `targets` tokens to learn."""
    batch = min(config.batch, blocks)
    a_step = batch * config.accumulate
    an_epoch = -(-blocks // a_step)
    a_block = targets / blocks
    if config.tokens:
        steps = max(1, round(config.tokens / (a_block * a_step)))
    else:
        steps = max(1, round(config.epochs * an_epoch))
    whole, rest = divmod(steps, an_epoch)
    return Steps(batch, a_step, steps, round(whole * targets + min(targets, rest * a_step * a_block)))


def begin(config: TextsConfig, student: Student) -> Any:
    """The model before its first step: the student's weights, or random ones of its shape; fewer layers where asked."""
    if not config.fresh:
        return load_model(student, config.layers)
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(config.seed)
    model = make_model(AutoModelForCausalLM, student.settings, trust=student.trust).float()
    if config.layers:
        prune_layers(model, config.layers)
        model = rebuild(model)
    return model


def make_trainer(config: TextsConfig, model: Any, student: Student, table: Any, folder: Path, steps: Steps) -> Any:
    """TRL's SFTTrainer over blocks. It writes checkpoints under `folder`."""
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    kind = with_health_checks(SFTTrainer)
    if not trl_knows_head(model):
        say(f"TRL does not know how {type(model).__name__} makes its logits: all of them are kept in memory")
        kind = with_own_logits(kind)
    arguments = SFTConfig(
        **trainer_arguments(folder, config.seed),
        max_steps=steps.steps,
        learning_rate=config.lr,
        warmup_steps=max(1, steps.steps // 20),
        per_device_train_batch_size=steps.batch,
        gradient_accumulation_steps=config.accumulate,
        bf16=config.half,
        activation_checkpointing=config.grad_checkpointing,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        max_length=None,  # blocks are cut already
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        router_aux_loss_coef=0.0,
    )
    trainer = kind(
        model=model,
        args=arguments,
        train_dataset=table,
        processing_class=student.tokenizer,
        data_collator=partial(collate, pad=student.tokenizer.pad_token_id),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def measure_loss(trainer: Any, table: Any) -> float:
    """The mean negative log-likelihood of the blocks' tokens, in nats a token."""
    import torch

    model, batch = trainer.model, trainer.args.train_batch_size
    training = model.training
    model.eval()
    total, count = 0.0, 0
    try:
        with torch.no_grad():
            for first in range(0, len(table), batch):
                rows = [table[place] for place in range(first, min(first + batch, len(table)))]
                inputs = {name: value.to(model.device) for name, value in trainer.data_collator(rows).items()}
                targets = int((inputs["labels"] != IGNORED).sum())
                total += float(trainer.compute_loss(model, inputs)) * targets
                count += targets
    finally:
        model.train(training)
    return total / count


def held_out_callback(trainer: Any, table: Any, every: int) -> Any:
    """A transformers callback that measures the held-out loss before the first step, then every `every` steps, and
    after the last."""
    from transformers import TrainerCallback

    class HeldOut(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 0:
                self.measure(state)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % every == 0 or state.global_step >= state.max_steps:
                self.measure(state)

        def measure(self, state: Any) -> None:
            state.log_history.append({"step": state.global_step, HELD_OUT: measure_loss(trainer, table)})

    return HeldOut()


def train(config: TextsConfig, student: Student, tables: dict[str, Any], steps: Steps, out: Path) -> dict[str, Any]:
    """Train, write weights and tokenizer into `out`, and return losses (nats a token), the held-out curve and seconds.

    Raises UserError for a loss that is no number, WorldError where the disk refuses."""
    checkpoints = out / "checkpoints"
    interrupt = Interrupt(lambda: None)
    trainer = make_trainer(config, begin(config, student), student, tables["train"], checkpoints, steps)
    for callback in tracking_callbacks(config.log):
        trainer.add_callback(callback)
    every = max(1, steps.steps // config.evaluations)
    trainer.add_callback(held_out_callback(trainer, tables["validation"], every))
    trainer.add_callback(progress_callback("nats/token", interrupt))
    seconds = train_and_save(trainer, interrupt, out, lambda: save(trainer, out))
    history = trainer.state.log_history
    losses = [round(entry["loss"], 4) for entry in history if "loss" in entry]
    curve = [[entry["step"], round(entry[HELD_OUT], 4)] for entry in history if HELD_OUT in entry]
    return {
        "examples": len(tables["train"]),
        "steps": trainer.state.global_step,
        "tokens": steps.tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(steps.tokens / max(seconds, 1e-9), 1),
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "losses": losses,
        "held_out_losses": curve,
        "held_out_before": curve[0][1],
        "held_out_after": curve[-1][1],
    }


def save(trainer: Any, out: Path) -> None:
    """Write an ordinary model directory."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    state = trainer.accelerator.get_state_dict(trainer.model)
    drop_tied_head(model, state)
    model.save_pretrained(out, state_dict=state)
    trainer.processing_class.save_pretrained(out)


def plot_curves(losses: list[float], held_out: list[list[float]], path: Path) -> None:
    """Draw the training and the held-out loss over steps, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5))
    axes = figure.add_axes((0.12, 0.15, 0.86, 0.81))
    axes.plot(range(1, len(losses) + 1), losses, label="texts", alpha=0.6)
    axes.plot(*zip(*held_out, strict=True), "o-", label="held-out texts", markersize=3)
    axes.set(xlabel="step", ylabel="loss (nats / token)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
