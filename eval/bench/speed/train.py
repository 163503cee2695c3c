"""`agentkd bench train`: training tokens per second of `agentkd distill` and plain TRL, and the cost of each method.

All train the same student on the same rows, made here from questions of geo (no teacher is needed: the agent is
`top-path`), with the same batch, dtype, learning rate and number of steps. Every run is a new process. Each name runs
once per round, the order rotates from round to round, and ratios are those within a round.

- `trl`: SFTTrainer with its own sampler, without checkpoints and without activation checkpointing, which is TRL's
  default and which distill leaves out
- `sft` and the others: `distill` as the command line calls it
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from agentkd.config import DistillConfig, GenerateConfig, has_bf16
from agentkd.distill.data.dataset import load_dataset
from agentkd.distill.data.tokens import tokenise
from agentkd.distill.method import METHODS
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.eval.bench.speed.losses import read_memory_kib
from agentkd.generate import generate
from agentkd.models import find_weights
from agentkd.pretrained import load_pretrained
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say

TRL = "trl"
FORM = "one-call"  # its examples have the length of what is usually distilled
LR = 2e-4


MEASURED = "sft", "logits", "on-policy"  # those that the traces made here can teach


def method_options(name: str, student: str) -> dict[str, Any]:
    """Return the options that `distill` gets for a method.

    A teacher is the student itself: its pass costs as much as that of any model of the student's size.
    """
    return {"teacher": student, "rollout_tokens": 16} if METHODS[name].needs_teacher else {}


def bench_train(
    *, student: str, methods: str, steps: int, batch: int, rounds: int, seed: int, out: Path | None
) -> dict[str, Any]:
    """Measure plain TRL, sft and the given methods. Raises UserError for an unknown method and without torch, trl."""
    names = list(dict.fromkeys([TRL, "sft", *filter(None, methods.split(","))]))
    if unknown := [name for name in names[1:] if name not in MEASURED]:
        raise UserError(f"unknown method '{unknown[0]}': the methods are {', '.join(MEASURED)}")
    command = (
        f"agentkd bench train --student {student} --methods {methods} --steps {steps} --batch {batch} "
        f"--rounds {rounds} --seed {seed}"
    )
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = str(make_tiny_student(folder / "tiny")) if student == "tiny" else student
        traces = make_traces(folder / "traces", steps * batch)
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                values = [model, str(traces), str(steps), str(batch), str(seed + number), str(folder / "student")]
                argv = [sys.executable, "-m", "agentkd.eval.bench.speed.train", name, *values]
                done = subprocess.run(argv, capture_output=True, text=True, check=False)
                if done.returncode:
                    reason = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
                    raise UserError(f"{name} failed ({reason}); pip install 'agentkd[train]', or a smaller --batch")
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
                shutil.rmtree(folder / "student", ignore_errors=True)
                say(f"round {number + 1} of {rounds}: {name} {found[name][-1]['tokens_per_second']:.0f} tokens/s")
            report = {
                "command": command,
                "date": time.strftime("%Y-%m-%d"),
                "cores": os.cpu_count(),
                "load": os.getloadavg()[0],
                "dtype": "bf16" if has_bf16() else "fp32",
                "examples": steps * batch,
                "tokens": found[TRL][0]["tokens"],
                "rounds": number + 1,
                "rows": [summarise_runs(name, found) for name in names],
                "runs": found,
            }
            if out is not None:  # after each round: who stops it keeps what was measured
                out.mkdir(parents=True, exist_ok=True)
                write_atomically(out / "train.json", json.dumps(report, indent=1) + "\n")
    if out is not None:
        say(f"wrote {out / 'train.json'}")
    return report


def make_traces(folder: Path, wanted: int) -> Path:
    """Make a run with `wanted` verified traces or more. Raises UserError where geo has too few questions."""
    limit = 3 * wanted + 20  # the first path of BM25 is right for every second question
    generate(GenerateConfig(task="geo", agent="top-path", retriever="bm25", limit=limit, out=str(folder)))
    if (verified := len(load_dataset(folder, FORM).examples)) < wanted:
        raise UserError(f"geo gives {verified} examples of {wanted}: lower --steps or --batch")
    return folder


def make_tiny_student(folder: Path) -> Path:
    """Make a student of two random layers with the packaged tokenizer, to try the bench itself."""
    try:
        from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise UserError(f"bench train needs {error.name}: pip install 'agentkd[train]'") from None
    tokenizer = load_pretrained(AutoTokenizer, find_weights("smollm2-135m"))
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def summarise_runs(name: str, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return medians, and ratios within a round: of tokens per second to plain TRL's, of seconds to sft's.

    `stage_seconds` are those of the whole command after the imports: loading, a teacher's pass, training, writing.
    """
    runs = found[name]
    row: dict[str, Any] = {"name": name}
    for unit in ("tokens_per_second", "seconds", "stage_seconds", "peak_mib"):
        row[unit] = statistics.median(run[unit] for run in runs)
    for ratio, unit, other in (
        ("speed_to_trl", "tokens_per_second", TRL),
        ("seconds_to_sft", "seconds", "sft"),
        ("stage_seconds_to_sft", "stage_seconds", "sft"),
        ("peak_to_sft", "peak_mib", "sft"),
    ):
        ratios = [one[unit] / another[unit] for one, another in zip(runs, found[other], strict=True)]
        row |= {ratio: statistics.median(ratios), f"{ratio}_low": min(ratios), f"{ratio}_high": max(ratios)}
    return row


