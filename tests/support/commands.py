"""Command lines: `call` runs one in the test's process.

`python -m tests.support.commands 'distill …' 'distill …'` runs several in one process. It saves checkpoints at every
step where CHECKPOINTS is set, and uses FSDP on CPUs where it is asked for.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentkd.cli import main
from agentkd.cli.main import app, run_command
from agentkd.config import DistillConfig
from agentkd.distill import checkpoints

if TYPE_CHECKING:
    import pytest


def call(
    argv: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """`agentkd ARGV`: exit code, stdout, stderr."""
    import pytest

    monkeypatch.setattr(sys, "argv", ["agentkd", *argv])
    monkeypatch.setattr(main, "start_watchdog", lambda tidy: None)  # it would kill the tests at their next SIGINT
    with pytest.raises(SystemExit) as ended:
        main.main()
    out, error = capsys.readouterr()
    return int(ended.value.code or 0), out, error


def command_words(config: DistillConfig) -> list[str]:
    """A config as the words of a command line."""
    values = config.model_dump(exclude_none=True)
    return [
        f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for key, value in values.items()
    ]


def shard_on_cpus() -> None:
    """Use FSDP without GPUs, where accelerate silently leaves it out; torch's FSDP2 itself runs over gloo."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    before, plugins = AcceleratorState.__init__, []

    def after(self: Any, *args: Any, fsdp_plugin: Any = None, **options: Any) -> None:
        before(self, *args, fsdp_plugin=fsdp_plugin, **options)
        if fsdp_plugin is not None:
            plugins[:] = [fsdp_plugin]
        if plugins and self.distributed_type is DistributedType.MULTI_CPU:  # as every call sets it again
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugins[0]

    AcceleratorState.__init__ = after


if __name__ == "__main__":
    if os.environ.get("ACCELERATE_USE_FSDP"):
        shard_on_cpus()
    if os.environ.get("CHECKPOINTS"):
        checkpoints.CHECKPOINT_SECONDS = 0.0
    for line in sys.argv[1:]:
        if code := run_command(lambda line=line: app(shlex.split(line), standalone_mode=False)):
            sys.exit(code)
