"""Train a student on verified traces with TRL's stable trainers.

The student directory holds weights, tokenizer, config.yaml, metrics.json, curves and a card; `checkpoints/` and the
same command resume a run that was stopped. The manifest is written last, after the weights.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.config import DistillConfig, has_bf16, slug, task_label
from agentkd.distill import ranks
from agentkd.distill.card import write_card
from agentkd.distill.dataset import IGNORED, Dataset, load, tokenise
from agentkd.distill.load import Student
from agentkd.distill.scoring import Scores, check_vocabularies, score
from agentkd.errors import UserError
from agentkd.inprocess import weights_identity
from agentkd.models import find_weights
from agentkd.progress import say
from agentkd.store import Run, is_complete, newest_run, read_config
from agentkd.training import keep_memory, last_checkpoint, reporter

METHODS = ("sft", "logits")


class Ready(NamedTuple):
    """All that was checked before the first byte is written: a student and its token ids, none longer than it reads."""

    student: Student
    rows: list[dict[str, list[int]]]


def distill(config: DistillConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Wrong input is refused before the directory is made."""
    ranks.join()
    config, source, dataset, identity = ranks.first(lambda: choose(config))
    out = Path(str(config.out))
    left_out = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items())
    say(
        f"{config.method} · student {config.student} · {len(dataset.examples)} examples from {config.traces}"
        f"{f' (left out: {left_out})' if left_out else ''} → {out}"
    )
    ready = None
    if not ranks.first(lambda: is_complete(out)):
        from agentkd.distill.plan import check

        ready = prepare(config, dataset)
        ranks.first(lambda: check(config, ready))
    with ExitStack() as stack:
        run = Run(out, "distill", config, identity)
        if ranks.first(lambda: is_complete(stack.enter_context(run).path)):
            metrics: dict[str, Any] = ranks.first(lambda: json.loads((out / "metrics.json").read_text()))
            say(f"{out} is complete: nothing to do")
            return {"out": str(out), **metrics}
        from agentkd.eval.report import write_report

        metrics = train(config, ready or prepare(config, dataset), out)
        if ranks.is_first():
            write_card(out, config, source, dataset, metrics)
            write_report(out, metrics=metrics)
            run.finish(metrics)
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return {"out": str(out), **metrics}


def choose(config: DistillConfig) -> tuple[DistillConfig, dict[str, Any], Dataset, dict[str, str]]:
    """The config with what was left open, the config of the traces' run, the dataset, and what identifies the run."""
    if config.method not in METHODS:
        raise UserError(f"unknown method '{config.method}': the methods are {', '.join(METHODS)}")
    traces = Path(config.traces) if config.traces else newest_run(Path("runs"))
    source = read_config(traces)
    if not is_complete(traces):
        say(f"{traces} is not complete: training on what it has")
    dataset = load(traces, rationalised=config.rationalised)
    dataset.examples = dataset.examples[: config.limit]
    out = config.out or f"students/{slug(task_label(source['task']))}-{config.method}"
    identity = {"hash_dataset": dataset.hash, "processes": str(ranks.world())}
    if config.method == "logits":
        if config.teacher is None:
            raise UserError("--method logits needs teacher=MODEL: a larger model of the student's vocabulary")
        identity["hash_teacher"] = weights_identity(find_weights(config.teacher))
    return config.model_copy(update={"traces": str(traces), "out": out}), source, dataset, identity


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
    ranks.first(lambda: find_weights(config.student) and None)  # downloaded or unpacked once, not by every process
    student = open_student(config.student)
    limit = config.max_length or int(student.settings.get_text_config().max_position_embeddings)
    rows = [tokenise(example, student.tokenizer) for example in dataset.examples]
    short = [row for row in rows if len(row["input_ids"]) <= limit]
    if not short:
        raise UserError(f"all {len(rows)} examples are longer than {limit} tokens: raise max_length=…")
    if len(short) < len(rows):
        say(f"{len(rows) - len(short)} examples are longer than {limit} tokens and were left out")
    if config.method == "logits":
        if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
            raise UserError("--method logits does not run on DeepSpeed: launch it with recipes/accelerate/fsdp2.yaml")
        teacher = find_weights(str(config.teacher))
        check_vocabularies(student.tokenizer, transformers.AutoTokenizer.from_pretrained(teacher), str(config.teacher))
    return Ready(student, short)