def print_train(report: dict[str, Any]) -> None:
    """Print a table."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    table = Table(title=report["command"], title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    columns = ("tokens/s", "÷ TRL", "lowest–highest", "s ÷ sft", "lowest–highest", "stage s ÷ sft", "peak MiB")
    for column in columns:
        table.add_column(column, justify="right")
    for row in report["rows"]:
        table.add_row(
            row["name"],
            f"{row['tokens_per_second']:.0f}",
            f"{row['speed_to_trl']:.3f}",
            f"{row['speed_to_trl_low']:.3f}–{row['speed_to_trl_high']:.3f}",
            f"{row['seconds_to_sft']:.3f}",
            f"{row['seconds_to_sft_low']:.3f}–{row['seconds_to_sft_high']:.3f}",
            f"{row['stage_seconds_to_sft']:.2f}",
            f"{row['peak_mib']:,.0f}",
        )
    Terminal().print(table)


def measure_training(
    name: str, student: str, traces: Path, steps: int, batch: int, seed: int, out: Path
) -> dict[str, float]:
    """Train one epoch of `steps` steps in this process, and return tokens without padding, seconds and peak memory."""
    values = {"student": student, "traces": str(traces), "batch": batch, "limit": steps * batch, "seed": seed}
    config = DistillConfig(**{**values, "form": FORM, "out": str(out), "epochs": (1.0,), "lr": (LR,)})
    start = time.monotonic()
    if name == TRL:
        metrics = train_with_trl(config)
    else:
        metrics = distill(config.model_copy(update={"method": name, **method_options(name, student)}))
    return {
        "tokens": metrics["tokens_per_epoch"],
        "steps": metrics["steps"],
        "tokens_per_second": metrics["tokens_per_second"],
        "seconds": metrics["tokens_per_epoch"] / metrics["tokens_per_second"],  # of the trainer, which rounds its own
        "stage_seconds": time.monotonic() - start,
        "peak_mib": read_memory_kib("VmHWM") / 1024,
    }


def train_with_trl(config: DistillConfig) -> dict[str, Any]:
    """Train with SFTTrainer on the same rows, as its documentation shows it."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    folder = find_weights(config.student)
    tokenizer = load_pretrained(AutoTokenizer, folder)
    rows = [
        tokenise(example, tokenizer)
        for example in load_dataset(Path(str(config.traces)), FORM).limited(config.limit, config.seed).examples
    ]
    trainer = SFTTrainer(
        model=load_pretrained(AutoModelForCausalLM, folder, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(config.out),
            num_train_epochs=1,
            learning_rate=LR,
            per_device_train_batch_size=config.batch,
            seed=config.seed,
            max_length=None,
            bf16=has_bf16(),
            activation_checkpointing=False,
            save_strategy="no",
            report_to=[],
            use_cpu=not torch.cuda.is_available(),
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    start = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - start
    trainer.save_model(str(config.out))
    tokens = sum(len(row["input_ids"]) for row in rows)
    return {
        "tokens_per_epoch": tokens,
        "steps": trainer.state.global_step,
        "tokens_per_second": tokens / seconds,
    }


if __name__ == "__main__":
    name, student, traces, steps, batch, seed, out = sys.argv[1:]
    print(json.dumps(measure_training(name, student, Path(traces), int(steps), int(batch), int(seed), Path(out))))
