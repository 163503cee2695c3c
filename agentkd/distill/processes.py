"""Several processes as one run: all compute, rank 0 alone speaks and writes.

`accelerate launch` starts the processes and tells each its rank in the environment; without it there is one process and
all of this does nothing. What is decided once (dataset, checkpoint, a refusal) rank 0 decides and tells the others, so
that they cannot disagree.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from agentkd.config import has_gpu
from agentkd.errors import AgentkdError
from agentkd.runs.progress import console

T = TypeVar("T")
WAIT = timedelta(days=7)  # for rank 0, which may score a large dataset while the others wait
_group: Any = None


def world() -> int:
    """Processes of this run, on all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_world() -> int:
    """Those on this machine, which share its memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_first() -> bool:
    return int(os.environ.get("RANK", 0)) == 0


def sharded() -> bool:
    """Whether weights, gradients and optimizer are divided among the processes: FSDP, or DeepSpeed as we ship it.
    accelerate leaves both out where there are no GPUs."""
    names = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return has_gpu() and any(os.environ.get(name, "").lower() == "true" for name in names)


def join() -> None:
    """Meet the other processes, and be silent unless this is rank 0."""
    global _group
    if world() == 1 or _group is not None:
        return
    import torch
    from accelerate import PartialState

    console.quiet = not is_first()
    PartialState(cpu=not torch.cuda.is_available())
    # A group of its own for words: the other one, NCCL on GPUs, would give up long before a scoring pass ends.
    _group = torch.distributed.new_group(backend="gloo", timeout=WAIT)
    atexit.register(torch.distributed.destroy_process_group)


def first(call: Callable[[], T]) -> T:
    """What `call` returns on rank 0, on every rank. It runs there alone; the others wait. An AgentkdError of rank 0 is
    raised on every rank, so that all end with its exit code. The result must be picklable."""
    if world() == 1:
        return call()
    from torch.distributed import broadcast_object_list

    said: list[Any] = [None, None]
    if is_first():
        try:
            said[0] = call()
        except AgentkdError as error:
            said[1] = error
    broadcast_object_list(said, src=0, group=_group)
    if said[1] is not None:
        raise said[1]
    result: T = said[0]
    return result