def train(config: DistillConfig, ready: Ready, out: Path) -> dict[str, Any]:
    """Fine-tuning on the targets alone. Returns losses (nats a target token), tokens and seconds."""
    from agentkd.distill.guard import clear_torn, saving
    from agentkd.distill.load import load_model

    rows, checkpoints = ready.rows, out / "checkpoints"
    scores = None
    if config.method == "logits":
        ranks.first(lambda: ask_teacher(config, rows, out / "logits"))
        scores = Scores(out / "logits", rows, config.top_k)
    model = load_model(ready.student, config.layers)
    callbacks = [reporter("nats/token")]
    trainer = make_trainer(config, ready, model, rows, checkpoints, scores, callbacks=callbacks)
    args = trainer.args
    together = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    say(f"{config.epochs:g} epochs of {-(-len(rows) // together)} steps · {'bf16' if args.bf16 else 'fp32'}")
    ranks.first(lambda: clear_torn(checkpoints))
    last = ranks.first(lambda: last_checkpoint(checkpoints))
    if last:
        say(f"going on from {last}")
    start = time.monotonic()
    trainer.train(resume_from_checkpoint=last)
    seconds = time.monotonic() - start
    trainer.check_weights()
    with saving(out / "model.safetensors", f"; {Path(last).name} is kept" if last else ""):
        save(trainer, config, out)
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = sum(len(row["input_ids"]) for row in rows)
    if ranks.is_first():
        plot_curve(history, out / "loss.png")
    return {
        "examples": len(rows),
        "tokens_per_epoch": tokens,
        "target_tokens_per_epoch": sum(label != IGNORED for row in rows for label in row["labels"]),
        "steps": trainer.state.global_step,
        "examples_a_step": together,
        "parallel": trainer.accelerator.distributed_type.value,
        "loss_first": history[0]["loss"] if history else None,
        "loss_last": history[-1]["loss"] if history else None,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens * config.epochs / seconds, 1),
        "losses": [round(entry["loss"], 4) for entry in history],
        **{
            name: [round(entry[name], 4) for entry in history]
            for name in ("nll", "divergence")
            if history and name in history[0]
        },
    }


def make_trainer(
    config: DistillConfig,
    ready: Ready,
    model: Any,
    rows: Sequence[dict[str, list[int]]],
    folder: Path,
    scores: Scores | None = None,
    *,
    max_steps: int = -1,
    callbacks: Sequence[Any] = (),
) -> Any:
    """TRL's trainer with our batches, loss and stops. It trains on `rows` and writes checkpoints under `folder`."""
    import torch
    from datasets import Dataset as Rows
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from agentkd.distill.guard import guarded

    kind, collator = guarded(by_length(SFTTrainer)), None
    if scores is not None:
        from agentkd.distill.logits import Collator, with_logits

        collator = Collator(scores, ready.student.tokenizer.pad_token_id)
        kind = with_logits(kind, config)
    adapters = None
    if config.lora:
        from agentkd.distill.adapters import adapters as of_rank

        adapters = of_rank(config.lora)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16())
    together = config.batch * config.accumulate * ranks.world()
    trainer = kind(
        model=model,
        args=SFTConfig(
            output_dir=str(folder),
            num_train_epochs=config.epochs,
            max_steps=max_steps,
            learning_rate=config.lr,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, len(rows) // together // 4),
            per_device_train_batch_size=config.batch,
            gradient_accumulation_steps=config.accumulate,
            seed=config.seed,
            max_length=None,  # lengths were checked before: nothing is cut
            packing=False,
            bf16=bf16,
            activation_checkpointing=config.grad_checkpointing,
            save_strategy="steps",
            save_steps=10**9,  # `reporter` saves by the clock: a checkpoint is three times the weights
            save_total_limit=1,
            logging_steps=1,
            logging_nan_inf_filter=False,  # it would show the last loss in place of one that is no number
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Rows.from_list([{**row, "row": number} for number, row in enumerate(rows)]),
        data_collator=collator,
        processing_class=ready.student.tokenizer,
        peft_config=adapters,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def save(trainer: Any, config: DistillConfig, out: Path) -> None:
    """The weights, whole, and the tokenizer: an ordinary model directory. All processes take part, rank 0 writes."""
    wrapped = trainer.model_wrapped if trainer.is_deepspeed_enabled else trainer.model
    state = trainer.accelerator.get_state_dict(wrapped)
    if not ranks.is_first():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if config.lora:
        from agentkd.distill.adapters import merge

        model, state = model.get_base_model(), merge(state)
    if model.config.get_text_config().tie_word_embeddings:  # FSDP gathers what is one weight under two names
        head = model.get_output_embeddings()
        state.pop(next(f"{name}.weight" for name, module in model.named_modules() if module is head), None)
    model.save_pretrained(out, state_dict=state)
    trainer.processing_class.save_pretrained(out)


def ask_teacher(config: DistillConfig, rows: list[dict[str, list[int]]], folder: Path) -> None:
    """Write the teacher's likeliest tokens over these rows, from where an earlier pass was stopped."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(find_weights(str(config.teacher)), dtype=torch.float32)
    if torch.cuda.is_available():
        model = model.cuda()
    score(model, rows, folder, config.top_k)


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
