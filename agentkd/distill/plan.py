"""`distill --plan`: print what a run would take, before anything heavy is made.

Memory and disk are computed (`needs.py`). Time is measured: real steps on the longest batch and on a median one, of
which nothing is kept.
"""

from __future__ import annotations

import resource
import shutil
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from agentkd.config import DistillConfig
from agentkd.distill import processes
from agentkd.distill.data.dataset import load_training_set
from agentkd.distill.data.paraphrases import expect_paraphrases
from agentkd.distill.data.tokens import Inputs, TrainingData
from agentkd.distill.loading import load_for_training
from agentkd.distill.needs import available_memory, check_needs, compute_needs, free_disk
from agentkd.distill.prepare import find_teachers, prepare_data
from agentkd.distill.resolve import Stage, resolve_run
from agentkd.distill.trainer import make_teacher_signal, make_trainer
from agentkd.machine.hardware import GB
from agentkd.runs.progress import say


def plan_run(config: DistillConfig) -> dict[str, Any]:
    """Print what the run would take, then measure its time. Raises UserError if it surely does not fit."""
    processes.join_processes()
    stages = processes.on_rank_0(lambda: resolve_run(config))
    stage = stages[0]
    dataset = processes.on_rank_0(lambda: load_training_set(stage))
    if len(stages) > 1:
        say(f"of {len(stages)} stages the first is planned: the others begin as students that do not exist yet")
    dataset = processes.on_rank_0(lambda: expect_paraphrases(stage, dataset))
    data = prepare_data(stage, find_teachers(stage), dataset)
    needs = compute_needs(stage, data)
    memory, free = available_memory()
    disk_gb = free_disk(stage.out) / GB
    say_needs(stage, needs, f"{free:.1f} {memory}", disk_gb)
    processes.on_rank_0(lambda: check_needs(stage, data))
    measured = measure_steps(stage, data)
    times = [
        f"{seconds:.2f} s for {name} batch of {tokens:,} tokens"
        for name, seconds, tokens in zip(
            ("a median", "the longest"), measured["step_seconds"], measured["step_tokens"], strict=True
        )
    ]
    scoring = measured["scoring_seconds"]
    teacher = f"; {format_duration(scoring)} of it the teacher's" if scoring else ""
    say(f"time     {format_duration(measured['seconds'])}: measured, {', '.join(times)}{teacher}")
    say(f"peak     {measured['peak_gb']:.1f} GB in these steps (measured)")
    free_gb = {"free_gb": round(free, 2), "free_disk_gb": round(disk_gb, 2)}
    return {"out": stage.config.out, **needs, **free_gb, **measured}


def say_needs(stage: Stage, needs: dict[str, Any], memory: str, disk_gb: float) -> None:
    """Print the computed lines of the plan. `memory` says how much a process has, and where."""
    trained, parameters, world = needs["trained"], needs["parameters"], processes.world_size()
    say(f"plan of {stage.config.out}: {stage.config.method} · {stage.student}")
    learns = "all" if trained == parameters else f"{trained / 1e6:,.1f} M"
    say(f"model    {parameters / 1e6:,.1f} M parameters, {learns} trained")
    say(
        f"data     {needs['examples']:,} examples, {needs['tokens_per_epoch']:,} tokens an epoch, "
        f"{needs['target_tokens_per_epoch']:,} of them targets; the longest has {needs['longest']:,}"
    )
    say(
        f"steps    {needs['steps']:,} of {needs['examples_a_step']} examples: batch {stage.batch} × accumulate "
        f"{stage.config.accumulate} × {world} process{'es' * (world > 1)}"
    )
    for phase, parts in needs["memory"].items():
        listed = ", ".join(f"{name} {size:.2f}" for name, size in parts.items() if size >= 0.005)
        say(f"memory   {sum(parts.values()):.1f} GB of {memory} for {phase}: {listed} (computed)")
    listed = ", ".join(f"{name} {size:.2f}" for name, size in needs["disk"].items() if size)
    say(f"disk     {sum(needs['disk'].values()):.1f} GB of {disk_gb:.1f} free: {listed} (computed)")


