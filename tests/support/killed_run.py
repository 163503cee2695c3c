"""`python -m tests.support.killed_run STAGE WHEN MARK -- ARGUMENTS`: `agentkd ARGUMENTS`, killed by
`kill -9` of itself in that stage of Agent K, before or after the stage's work, the first
time only (the file MARK remembers). WHEN `interrupted` is a ctrl-C in place of that, before the stage's work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agentkd.agents.agent_k import graph
from agentkd.cli.main import main


def arm(stage: str, when: str, mark: Path) -> None:
    function, after = graph.NODES[stage]

    def die() -> None:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    async def deadly(context: Any, state: Any) -> Any:
        if when == "interrupted" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.1)  # the loop hears of it
        if when == "before":
            die()
        result = await function(context, state)
        if when == "after":
            die()
        return result

    graph.NODES[stage] = (deadly, after)


if __name__ == "__main__":
    stage, when, mark, dashes, *arguments = sys.argv[1:]
    assert dashes == "--" and when in ("before", "after", "interrupted")
    arm(stage, when, Path(mark))
    sys.argv = ["agentkd", *arguments]
    main()
