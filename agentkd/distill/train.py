"""Train a student on verified traces with TRL's stable trainers.

The student directory holds weights, tokenizer, config.yaml, metrics.json, curves and a card; `checkpoints/` and the
same command resume a run that was stopped. The manifest is written last, after the weights.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentkd.config import DistillConfig, has_bf16, slug, task_label
from agentkd.distill.card import write_card
from agentkd.distill.dataset import IGNORED, Dataset, load, tokenise
from agentkd.distill.forms import Example
from agentkd.distill.on_policy import on_policy_trainer, prompts
from agentkd.distill.preference import pairs, preference_trainer
from agentkd.distill.scoring import check_vocabularies, teacher_identity
from agentkd.distill.students import prune_layers
from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.matching import normalize
from agentkd.models import find_weights
from agentkd.progress import say
from agentkd.store import Run, is_complete, newest_run, read_config
from agentkd.training import keep_memory, last_checkpoint, reporter

if TYPE_CHECKING:
    from agentkd.distill.logits import Lesson
    from agentkd.trace import Trace

METHODS = {  # and what teacher= is to name
    "sft": None,
    "logits": "a larger model of the student's vocabulary",
    "on-policy": "a larger model of the student's vocabulary",
    "preference": None,
    "cross-tokenizer": "a model of another vocabulary",
    "multi-teacher": "several models of the student's vocabulary, separated by commas",
}
LESSONS = ("logits", "cross-tokenizer", "multi-teacher")  # a scoring pass, then SFTTrainer with another loss
EPOCHS = {"preference": 1.0, "on-policy": 1.0}
LR = {"preference": 2e-5, "on-policy": 2e-5}
DIVERGENCE: dict[str, Literal["forward", "reverse"]] = {"on-policy": "reverse"}
TERMS = ("nll", "divergence", "uld", "rewards/margins", "rewards/accuracies", "completions/mean_length")  # at each step


def distill(config: DistillConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Of several methods each starts from the student that the one before has
    left, under `OUT/stages`; what is complete is not trained again."""
    methods = config.method.split(",")
    if unknown := [method for method in methods if method not in METHODS]:
        raise UserError(f"unknown method '{unknown[0]}': the methods are {', '.join(METHODS)}")
    traces = Path(config.traces) if config.traces else newest_run(Path("runs"))
    source = read_config(traces)
    if not is_complete(traces):
        say(f"{traces} is not complete: training on what it has")
    out = Path(config.out or f"students/{slug(task_label(source['task']))}-{'-'.join(methods)}")
    config = config.model_copy(update={"traces": str(traces), "out": str(out)})
    dataset = load(
        traces,
        config.form,
        rationalised=config.rationalised,
        verified=config.control != "unverified",
        held_out=evaluation_questions(source),
    ).limited(config.limit, config.seed)
    if config.control == "shuffled":
        dataset = dataset.shuffled(config.seed)
    stages = resolve(config, methods)
    for stage in stages[:-1]:
        run_stage(stage, source, dataset)
    return run_stage(stages[-1], source, dataset)


def resolve(config: DistillConfig, methods: Sequence[str]) -> list[DistillConfig]:
    """One config a method, with what the user left open filled in. Raises UserError where numbers do not fit."""
    stages: list[DistillConfig] = []
    for number, method in enumerate(methods):
        last = number == len(methods) - 1
        stages.append(
            config.model_copy(
                update={
                    "method": method,
                    "student": stages[-1].out if stages else config.student,
                    "layers": None if stages else config.layers,
                    "teacher": config.teacher if METHODS[method] else None,
                    "out": config.out if last else str(Path(str(config.out)) / "stages" / f"{number + 1}-{method}"),
                    "epochs": (one_of(config.epochs, number, methods, "epochs") or EPOCHS.get(method, 3.0),),
                    "lr": (one_of(config.lr, number, methods, "lr") or LR.get(method, 2e-4),),
                    "batch": config.batch or (16 if config.form == "path" else 4),
                    "divergence": config.divergence or DIVERGENCE.get(method, "forward"),
                }
            )
        )
        if METHODS[method] and config.teacher is None:
            raise UserError(f"--method {method} needs teacher=MODEL: {METHODS[method]}")
        if method == "cross-tokenizer" and config.form == "dialogue":
            raise UserError(
                "--method cross-tokenizer aligns one target, not the turns of form=dialogue: choose another"
            )
        if method == "on-policy" and str(stages[-1].divergence).startswith("skew"):
            raise UserError(f"--method on-policy measures forward, reverse or jsd, not divergence={config.divergence}")
    return stages


def one_of(values: tuple[float, ...] | None, number: int, methods: Sequence[str], name: str) -> float | None:
    """The value for a stage: the only one, or the one in its place."""
    if values is not None and len(values) not in (1, len(methods)):
        raise UserError(f"{name} has {len(values)} values for {len(methods)} methods: give one, or one for each")
    return values[min(number, len(values) - 1)] if values else None


