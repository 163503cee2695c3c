"""`agentkd bench students A,B`: how fast students answer one question at a time, compared with the first of them.

Two kinds of work, interleaved over the students in each round, on the questions of the packaged task: the exact weights
of PATHS relation paths, per question (as `eval --constrain kb` needs them), and up to WRITTEN greedily written tokens,
per token, since students end their answers at different lengths.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkd.inference.in_process import InProcessModel
from agentkd.retrievers.graph import require_in_memory
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.tasks.load import load_task
from agentkd.trace import Message

PATHS, WRITTEN = 12, 32
UNIT = {"weigh": "question", "write": "token"}


def bench_students(students: str, *, questions: int, rounds: int, seed: int, out: Path | None) -> dict[str, Any]:
    """Return seconds by student and work (median over rounds), and ratios to the first student by round."""
    names = [name.strip() for name in students.split(",")]
    task = load_task("geo")
    asked = [question.question for question in task.pick("test", questions, seed)]
    relations = require_in_memory(task.knowledge_base(), "bench students").relations
    draw = random.Random(seed)
    paths = [tuple(" → ".join(draw.sample(relations, 2)) for _ in range(PATHS)) for _ in asked]
    seconds = asyncio.run(measure_students(names, asked, paths, rounds))
    medians, ratios = {}, {}
    for work, of in seconds.items():
        medians[work] = {name: round(statistics.median(of[name]), 5) for name in names}
        ratios[work] = {name: summarise_ratios(of[name], of[names[0]]) for name in names}
    report = {
        "students": names, "questions": len(asked), "rounds": rounds, "seed": seed, "paths": PATHS, "tokens": WRITTEN,
        "date": time.strftime("%Y-%m-%d"), "seconds": medians, "ratio": ratios,
    }  # fmt: skip
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "students.json", json.dumps(report, indent=1) + "\n")
    return report


def summarise_ratios(own: Sequence[float], first: Sequence[float]) -> dict[str, float]:
    """Return median, lowest and highest of each round's ratio to the first student."""
    values = [a / b for a, b in zip(own, first, strict=True)]
    return {"median": round(statistics.median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


async def measure_students(
    names: Sequence[str], asked: Sequence[str], paths: Sequence[tuple[str, ...]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Return the seconds per question (weigh) or per token (write) of each round, by student.

    A round before them warms up.
    """
    models = {name: InProcessModel(name, name=name, cache=None) for name in names}
    servers = [asyncio.create_task(model.serve()) for model in models.values()]
    found: dict[str, dict[str, list[float]]] = {work: {name: [] for name in names} for work in ("weigh", "write")}
    try:
        for number in range(rounds + 1):
            for name, model in models.items():
                for work in found:
                    start, done = time.monotonic(), 0
                    for question, choices in zip(asked, paths, strict=True):
                        if work == "weigh":
                            await model.complete(f"Question: {question}\n", choices=choices)
                            done += 1
                        else:
                            reply = await model.chat([Message(role="user", content=question)], max_tokens=WRITTEN)
                            done += reply.usage.completion_tokens
                    if number:
                        found[work][name].append((time.monotonic() - start) / done)
    finally:
        for server in servers:
            server.cancel()
    return found


def print_students(report: dict[str, Any]) -> None:
    """Print a line per work and student."""
    for work, ratios in report["ratio"].items():
        for name, ratio in ratios.items():
            took = report["seconds"][work][name]
            say(f"{work}: {name} {took * 1000:.0f} ms a {UNIT[work]}, {ratio['median']:.2f} "
                f"({ratio['low']:.2f} to {ratio['high']:.2f}) of the first")  # fmt: skip
