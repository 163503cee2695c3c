"""A folder with the examples as a user's package, and the command in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentkd.trace import Trace
from tests.support.mock_server import Server
from tests.support.warm import KBQA, Forked, warm

EXAMPLES = Path(__file__).parent / "examples"


@dataclass
class Desk:
    """A user's folder. The package of the examples is `mine`."""

    folder: Path

    def write(self, rows: Sequence[dict[str, Any]], name: str = "items.jsonl") -> None:
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(self, server: Server, *words: str) -> Forked:
        """Start `agentkd generate … --out out` as a user does."""
        argv = [sys.executable, "-m", "agentkd", "generate", "--task", "items.jsonl", "--teacher", server.spec]
        env = os.environ | {"OPENAI_API_KEY": "sk-of-the-user"}
        return warm(*KBQA, "agentkd.own_agents.collect").popen(
            [*argv, "--out", "out", *words], cwd=self.folder, env=env
        )

    def run(self, server: Server, *words: str) -> tuple[int, str]:
        """Run it to its end; exit code and stderr."""
        with self.start(server, *words) as process:
            _, error = process.communicate(timeout=300)
        assert process.returncode is not None
        return process.returncode, error

    def kill_after(self, server: Server, answers: int, *words: str) -> None:
        """Run it, and kill it -9 once the server has given so many answers."""
        with self.start(server, *words) as process:
            end = time.monotonic() + 120
            while server.answered.total() < answers and process.poll() is None and time.monotonic() < end:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def traces(self) -> dict[str, Trace]:
        """The traces on disk by item and sample; each is there once."""
        path = self.folder / "out" / "traces-0.jsonl"
        found = [Trace.model_validate_json(line) for line in path.read_text().splitlines()] if path.exists() else []
        named = {f"{trace.id}/{trace.sample}": trace for trace in found}
        assert len(named) == len(found), "a sample is there twice"
        return named

    def failures(self) -> dict[str, str]:
        """The errors of samples that failed for good, by item."""
        path = self.folder / "out" / "failures-0.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return {row["id"]: row["error"] for row in rows if not row["retry"]}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    shutil.copytree(EXAMPLES, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    return Desk(tmp_path)
