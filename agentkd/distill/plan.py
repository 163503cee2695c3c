"""`distill --plan`: what a run would take, before anything heavy is made.

Memory and disk are arithmetic (`fits.training`) over config.json and the lengths of the very rows; every run checks
them before it starts. Time is measured: real steps on the longest batch and on a median one, with nothing kept.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from agentkd.config import DistillConfig, has_gpu
from agentkd.distill import processes
from agentkd.distill.data.dataset import IGNORED
from agentkd.distill.train import LESSONS
from agentkd.errors import UserError
from agentkd.machine import memory_needs
from agentkd.machine.memory_needs import GB
from agentkd.models import find_weights
from agentkd.runs.progress import say

if TYPE_CHECKING:
    from agentkd.distill.train import Ready

SURE = 1.15  # a need this much above what is free is refused: the arithmetic is not exact (docs/distill.md)
SECOND = "the next beside it"


def plan(config: DistillConfig) -> dict[str, Any]:
    """Say what the run would take, then measure and say how long. Raises UserError where it surely does not fit."""
    from agentkd.distill.stages import choose
    from agentkd.distill.train import prepare

    processes.join()
    stages, _, dataset = processes.first(lambda: choose(config))
    config = stages[0]
    if len(stages) > 1:
        say(f"of {len(stages)} stages the first is planned: the others begin as students that do not exist yet")
    ready = prepare(config, dataset)
    need = needs(config, ready)
    memory, free = available()
    disk_gb = free_disk(Path(str(config.out))) / GB
    say(f"plan of {config.out}: {config.method} · {config.student}")
    learns = "all" if need["trained"] == need["parameters"] else f"{need['trained'] / 1e6:,.1f} M"
    say(f"model    {need['parameters'] / 1e6:,.1f} M parameters, {learns} trained")
    say(f"data     {need['examples']:,} examples, {need['tokens_per_epoch']:,} tokens an epoch, "
        f"{need['target_tokens_per_epoch']:,} of them targets; the longest has {need['longest']:,}")  # fmt: skip
    say(f"steps    {need['steps']:,} of {need['examples_a_step']} examples: batch {config.batch} × accumulate "
        f"{config.accumulate} × {processes.world()} process{'es' * (processes.world() > 1)}")  # fmt: skip
    for phase, parts in need["memory"].items():
        said = ", ".join(f"{name} {size:.2f}" for name, size in parts.items() if size >= 0.005)
        say(f"memory   {sum(parts.values()):.1f} GB of {free:.1f} {memory} for {phase}: {said} (computed)")
    said = ", ".join(f"{name} {size:.2f}" for name, size in need["disk"].items() if size)
    say(f"disk     {sum(need['disk'].values()):.1f} GB of {disk_gb:.1f} free: {said} (computed)")
    processes.first(lambda: check(config, ready))
    measured = measure(config, ready)
    times = [
        f"{seconds:.2f} s for {name} batch of {tokens:,} tokens"
        for name, seconds, tokens in zip(
            ("a median", "the longest"), measured["step_seconds"], measured["step_tokens"], strict=True
        )
    ]
    teacher = f"; {clock(measured['scoring_seconds'])} of it the teacher's" if measured["scoring_seconds"] else ""
    say(f"time     {clock(measured['seconds'])}: measured, {', '.join(times)}{teacher}")
    say(f"peak     {measured['peak_gb']:.1f} GB in these steps (measured)")
    return {"out": config.out, **need, "free_gb": round(free, 2), "free_disk_gb": round(disk_gb, 2), **measured}


def needs(config: DistillConfig, ready: Ready) -> dict[str, Any]:
    """Sizes of model and data, steps, GB of memory a process by phase, and GB of disk."""
    from agentkd.distill.load import skeleton
    from agentkd.distill.lora import parameters as of_adapters

    settings = ready.student.settings.get_text_config()
    lengths = [len(row["input_ids"]) for row in ready.rows]
    targets = sum(label != IGNORED for row in ready.rows for label in row["labels"][1:])
    bare = skeleton(ready.student.settings, config.layers)
    parameters = sum(parameter.numel() for parameter in bare.parameters())
    adapters = of_adapters(bare, config.lora) if config.lora else 0
    trained = adapters or parameters
    model = shape(settings, parameters, config.layers)
    assert config.epochs and config.batch
    tokens = min(config.batch, len(ready.sizes)) * max(ready.sizes)
    step = memory_needs.training(
        model._replace(parameters=parameters + adapters),
        tokens,
        trained=trained,
        half=config.half,
        checkpointing=config.grad_checkpointing,
        gpu=has_gpu(),
        shards=processes.world() if processes.sharded() else 1,
    )
    memory = {"training": step}
    # A checkpoint is kept until the next one is whole. The first that a short run makes is at its end.
    disk = {"weights": 4.0 * parameters, "a checkpoint": 12.0 * trained, SECOND: 12.0 * trained}
    if config.method == "on-policy":
        step["the teacher"] = 4.0 * max(map(size_of, config.teacher_specs))
    if config.method in LESSONS:
        from agentkd.distill.losses import LOGITS

        # a chunk's logits and what becomes of them; the head's gradient apart from its tied twin's
        logits = 8.0 * LOGITS + 4.0 * model.vocabulary * model.hidden
        step["gradients or logits"] = max(4.0 * trained, logits)
        memory["the teacher's scores"] = scoring(config, lengths)
        disk["teacher's scores"] = (8.0 * config.top_k + 4) * targets * len(config.teacher_specs)
    together = config.batch * config.accumulate * processes.world()
    return {
        "parameters": parameters,
        "trained": trained,
        "examples": len(ready.fed),
        "tokens_per_epoch": sum(lengths),
        "target_tokens_per_epoch": targets,
        "longest": max(lengths),
        "examples_a_step": together,
        "steps": round(config.epochs[0] * -(-len(ready.fed) // together)),
        "memory": {phase: {name: size / GB for name, size in parts.items()} for phase, parts in memory.items()},
        "disk": {name: size / GB for name, size in disk.items()},
    }


def shape(settings: Any, parameters: int, layers: int | None = None) -> memory_needs.Model:
    """A model's sizes out of its config.json, or the usual ones where it does not name them."""
    heads = getattr(settings, "num_attention_heads", 1)
    return memory_needs.Model(
        name=settings.model_type,
        parameters=parameters,
        layers=layers or settings.num_hidden_layers,
        hidden=settings.hidden_size,
        kv_heads=getattr(settings, "num_key_value_heads", None) or heads,
        head=getattr(settings, "head_dim", None) or settings.hidden_size // heads,
        vocabulary=settings.vocab_size,
        inner=getattr(settings, "intermediate_size", None) or 4 * settings.hidden_size,
    )


