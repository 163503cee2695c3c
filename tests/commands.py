"""Several command lines in one process, for tests: `python -m tests.commands 'distill …' 'distill …'`. Checkpoints are
saved at every step where CHECKPOINTS is set."""

from __future__ import annotations

import os
import shlex
import sys

from agentkd import training
from agentkd.cli import app, guarded
from agentkd.config import DistillConfig


def words(config: DistillConfig) -> list[str]:
    """A config as it is typed."""
    values = config.model_dump(exclude_none=True)
    return [
        f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for key, value in values.items()
    ]


if __name__ == "__main__":
    if os.environ.get("CHECKPOINTS"):
        training.CHECKPOINT_SECONDS = 0.0
    for line in sys.argv[1:]:
        if code := guarded(lambda line=line: app(shlex.split(line), standalone_mode=False)):
            sys.exit(code)
