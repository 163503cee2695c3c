"""Train a student by one method, with TRL's stable trainers: what is fed, the loss, checkpoints, the weights saved.

`checkpoints/` and the same command resume a run that was stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentkd.config import DistillConfig
from agentkd.distill import processes
from agentkd.distill.checkpoints import keep_memory, last_checkpoint, reporter
from agentkd.distill.data.dataset import IGNORED, Dataset, tokenise
from agentkd.distill.data.forms import Example
from agentkd.distill.data.teacher_scores import check_vocabularies, load_teacher
from agentkd.distill.lessons.on_policy import on_policy_trainer, prompts
from agentkd.distill.lessons.preference import pairs, preference_trainer
from agentkd.distill.load import Student
from agentkd.errors import UserError
from agentkd.models import find_weights
from agentkd.runs.progress import say

if TYPE_CHECKING:
    from agentkd.distill.lessons.logits import Lesson

LESSONS = ("logits", "cross-tokenizer", "multi-teacher")  # a scoring pass, then SFTTrainer with another loss
TERMS = ("nll", "divergence", "uld", "rewards/margins", "rewards/accuracies", "completions/mean_length")  # at each step
Rows = list[dict[str, Any]]


class Ready(NamedTuple):
    """All that was checked before the first byte is written: a student, the examples that it can read, their token ids
    (`rows`), what the method's trainer is fed, and how many tokens each piece of that brings into memory."""

    student: Student
    examples: list[Example]
    rows: list[dict[str, list[int]]]
    fed: Rows
    sizes: list[int]


def prepare(config: DistillConfig, dataset: Dataset) -> Ready:
    """Open the student and tokenise for it. Raises UserError where something is wrong with either."""
    keep_memory()  # before torch makes its first block
    try:
        import datasets.utils.logging
        import transformers
        import trl  # noqa: F401  the heaviest, and the one that is most often missing
    except ImportError as error:
        raise UserError(f"distill needs {error.name}: pip install 'agentkd[train]'") from None
    from agentkd.distill.load import open_student

    datasets.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    processes.first(lambda: find_weights(config.student) and None)  # downloaded or unpacked once, not by every process
    student = open_student(config.student)
    limit = config.max_length or int(student.settings.get_text_config().max_position_embeddings)
    rows = [tokenise(example, student.tokenizer) for example in dataset.examples]
    fits = [len(row["input_ids"]) <= limit for row in rows]
    short, examples = list(compress(rows, fits)), list(compress(dataset.examples, fits))
    if not short:
        raise UserError(f"all {len(rows)} examples are longer than {limit} tokens: raise max_length=…")
    if len(short) < len(rows):
        say(f"{len(rows) - len(short)} examples are longer than {limit} tokens and were left out")
    if config.method in LESSONS and os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise UserError(
            f"--method {config.method} does not run on DeepSpeed: launch it with recipes/accelerate/fsdp2.yaml"
        )
    if config.method in ("logits", "multi-teacher", "on-policy"):
        for name in config.teacher_specs:
            other = transformers.AutoTokenizer.from_pretrained(find_weights(name))
            check_vocabularies(student.tokenizer, other, name)
    return Ready(student, examples, short, *feed(config, student.tokenizer, examples, short))


def feed(
    config: DistillConfig, tokenizer: Any, examples: list[Example], rows: list[dict[str, list[int]]]
) -> tuple[Rows, list[int]]:
    """What the trainer of the method takes, and the tokens that each of it brings into memory."""
    if config.method == "preference":
        fed = pairs(examples, tokenizer, config.rejected)
        return fed, [2 * (len(p["prompt_ids"]) + max(len(p["chosen_ids"]), len(p["rejected_ids"]))) for p in fed]
    if config.method == "on-policy":
        asked = {example.prompt: row["labels"].count(IGNORED) for example, row in zip(examples, rows, strict=True)}
        return prompts(examples), [given + config.rollout_tokens for given in asked.values()]
    return [{**row, "row": number} for number, row in enumerate(rows)], [len(row["input_ids"]) for row in rows]


def train(config: DistillConfig, ready: Ready, out: Path) -> dict[str, Any]:
    """Fine-tuning on the targets alone. Returns losses (nats a target token), tokens and seconds."""
    from agentkd.distill.health import clear_torn, saving
    from agentkd.distill.load import load_model

    checkpoints = out / "checkpoints"
    taught = lesson(config, ready, out / "logits")
    model = load_model(ready.student, config.layers)
    trainer = make_trainer(config, ready, model, checkpoints, taught, callbacks=[reporter("nats/token")])
    args = trainer.args
    assert config.epochs and config.lr  # `resolve` has filled them in
    together = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = len(ready.fed) // together if config.method == "on-policy" else -(-len(ready.fed) // together)
    say(f"{config.epochs[0]:g} epochs of {steps} steps · lr {config.lr[0]:g} · {'bf16' if args.bf16 else 'fp32'}")
    processes.first(lambda: clear_torn(checkpoints))
    last = processes.first(lambda: last_checkpoint(checkpoints))
    if last:
        say(f"going on from {last}")
    start = time.monotonic()
    trainer.train(resume_from_checkpoint=last)
    seconds = time.monotonic() - start
    trainer.check_weights()
    with saving(out / "model.safetensors", f"; {Path(last).name} is kept" if last else ""):
        save(trainer, config, out)
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = sum(len(row["input_ids"]) for row in ready.rows)
    if processes.is_first():
        plot_curve(history, out / "loss.png")
    return {
        "examples": len(ready.fed),
        "tokens_per_epoch": tokens,
        "target_tokens_per_epoch": sum(label != IGNORED for row in ready.rows for label in row["labels"]),
        "steps": trainer.state.global_step,
        "examples_a_step": together,
        "parallel": trainer.accelerator.distributed_type.value,
        "loss_first": history[0]["loss"] if history else None,
        "loss_last": history[-1]["loss"] if history else None,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens * config.epochs[0] / seconds, 1),
        "losses": [round(entry["loss"], 4) for entry in history],
        **{
            name: [round(entry[name], 4) for entry in history]
            for name in TERMS
            if history and isinstance(history[0].get(name), float)
        },
        **(taught.facts if taught else {}),
    }