def scoring(config: DistillConfig, lengths: Sequence[int]) -> dict[str, float]:
    """Bytes of the scoring pass of the largest teacher: its weights, and one layer's activations and logits of its
    batch. One teacher is in memory at a time."""
    from agentkd.distill.data.teacher_scores import BATCH
    from agentkd.distill.load import open_config

    largest = max(config.teacher_specs, key=size_of)
    text = open_config(find_weights(largest)).get_text_config()
    tokens = min(BATCH, len(lengths)) * max(lengths)
    layer = memory_needs.training(shape(text, size_of(largest))._replace(layers=1), tokens)["activations"]
    return {
        "weights": 4.0 * size_of(largest),
        "activations": layer,
        "logits": 12.0 * tokens * text.vocab_size,  # at most: only targets have logits
        "process": memory_needs.TRAIN_BYTES,
    }


def size_of(name: str) -> int:
    """A model's parameters."""
    from agentkd.distill.load import open_config, skeleton

    return sum(parameter.numel() for parameter in skeleton(open_config(find_weights(name))).parameters())


def available() -> tuple[str, float]:
    """What a process has: the smallest GPU's free memory, or its share of the free main memory, in GB."""
    found = memory_needs.memory()
    if found.gpus:
        return "free on the GPU", min(gpu.free_gb for gpu in found.gpus)
    return "free", found.available_gb / processes.local_world()


def free_disk(out: Path) -> int:
    """Bytes on the disk of `out`, which need not exist yet."""
    while not out.exists():
        out = out.parent
    return shutil.disk_usage(out).free


def check(config: DistillConfig, ready: Ready) -> None:
    """Raises UserError with what would help where the run surely does not fit into memory, or its results onto the
    disk."""
    need = needs(config, ready)
    where, free = available()
    for phase, parts in need["memory"].items():
        if (gb := sum(parts.values())) > SURE * free:
            raise UserError(
                f"{phase} needs {gb:.1f} GB and {free:.1f} GB are {where}: "
                + (helps(config, ready, free) if phase == "training" else "choose a smaller teacher, or --method sft")
            )
    on_disk, free = need["disk"], free_disk(Path(str(config.out))) / GB
    kept = sum(size for name, size in on_disk.items() if name != SECOND)
    if kept > free:
        raise UserError(
            f"weights and a checkpoint need {kept:.1f} GB and {free:.1f} GB are free on the disk of {config.out}: "
            f"make room, or choose another --out"
        )
    if (whole := sum(on_disk.values())) > free:
        say(
            f"{config.out} may need {whole:.1f} GB and {free:.1f} GB are free: "
            f"a run of more than five minutes, with two checkpoints, will stop"
        )


