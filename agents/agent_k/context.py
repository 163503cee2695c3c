"""What every stage works with: the surroundings of a run, the state that the graph keeps, a run in the sandbox."""

from __future__ import annotations

import asyncio
import operator
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from agentkd.agents.agent_k.clock import LEAST
from agentkd.agents.agent_k.contract import Setup, read_setup
from agentkd.agents.agent_k.memory import Entry
from agentkd.runs.progress import heartbeat
from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from agentkd.agents.agent_k.clock import Clock
    from agentkd.agents.agent_k.competition.source import Source
    from agentkd.agents.agent_k.competition.submit_once import Submissions
    from agentkd.agents.agent_k.memory import LongTerm
    from agentkd.agents.agent_k.model.ask import Asker
    from agentkd.config import KaggleConfig

STAGES = (
    "fetch", "draft", "understand", "modalities", "maps", "metric", "format", "baseline", "solve", "ensemble",
    "validate", "submit", "credit", "report",
)  # fmt: skip
CODE, MODEL = "code", "model"  # who made what a stage accepted


class State(TypedDict, total=False):
    """What the checkpointer keeps after every node: plain values. Steps and usage only grow."""

    settled: dict[str, str]  # what the user had fixed when the run began; anything else begins it anew
    teacher: str  # who has answered, "" for nobody yet
    steps: Annotated[list[dict[str, Any]], operator.add]
    usage: Annotated[list[dict[str, Any]], operator.add]
    memory: list[Entry]  # the working memory, newest first
    summary: str
    accepted: dict[str, str]  # stage → CODE or MODEL
    sent_back: dict[str, int]  # stage → how often a later stage has sent the run back to it
    format_code: str  # the folder of the accepted code, empty for the generic form
    metric_code: str
    features: str  # the folder of accepted features
    candidates: dict[str, dict[str, Any]]  # name → {folder, basis, author} and {score, seconds} or {error}
    rounds: dict[str, int]  # what the model was asked for while solving, and how often
    best: dict[str, Any]  # {name, score, file, form}
    blend: dict[str, Any]


@dataclass(frozen=True)
class Around:
    """The surroundings. There are no private labels in them, and `source.data` is all that code may read."""

    config: KaggleConfig
    source: Source
    run: Path
    sandbox: Sandbox
    asker: Asker
    clock: Clock
    submissions: Submissions
    long_term: LongTerm
    stop: threading.Event  # set by ctrl-C: no stage begins, nothing is sent or waited for
    say: Callable[[str], None]

    @property
    def workspace(self) -> Path:
        return self.run / "workspace"

    @property
    def setup(self) -> Setup:
        return read_setup(self.workspace)

    @property
    def threads(self) -> int:
        return self.config.threads or 1

    @property
    def longest(self) -> float:
        """Seconds that a run in the sandbox may take: half of what is kept for the end is there for a late one."""
        return max(self.clock.left + self.clock.reserve / 2, LEAST)

    def at_work(self, name: str, took: float) -> str:
        return f"{name}: at work for {took:.0f} s · {max(self.clock.left, 0):.0f} s left in all"

    async def in_sandbox(
        self,
        module: str,
        *arguments: str,
        work: Path,
        read: Sequence[Path],
        seconds: float,
    ) -> Outcome:
        """`python -m MODULE ARGUMENTS` in the folder `work`, for so many seconds, and no longer than the run's clock
        allows. Ended with this task: nothing is left running."""
        cancel = threading.Event()
        seconds = min(max(seconds, 1.0), self.longest)
        limits = Limits(seconds=seconds, memory_mb=self.config.memory_mb, disk_mb=self.config.disk_mb)
        argv = [sys.executable, "-m", module, *arguments]
        threads = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

        def run() -> Outcome:
            return self.sandbox.run(argv, work=work, read=read, limits=limits, env=threads, cancel=cancel)

        job = asyncio.get_running_loop().run_in_executor(None, run)
        try:  # shielded: what runs is ended by `cancel`
            return await heartbeat(asyncio.shield(job), lambda took: self.at_work(work.name, took), self.say)
        except asyncio.CancelledError:
            cancel.set()
            await job
            raise