def lesson(config: DistillConfig, ready: Ready, folder: Path) -> Lesson | None:
    """What the method's teachers say of these rows (scored now, taken up or read), and the loss that learns from it;
    None for a method without a scoring pass. Rank 0 scores, the others wait and read."""
    if config.method not in LESSONS:
        return None

    def made() -> Lesson:
        from agentkd.distill.lessons import cross_tokenizer, logits, multi_teacher

        tokenizer = ready.student.tokenizer
        match config.method:
            case "cross-tokenizer":
                return cross_tokenizer.prepare(config, tokenizer, ready.examples, ready.rows, folder)
            case "multi-teacher":
                return multi_teacher.prepare(config, tokenizer, ready.rows, folder)
            case _:
                return logits.prepare(config, tokenizer, ready.rows, folder)

    if processes.world() > 1:
        processes.first(lambda: made() and None)
    return made()


def make_trainer(
    config: DistillConfig,
    ready: Ready,
    model: Any,
    folder: Path,
    taught: Lesson | None = None,
    *,
    max_steps: int = -1,
    callbacks: Sequence[Any] = (),
) -> Any:
    """TRL's trainer of the method with our batches, loss and stops. It writes checkpoints under `folder`."""
    import torch
    from datasets import Dataset as Table
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from agentkd.distill.health import guarded

    assert config.epochs and config.lr and config.batch  # `resolve` has filled them in
    batch = min(config.batch, len(ready.fed))
    together = batch * config.accumulate * processes.world()
    shared: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": config.epochs[0],
        "max_steps": max_steps,
        "learning_rate": config.lr[0],
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, len(ready.fed) // together // 4),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": config.accumulate,
        "seed": config.seed,
        "bf16": config.half,
        "activation_checkpointing": config.grad_checkpointing,
        "save_strategy": "steps",
        "save_steps": 10**9,  # `reporter` saves by the clock: a checkpoint is three times the weights
        "save_total_limit": 1,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would show the last loss in place of one that is no number
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": not torch.cuda.is_available(),
    }
    parts: dict[str, Any] = {
        "model": model,
        "train_dataset": Table.from_list(ready.fed),
        "processing_class": ready.student.tokenizer,
        "callbacks": list(callbacks),
    }
    if config.lora:
        from agentkd.distill.lora import adapters

        parts["peft_config"] = adapters(config.lora)
    if config.method == "preference":
        trainer = preference_trainer(config, shared, **parts)
    elif config.method == "on-policy":
        trainer = on_policy_trainer(config, shared, teacher_model=load_teacher(str(config.teacher)), **parts)
    else:
        kind = guarded(by_length(SFTTrainer))
        if taught is not None:
            from agentkd.distill.lessons.logits import with_loss

            kind = with_loss(kind, taught.loss)
            parts["data_collator"] = taught.collator
        # Lengths were checked before, so that nothing is cut; the rows hold token ids already.
        plain = {"max_length": None, "packing": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
        trainer = kind(args=SFTConfig(**shared, **plain), **parts)
    trainer.remove_callback(PrinterCallback)
    return trainer


def save(trainer: Any, config: DistillConfig, out: Path) -> None:
    """The weights, whole, and the tokenizer: an ordinary model directory. All processes take part, rank 0 writes."""
    wrapped = trainer.model_wrapped if trainer.is_deepspeed_enabled else trainer.model
    state = trainer.accelerator.get_state_dict(wrapped)
    if not processes.is_first():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if config.lora:
        from agentkd.distill.lora import merge

        model, state = model.get_base_model(), merge(state)
    if model.config.get_text_config().tie_word_embeddings:  # FSDP gathers what is one weight under two names
        head = model.get_output_embeddings()
        state.pop(next(f"{name}.weight" for name, module in model.named_modules() if module is head), None)
    model.save_pretrained(out, state_dict=state)
    trainer.processing_class.save_pretrained(out)


def by_length(trainer: Any) -> Any:
    """The trainer with steps of like length, for padding costs a CPU a fifth of its time. transformers' own
    "group_by_length" draws from the global generator, so that a resumed run would see another order. A step holds the
    same examples in whatever way they are divided among processes and accumulated batches."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    class ByLength(torch.utils.data.Sampler[int]):
        def __init__(self, lengths: list[int], batch: int, seed: int) -> None:
            self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, 0

        def __len__(self) -> int:
            return len(self.lengths)

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            return iter(get_length_grouped_indices(self.lengths, self.batch, generator=generator))

    class Trainer(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            lengths = [len(ids) for ids in self.train_dataset["input_ids"]]
            together = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            return ByLength(lengths, together, self.args.seed)

    return Trainer


def plot_curve(history: list[dict[str, Any]], path: Path) -> None:
    """The training loss over steps, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot([entry["step"] for entry in history], [entry["loss"] for entry in history])
    axes.set(xlabel="step", ylabel="loss (nats / target token)", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
