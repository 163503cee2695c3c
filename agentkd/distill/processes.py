"""Several processes as one run: all compute, rank 0 alone speaks and writes.

`accelerate launch` starts the processes and tells each its rank in the environment. Without it there is one process,
and nothing here has an effect. What must be decided once (dataset, checkpoint, a refusal) is decided on rank 0 and sent
to the others, so that they cannot disagree.
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


def world_size() -> int:
    """Number of processes of this run, on all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_world_size() -> int:
    """Number of processes on this machine, which share its memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_rank_0() -> bool:
    """Whether this process speaks and writes for all."""
    return int(os.environ.get("RANK", 0)) == 0


def is_sharded() -> bool:
    """Whether weights, gradients and optimizer are divided among the processes: FSDP, or DeepSpeed as we ship it.
    accelerate uses neither without GPUs."""
    names = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return has_gpu() and any(os.environ.get(name, "").lower() == "true" for name in names)


def join_processes() -> None:
    """Connect to the other processes, and silence this one unless it is rank 0."""
    global _group
    if world_size() == 1 or _group is not None:
        return
    import torch
    from accelerate import PartialState

    console.quiet = not is_rank_0()
    PartialState(cpu=not torch.cuda.is_available())
    # A separate group for Python objects: the default one, NCCL on GPUs, times out long before a scoring pass ends.
    _group = torch.distributed.new_group(backend="gloo", timeout=WAIT)
    atexit.register(torch.distributed.destroy_process_group)


def on_rank_0(call: Callable[[], T]) -> T:
    """Run `call` on rank 0 alone and return its result on every rank; the others wait.

    An AgentkdError of rank 0 is raised on every rank, so that all end with its exit code. The result must be picklable.
    """
    if world_size() == 1:
        return call()
    from torch.distributed import broadcast_object_list

    outcome: list[Any] = [None, None]  # result, error
    if is_rank_0():
        try:
            outcome[0] = call()
        except AgentkdError as error:
            outcome[1] = error
    broadcast_object_list(outcome, src=0, group=_group)
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result