def helps(config: DistillConfig, ready: Ready, free: float) -> str:
    """The mildest change that fits: the same steps in smaller batches, then more time, then another student."""
    batch = config.batch or 1
    together = batch * config.accumulate
    changes: list[dict[str, Any]] = []
    while batch > 1:
        batch //= 2
        changes.append({"batch": batch, "accumulate": -(-together // batch)})
    one = {"batch": 1, "accumulate": together, "grad_checkpointing": True}
    layers = max(1, (config.layers or ready.student.settings.get_text_config().num_hidden_layers) // 2)
    changes += [{"grad_checkpointing": True}, one, {**one, "lora": 16}, {**one, "lora": 16, "layers": layers}]
    for change in changes:
        smaller = config.model_copy(update=change)
        if sum(needs(smaller, ready)["memory"]["training"].values()) <= free:
            return "try " + " ".join(f"{key}={str(value).lower()}" for key, value in change.items())
    return "choose a smaller student, or a shorter max_length=…"


def measure(config: DistillConfig, ready: Ready) -> dict[str, Any]:
    """Real steps: a median batch (not timed), the longest, a median one. Nothing of them is kept. The seconds of the
    run follow from the batches that it would see, each of a time that grows in a straight line with its tokens."""
    from torch.utils.data import SequentialSampler

    from agentkd.distill.load import load_model
    from agentkd.distill.train import lesson, make_trainer

    assert config.batch and config.epochs
    order = sorted(range(len(ready.fed)), key=lambda number: ready.sizes[number])
    sizes = sorted(ready.sizes)
    batch = min(config.batch, len(order))
    first, last = (len(order) - batch) // 2, len(order) - batch
    picked = [order[n + i] for n in (first, last, first) for _ in range(processes.world()) for i in range(batch)]
    fed = [
        {**ready.fed[number], **({"row": n} if "row" in ready.fed[number] else {})} for n, number in enumerate(picked)
    ]
    chosen = ready._replace(fed=fed, sizes=[ready.sizes[number] for number in picked])
    if config.method in LESSONS:  # these are fed the rows themselves
        chosen = chosen._replace(
            examples=[ready.examples[number] for number in picked], rows=[ready.rows[number] for number in picked]
        )
    probe = config.model_copy(update={"accumulate": 1, "batch": batch})
    folder = Path(processes.first(lambda: mkdtemp(prefix="agentkd-plan-")))
    try:
        start = time.monotonic()
        taught = lesson(probe, chosen, folder)
        share = sum(sizes) / sum(chosen.sizes)
        teacher = (time.monotonic() - start) * share if taught else 0.0
        watch = stopwatch()
        model = load_model(ready.student, config.layers)
        trainer = make_trainer(probe, chosen, model, folder, taught, max_steps=3, callbacks=[watch])
        trainer._get_train_sampler = lambda _=None: SequentialSampler(fed)
        trainer.train()
        peak = peak_bytes()
    finally:
        if processes.is_first():
            shutil.rmtree(folder, ignore_errors=True)
    tokens = [batch * sizes[first + batch - 1], batch * sizes[-1]]
    seconds = [watch.seconds[2], watch.seconds[1]]
    slope = max(0.0, (seconds[1] - seconds[0]) / (tokens[1] - tokens[0])) if tokens[1] > tokens[0] else 0.0
    epoch = 0.0
    for start_of in range(0, len(order), batch):  # sorted, so much like the batches that the run will make
        some = sizes[start_of : start_of + batch]
        epoch += max(0.0, seconds[0] + slope * (len(some) * some[-1] - tokens[0]))
    return {
        "step_tokens": tokens,
        "step_seconds": [round(value, 3) for value in seconds],
        "scoring_seconds": round(teacher, 1),
        "seconds": round(teacher + config.epochs[0] * epoch / processes.world(), 1),
        "peak_gb": round(peak / GB, 2),
    }


def stopwatch() -> Any:
    """A transformers callback with the seconds of each step."""
    from transformers import TrainerCallback

    class Stopwatch(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *args: Any, **options: Any) -> None:
            self.start = time.monotonic()

        def on_step_end(self, *args: Any, **options: Any) -> None:
            self.seconds.append(time.monotonic() - self.start)

    return Stopwatch()


def peak_bytes() -> int:
    """The most that this process has had: on its GPU, or resident."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