def measure_steps(stage: Stage, data: TrainingData) -> dict[str, Any]:
    """Time real steps: a median batch (a warm-up), the longest, a median one. Nothing of them is kept.

    The run's seconds follow from the batches it would see, if the time of a batch is linear in its tokens."""
    from torch.utils.data import SequentialSampler

    tokens = data.inputs.tokens
    order = sorted(range(len(tokens)), key=lambda number: tokens[number])
    sizes = sorted(tokens)
    batch = min(stage.batch, len(order))
    median, longest = (len(order) - batch) // 2, len(order) - batch
    starts = (median, longest, median)
    picked = [order[start + i] for start in starts for _ in range(processes.world_size()) for i in range(batch)]
    probe = stage.with_changes(accumulate=1, batch=batch)
    sample = select_inputs(stage, data, picked)
    folder = Path(processes.on_rank_0(lambda: mkdtemp(prefix="agentkd-plan-")))
    try:
        start = time.monotonic()
        signal = make_teacher_signal(probe, sample, folder)
        share = sum(sizes) / sum(sample.inputs.tokens)
        scoring = (time.monotonic() - start) * share if signal else 0.0
        watch = step_timer()
        model = load_for_training(data.student, stage.config)
        trainer = make_trainer(probe, sample, model, folder, signal, max_steps=3, callbacks=[watch])
        trainer._get_train_sampler = lambda _=None: SequentialSampler(sample.inputs.rows)
        trainer.train()
        peak = peak_bytes()
    finally:
        if processes.is_rank_0():
            shutil.rmtree(folder, ignore_errors=True)
    step_tokens = [batch * sizes[median + batch - 1], batch * sizes[-1]]
    step_seconds = [watch.seconds[2], watch.seconds[1]]
    slope = 0.0
    if step_tokens[1] > step_tokens[0]:
        slope = max(0.0, (step_seconds[1] - step_seconds[0]) / (step_tokens[1] - step_tokens[0]))
    epoch = 0.0
    for first in range(0, len(order), batch):  # sorted, so much like the batches that the run will make
        some = sizes[first : first + batch]
        epoch += max(0.0, step_seconds[0] + slope * (len(some) * some[-1] - step_tokens[0]))
    return {
        "step_tokens": step_tokens,
        "step_seconds": [round(value, 3) for value in step_seconds],
        "scoring_seconds": round(scoring, 1),
        "seconds": round(scoring + stage.epochs * epoch / processes.world_size(), 1),
        "peak_gb": round(peak / GB, 2),
    }


def select_inputs(stage: Stage, data: TrainingData, picked: list[int]) -> TrainingData:
    """The data with these inputs alone. A scoring pass takes the rows themselves, which are then the same ones."""
    rows = [
        {**data.inputs.rows[number], **({"row": place} if "row" in data.inputs.rows[number] else {})}
        for place, number in enumerate(picked)
    ]
    sample = data._replace(inputs=Inputs(rows, [data.inputs.tokens[number] for number in picked]))
    if stage.method.signal:
        sample = sample._replace(
            examples=[data.examples[number] for number in picked], rows=[data.rows[number] for number in picked]
        )
    return sample


def step_timer() -> Any:
    """A transformers callback with the seconds of each step."""
    from transformers import TrainerCallback

    class StepTimer(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *args: Any, **options: Any) -> None:
            self.start = time.monotonic()

        def on_step_end(self, *args: Any, **options: Any) -> None:
            self.seconds.append(time.monotonic() - self.start)

    return StepTimer()


def peak_bytes() -> int:
    """The most memory that this process has had: on its GPU, or resident."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def format_duration(seconds: float) -> str:
    """Seconds, minutes or hours, as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
