"""Train a student on verified traces with TRL's stable trainers.

The student directory holds weights, tokenizer, config.yaml, metrics.json, curves and a card; `checkpoints/` and the
same command resume a run that was stopped. The manifest is written last, after the weights.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.config import DistillConfig, has_bf16, slug, task_label
from agentkd.distill.card import write_card
from agentkd.distill.dataset import IGNORED, Dataset, Example, load, tokenise
from agentkd.distill.scoring import teacher_identity
from agentkd.distill.students import prune_layers
from agentkd.errors import UserError, WorldError
from agentkd.models import find_weights
from agentkd.progress import say
from agentkd.store import Run, is_complete, newest_run, read_config
from agentkd.training import keep_memory, last_checkpoint, reporter

if TYPE_CHECKING:
    from agentkd.distill.logits import Lesson

METHODS = {  # and what teacher= is to name
    "sft": None,
    "logits": "a larger model of the student's vocabulary",
    "cross-tokenizer": "a model of another vocabulary",
    "multi-teacher": "several models of the student's vocabulary, separated by commas",
}
TERMS = ("nll", "divergence", "uld")


def distill(config: DistillConfig) -> dict[str, Any]:
    """Run the stage and return its metrics."""
    if config.method not in METHODS:
        raise UserError(f"unknown method '{config.method}': the methods are {', '.join(METHODS)}")
    traces = Path(config.traces) if config.traces else newest_run(Path("runs"))
    source = read_config(traces)
    if not is_complete(traces):
        say(f"{traces} is not complete: training on what it has")
    dataset = load(traces, rationalised=config.rationalised)
    dataset.examples = dataset.examples[: config.limit]
    out = Path(config.out or f"students/{slug(task_label(source['task']))}-{config.method}")
    config = config.model_copy(update={"traces": str(traces), "out": str(out)})
    left_out = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items())
    say(
        f"{config.method} · student {config.student} · {len(dataset.examples)} examples from {traces}"
        f"{f' (left out: {left_out})' if left_out else ''} → {out}"
    )
    identity = {"hash_dataset": dataset.hash}
    if teacher := METHODS[config.method]:
        if config.teacher is None:
            raise UserError(f"--method {config.method} needs teacher=MODEL: {teacher}")
        identity["hash_teacher"] = teacher_identity(config.teacher_specs)
    with Run(out, "distill", config, identity) as run:
        if is_complete(out):
            metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
            say(f"{out} is complete: nothing to do")
            return {"out": str(out), **metrics}
        from agentkd.eval.report import write_report

        metrics = train(config, dataset, out)
        write_card(out, config, source, dataset, metrics)
        write_report(out, metrics=metrics)
        run.finish(metrics)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return {"out": str(out), **metrics}


def train(config: DistillConfig, dataset: Dataset, out: Path) -> dict[str, Any]:
    """Fine-tuning on the targets alone. Returns losses (nats a target token), tokens and seconds."""
    keep_memory()  # before torch makes its first block
    try:
        import torch
        import transformers
        from datasets import Dataset as Rows
        from datasets.utils.logging import disable_progress_bar
        from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
        from trl import SFTConfig, SFTTrainer
    except ImportError as error:
        raise UserError(f"distill needs {error.name}: pip install 'agentkd[train]'") from None
    disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = find_weights(config.student)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:
        raise UserError(f"the student {config.student} has no chat template: choose an instruction-tuned model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    kept = prune_layers(model, config.layers) if config.layers else []
    limit = config.max_length or int(model.config.max_position_embeddings)
    rows = [tokenise(example, tokenizer) for example in dataset.examples]
    fits = [len(row["input_ids"]) <= limit for row in rows]
    short = list(compress(rows, fits))
    if not short:
        raise UserError(f"all {len(rows)} examples are longer than {limit} tokens: raise max_length=…")
    if len(short) < len(rows):
        say(f"{len(rows) - len(short)} examples are longer than {limit} tokens and were left out")
    kind, collator = by_length(SFTTrainer), None
    facts: dict[str, Any] = {}
    if config.method != "sft":
        from agentkd.distill.logits import with_loss

        examples = list(compress(dataset.examples, fits))
        loss, collator, facts = lesson(config, tokenizer, examples, short, out / "logits")
        kind = with_loss(kind, loss)
    if kept:
        say(f"layers {', '.join(map(str, kept))} of {config.student}")
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16())
    say(f"{config.epochs:g} epochs of {-(-len(short) // config.batch)} steps · {'bf16' if bf16 else 'fp32'}")
    trainer = kind(
        model=model,
        args=SFTConfig(
            output_dir=str(out / "checkpoints"),
            num_train_epochs=config.epochs,
            learning_rate=config.lr,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, len(short) // config.batch // 4),
            per_device_train_batch_size=config.batch,
            seed=config.seed,
            max_length=None,  # lengths were checked above: nothing is cut
            packing=False,
            bf16=bf16,
            activation_checkpointing=False,
            save_strategy="steps",
            save_steps=10**9,  # `reporter` saves by the clock: a checkpoint is three times the weights
            save_total_limit=1,
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Rows.from_list([{**row, "row": number} for number, row in enumerate(short)]),
        data_collator=collator,
        processing_class=tokenizer,
        callbacks=[reporter("nats/token")],
    )
    trainer.remove_callback(PrinterCallback)
    start = time.monotonic()
    trainer.train(resume_from_checkpoint=last_checkpoint(out / "checkpoints"))
    seconds = time.monotonic() - start
    try:
        trainer.save_model(str(out))
        tokenizer.save_pretrained(out)
    except OSError as error:
        raise WorldError(f"cannot write the weights to {out}: {error}; make room and run the same command") from None
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = sum(len(row["input_ids"]) for row in short)
    plot_curve(history, out / "loss.png")
    return {
        "examples": len(short),
        "tokens_per_epoch": tokens,
        "target_tokens_per_epoch": sum(label != IGNORED for row in short for label in row["labels"]),
        "steps": trainer.state.global_step,
        "loss_first": history[0]["loss"] if history else None,
        "loss_last": history[-1]["loss"] if history else None,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens * config.epochs / seconds, 1),
        "losses": [round(entry["loss"], 4) for entry in history],
        **{name: [round(entry[name], 4) for entry in history] for name in TERMS if history and name in history[0]},
        **facts,
    }


def lesson(
    config: DistillConfig, tokenizer: Any, examples: list[Example], rows: list[dict[str, list[int]]], folder: Path
) -> Lesson:
    """What the method's teachers say of these rows (scored now, taken up or read), and the loss that learns from it."""
    from agentkd.distill import cross_tokenizer, logits, multi_teacher

    match config.method:
        case "cross-tokenizer":
            return cross_tokenizer.prepare(config, tokenizer, examples, rows, folder)
        case "multi-teacher":
            return multi_teacher.prepare(config, tokenizer, rows, folder)
        case _:
            return logits.prepare(config, tokenizer, rows, folder)


def by_length(trainer: Any) -> Any:
    """The trainer with batches of like length, for padding costs a CPU a fifth of its time. transformers' own
    "group_by_length" draws from the global generator, so that a resumed run would see another order."""
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
            return ByLength(lengths, self.args.train_batch_size, self.args.seed)

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
