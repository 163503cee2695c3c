"""`agentkd bench agent`: CPU time of a KD-CoT round apart from the model, on a server that answers at once.

One question at a time is answered on the zero-latency mock, so that all of this process's CPU time belongs to it. The
clock is read where LangGraph calls a node and where a node calls the client: the time between is LangGraph's, the
nodes' own, or the client's. Figures are CPU milliseconds per round (one plan, and the read that follows it), the median
over the repeats; they do not grow with what else the machine does. Wall times are listed too; the client's includes the
mock's answering.
"""

from __future__ import annotations

import asyncio
import functools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.kd_cot import KDCoT
from agentkd.config import GenerateConfig
from agentkd.eval.bench.mock import MODEL, MockWorld, mock_server
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.teacher.cache import Cache
from agentkd.teacher.client import Teacher
from agentkd.teacher.options import Endpoint
from agentkd.world import TaskWorld

if TYPE_CHECKING:
    from agentkd.agents.base import AgentContext
    from agentkd.tasks.question import Question

NODES = ("survey", "plan", "retrieve", "read", "verify")
CLIENT, GRAPH = "client", "LangGraph"
WARM_UP = 5  # questions, so that no import and no template is compiled on the clock


class PartClock:
    """CPU and wall seconds by part; a part's time excludes that of the parts it calls."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.part = GRAPH
        self.cpu_then, self.wall_then = time.process_time(), time.perf_counter()

    def enter(self, part: str) -> str:
        """Begin to count for `part`, and return the part counted for before."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.cpu[self.part] += cpu - self.cpu_then
        self.wall[self.part] += wall - self.wall_then
        before, self.part = self.part, part
        self.cpu_then, self.wall_then = cpu, wall
        return before

    def timed(self, part: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(call)
        async def counted(*args: Any, **options: Any) -> Any:
            self.calls[part] += 1
            before = self.enter(part)
            try:
                return await call(*args, **options)
            finally:
                self.enter(before)

        return counted


class TimedKDCoT(KDCoT):
    """KD-CoT whose nodes report to a clock."""

    def __init__(self, context: AgentContext, clock: PartClock) -> None:
        for name in NODES:
            setattr(self, name, clock.timed(name, getattr(self, name)))
        super().__init__(context)


def bench_agent(*, questions: int, repeats: int, seed: int, out: Path | None) -> dict[str, Any]:
    """Return milliseconds by part, from `repeats` passes over the same geo questions, each with fresh caches."""
    passes = []
    for repeat in range(repeats):
        with mock_server(MockWorld(seed)) as mock, tempfile.TemporaryDirectory() as folder:
            passes.append(asyncio.run(run_pass(mock.url, Path(folder), questions, seed)))
        say(f"pass {repeat + 1} of {repeats}")
    rounds = passes[0].calls["plan"]

    def summarise_part(name: str, members: Sequence[str]) -> dict[str, Any]:
        cpu = [1000 * sum(clock.cpu[member] for member in members) / rounds for clock in passes]
        wall = [1000 * sum(clock.wall[member] for member in members) / rounds for clock in passes]
        return {
            "name": name,
            "calls": sum(passes[0].calls[member] for member in members),
            "cpu_ms": statistics.median(cpu),
            "cpu_ms_low": min(cpu),
            "cpu_ms_high": max(cpu),
            "wall_ms": statistics.median(wall),
        }

    report = {
        "command": f"agentkd bench agent --questions {questions} --repeats {repeats} --seed {seed}",
        "date": time.strftime("%Y-%m-%d"),
        "questions": questions,
        "rounds": rounds,
        "repeats": repeats,
        "seed": seed,
        "parts": [
            summarise_part(GRAPH, [GRAPH]),
            *(summarise_part(f"node {name}", [name]) for name in NODES),
            summarise_part("all nodes", NODES),
            summarise_part(CLIENT, [CLIENT]),
            summarise_part("in all", [GRAPH, *NODES, CLIENT]),
        ],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "agent.json", json.dumps(report, indent=1) + "\n")
        say(f"wrote {out / 'agent.json'}")
    return report


async def run_pass(url: str, folder: Path, count: int, seed: int) -> PartClock:
    """Answer all questions one after the other, after a warm-up on others, and return the clock."""
    world = TaskWorld.load(GenerateConfig(retriever="bm25", agent="kd-cot", seed=seed))
    questions = world.task.pick("train", count + WARM_UP, seed)
    teacher = Teacher(Endpoint((url,), MODEL), cache=Cache(folder / "cache"))
    clock = PartClock()
    try:
        await solve_all(KDCoT(world.context(teacher)), questions[:WARM_UP])
        setattr(teacher, "chat", clock.timed(CLIENT, teacher.chat))  # noqa: B010 (mypy: a method is no variable)
        agent = TimedKDCoT(world.context(teacher), clock)
        clock.enter(GRAPH)
        clock.cpu.clear()
        clock.wall.clear()
        await solve_all(agent, questions[WARM_UP:])
        clock.enter(GRAPH)
    finally:
        await teacher.close()
    return clock


async def solve_all(agent: KDCoT, questions: Sequence[Question]) -> None:
    """Answer the questions one after the other."""
    for question in questions:
        await agent.solve(question, 0)


def print_agent(report: dict[str, Any]) -> None:
    """Print a table."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    console = Terminal()
    title = (
        f"KD-CoT on the zero-latency mock · {report['questions']} questions of geo, {report['rounds']} rounds, one in "
        f"flight · {report['repeats']} passes, seed {report['seed']} · milliseconds a round"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("part")
    for name in ("calls", "CPU", "lowest–highest", "wall"):
        table.add_column(name, justify="right")
    for item in report["parts"]:
        spread = f"{item['cpu_ms_low']:.2f}–{item['cpu_ms_high']:.2f}"
        table.add_row(item["name"], str(item["calls"]), f"{item['cpu_ms']:.2f}", spread, f"{item['wall_ms']:.2f}")
    console.print(table)
