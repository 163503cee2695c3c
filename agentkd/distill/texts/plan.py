"""`distill --corpus --plan`: sizes, steps, and the time of real steps, of which nothing is kept."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentkd.config import TextsConfig
from agentkd.distill.needs import available_memory, free_disk
from agentkd.distill.plan import format_duration, step_timer
from agentkd.distill.texts.blocks import encode
from agentkd.distill.texts.needs import compute_needs
from agentkd.distill.texts.run import resolve
from agentkd.distill.texts.train import begin, count_steps, make_trainer
from agentkd.errors import UserError
from agentkd.machine.hardware import GB
from agentkd.runs.progress import say

SAMPLE = 500  # documents whose tokens are counted, evenly spaced
STEPS = 4  # the first one warms up


def plan_texts(config: TextsConfig) -> dict[str, Any]:
    """Print what the run would take. Raises UserError as the run itself would."""
    config, corpus, documents, student, _ = resolve(config)
    every = max(1, documents // SAMPLE)
    parts = [(part, document.text) for place, (part, document) in enumerate(corpus.parts()) if place % every == 0]
    ids = encode(student.tokenizer, [text for part, text in parts if part == "train"])
    joined = [token for text in ids for token in text]
    if len(joined) < 2:
        raise UserError(f"a sample of {len(parts)} documents has nothing to learn: give more or longer texts")
    tokens = round(len(joined) * documents / len(parts))
    blocks = max(1, round(tokens / (config.max_length - 1)))
    steps = count_steps(config, blocks, tokens)
    needs = compute_needs(config, student, corpus)
    memory, free = available_memory()
    room = free_disk(Path(str(config.out))) / GB
    say(f"plan of {config.out}: texts · {config.student}")
    say(f"model    {needs['parameters'] / 1e6:,.1f} M parameters")
    say(f"data     {documents:,} documents, about {tokens:,} tokens to learn (from {len(parts)} documents)")
    say(f"steps    {steps.steps:,} of {steps.a_step} blocks of {config.max_length} tokens")
    for name, parts_of, where in (
        ("memory", needs["memory"], f"{free:.1f} {memory}"),
        ("disk", needs["disk"], f"{room:.1f} free"),
    ):
        listed = ", ".join(f"{part} {size:.2f}" for part, size in parts_of.items() if size >= 0.005)
        say(f"{name:<8} {sum(parts_of.values()):.1f} GB of {where}: {listed} (computed)")
    block = (joined * -(-config.max_length // len(joined)))[: config.max_length]
    seconds = time_step(config, student, block, steps)
    total = seconds * steps.steps
    say(f"time     {format_duration(total)}: measured, {seconds:.2f} s a step, without the held-out texts")
    return {
        "out": config.out,
        "documents": documents,
        "tokens": tokens,
        "steps": steps.steps,
        "step_seconds": round(seconds, 4),
        "seconds": round(total, 1),
        **needs,
    }


def time_step(config: TextsConfig, student: Any, block: list[int], steps: Any) -> float:
    """Seconds of a training step on full blocks."""
    from datasets import Dataset

    timer = step_timer()
    table = Dataset.from_dict({"input_ids": [block] * (STEPS * steps.a_step)})
    with TemporaryDirectory(prefix="agentkd-plan-") as folder:
        trainer = make_trainer(
            config, begin(config, student), student, table, Path(folder), steps._replace(steps=STEPS)
        )
        trainer.add_callback(timer)
        trainer.train()
    seconds = timer.seconds[1:]
    return float(sorted(seconds)[len(seconds) // 2])