def run_stage(config: DistillConfig, source: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Train one method and leave a student directory."""
    out = Path(str(config.out))
    left_out = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items())
    say(
        f"{config.method} · {config.form} · student {config.student} · {len(dataset.examples)} examples of "
        f"{dataset.traces} traces from {config.traces}{f' (left out: {left_out})' if left_out else ''} → {out}"
    )
    identity = {"hash_dataset": dataset.hash}
    if config.teacher is not None:
        identity["hash_teacher"] = teacher_identity(config.teacher_specs)
    with Run(out, "distill", config, identity) as run:
        if is_complete(out):
            metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
            say(f"{out} is complete: nothing to do")
            return {"out": str(out), **metrics}
        from agentkd.eval.report import write_report

        dataset.save(out)
        metrics = train(config, dataset, out)
        write_card(out, config, source, dataset, metrics)
        write_report(out, metrics=metrics)
        run.finish(metrics)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return {"out": str(out), **metrics}


def evaluation_questions(source: Mapping[str, Any]) -> Callable[[Trace], bool]:
    """Whether a question's text or the root of its id stands in another split of the task that was run."""
    from agentkd.tasks import id_root, load_task

    try:
        task = load_task(source["task"], data=source.get("data"), kb=source.get("kb"))
        others = [
            question for split in task.splits if split != source.get("split") for question in task.pick(split, None, 0)
        ]
    except AgentkdError as error:
        say(f"not checked against evaluation questions: {error}")
        return lambda trace: False
    texts = {normalize(question.question) for question in others}
    roots = {id_root(question.id) for question in others}
    return lambda trace: normalize(trace.question) in texts or id_root(trace.id) in roots


def train(config: DistillConfig, dataset: Dataset, out: Path) -> dict[str, Any]:
    """Fine-tuning on the targets alone. Returns losses (nats a target token), tokens and seconds."""
    keep_memory()  # before torch makes its first block
    try:
        import torch
        import transformers
        import trl
        from datasets import Dataset as Rows
        from datasets.utils.logging import disable_progress_bar
        from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    except ImportError as error:
        raise UserError(f"distill needs {error.name}: pip install 'agentkd[train]'") from None
    disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = find_weights(config.student)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    kept = prune_layers(model, config.layers) if config.layers else []
    limit = config.max_length or int(model.config.max_position_embeddings)
    tokenised = [tokenise(example, tokenizer) for example in dataset.examples]
    fitting = [n for n, row in enumerate(tokenised) if len(row["input_ids"]) <= limit]
    if not fitting:
        raise UserError(f"all {len(tokenised)} examples are longer than {limit} tokens: raise max_length=…")
    if len(fitting) < len(tokenised):
        say(f"{len(tokenised) - len(fitting)} examples are longer than {limit} tokens and were left out")
    short = [tokenised[n] for n in fitting]
    examples = [dataset.examples[n] for n in fitting]
    rows: list[dict[str, Any]] = [{**row, "row": number} for number, row in enumerate(short)]
    if config.method == "preference":
        rows = pairs(examples, tokenizer, config.rejected)
    if config.method == "on-policy":
        rows = prompts(examples)
    if kept:
        say(f"layers {', '.join(map(str, kept))} of {config.student}")
    assert config.epochs and config.lr and config.batch  # `resolve` has filled them in
    epochs, lr = config.epochs[0], config.lr[0]
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16())
    batch = min(config.batch, len(rows))
    steps = len(rows) // batch if config.method == "on-policy" else -(-len(rows) // batch)  # TRL drops the odd prompts
    say(f"{epochs:g} epochs of {steps} steps · lr {lr:g} · {'bf16' if bf16 else 'fp32'}")
    shared: dict[str, Any] = {
        "output_dir": str(out / "checkpoints"),
        "num_train_epochs": epochs,
        "learning_rate": lr,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, steps // 4),
        "per_device_train_batch_size": batch,
        "seed": config.seed,
        "bf16": bf16,
        "activation_checkpointing": False,
        "save_strategy": "steps",
        "save_steps": 10**9,  # `reporter` saves by the clock: a checkpoint is three times the weights
        "save_total_limit": 1,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": not torch.cuda.is_available(),
    }
    parts: dict[str, Any] = {
        "model": model,
        "train_dataset": Rows.from_list(rows),
        "processing_class": tokenizer,
        "callbacks": [reporter("nats/token")],
    }
    facts: dict[str, Any] = {}
    if config.method == "preference":
        trainer = preference_trainer(config, shared, **parts)
    elif config.method == "on-policy":
        trainer = on_policy_trainer(config, shared, teacher_model=load_teacher(config, tokenizer), **parts)
    else:
        kind = by_length(trl.SFTTrainer)
        if config.method in LESSONS:
            from agentkd.distill.logits import with_loss

            loss, parts["data_collator"], facts = lesson(config, tokenizer, examples, short, out / "logits")
            kind = with_loss(kind, loss)
        arguments = trl.SFTConfig(
            **shared,
            max_length=None,  # lengths were checked above: nothing is cut
            packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = kind(args=arguments, **parts)
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
    plot_curve(history, out / "loss.png")
    tokens = sum(len(row["input_ids"]) for row in short)
    return {
        "examples": len(rows),
        "traces": dataset.traces,
        "tokens_per_epoch": tokens,
        "target_tokens_per_epoch": sum(label != IGNORED for row in short for label in row["labels"]),
        "steps": trainer.state.global_step,
        "loss_first": history[0]["loss"] if history else None,
        "loss_last": history[-1]["loss"] if history else None,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens * epochs / seconds, 1),
        "losses": [round(entry["loss"], 4) for entry in history],
        **{
            name: [round(entry[name], 4) for entry in history]
            for name in TERMS
            if history and isinstance(history[0].get(name), float)
        },
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


def load_teacher(config: DistillConfig, tokenizer: Any) -> Any:
    """The teacher's model. Raises UserError for a foreign vocabulary."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_weights(str(config.teacher))
    check_vocabularies(tokenizer, AutoTokenizer.from_pretrained(folder), str(config.teacher))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model.cuda() if torch.cuda.is_available() else model


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
