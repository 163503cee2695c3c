"""The files of a run, and the sandbox that runs code on them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.clock import LEAST_RESERVE
from agentkd.agents.agent_k.contract import Setup, find_plain, read_setup
from agentkd.agents.agent_k.reshape.plain import adjust_facts, turn_back
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import heartbeat
from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.environment import THREADS
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from agentkd.agents.agent_k.clock import Clock
    from agentkd.agents.agent_k.competition.source import Source
    from agentkd.config import KaggleConfig


@dataclass(frozen=True)
class Workbench:
    """The files and the sandbox of a run: all that it takes to run and test code.

    It has no model, no memory and no way to submit. It holds no private labels, and `data` is all of the
    competition that code may read."""

    config: KaggleConfig
    source: Source
    folder: Path  # the run directory
    sandbox: Sandbox
    clock: Clock
    say: Callable[[str], None]

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def data(self) -> Path:
        """The files that stages read: the competition's own, or the plain tables made of them."""
        return find_plain(self.workspace) or self.source.data

    def settled(self) -> dict[str, str]:
        """The facts that the user has settled; what the plain tables settle comes first."""
        return adjust_facts(self.config.settled(), self.workspace)

    def publish(self, file: Path) -> None:
        """Put a valid submission file into submission.csv, in the form of the competition's sample."""
        frame = turn_back(file, self.source.data, self.workspace)
        content = file.read_bytes() if frame is None else frame.to_csv(index=False).encode()
        write_atomically(self.folder / "submission.csv", content)

    @property
    def setup(self) -> Setup:
        """The set-up as it is on disk now."""
        return read_setup(self.workspace)

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def threads(self) -> int:
        return self.config.threads or 1

    @property
    def longest(self) -> float:
        """Seconds that one run in the sandbox may take.

        Half of the reserve is there for a run that ends late."""
        return max(self.clock.left + self.clock.reserve / 2, LEAST_RESERVE)

    def progress_line(self, name: str, took: float) -> str:
        return f"{name}: at work for {took:.0f} s · {max(self.clock.left, 0):.0f} s left in all"

    async def run_module(
        self, module: str, *arguments: str, work: Path, read: Sequence[Path], seconds: float
    ) -> Outcome:
        """Run `python -m MODULE ARGUMENTS` in the sandbox, in the folder `work`.

        It may take `seconds`, and no longer than the run's clock allows. If this task is cancelled, the code
        is killed first."""
        cancel = threading.Event()
        seconds = min(max(seconds, 1.0), self.longest)
        limits = Limits(seconds=seconds, memory_mb=self.config.memory_mb, disk_mb=self.config.disk_mb)
        argv = [sys.executable, "-m", module, *arguments]
        threads = {name: str(self.threads) for name in THREADS}

        def run() -> Outcome:
            return self.sandbox.run(argv, work=work, read=read, limits=limits, env=threads, cancel=cancel)

        job = asyncio.get_running_loop().run_in_executor(None, run)
        try:  # shielded: only `cancel` ends the code
            return await heartbeat(
                asyncio.shield(job), lambda took: self.progress_line(work.parent.name, took), self.say
            )
        except asyncio.CancelledError:
            cancel.set()
            await job
            raise
