"""What a frozen network gives for a set of inputs, computed once and kept on the disk.

A file is named by its contents' causes: the weights, the inputs and the hooked paths. Other weights or inputs are
another file, so that no outputs can be stale. What is read back is what was computed, bit by bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from agentkd.methods.hooks import Outputs
from agentkd.runs.disk import write_atomically

LOGITS = "logits"


def cached_outputs(
    model: nn.Module, inputs: Tensor, folder: Path, *, paths: Sequence[str] = (), batch: int = 512
) -> dict[str, Tensor]:
    """The model's logits, under `logits`, and the outputs of the modules at `paths`, for all inputs in their order.

    Read from `folder` where they are there, else computed in eval mode and written. Raises WorldError where the disk
    refuses, UserError for a path that the model lacks."""
    from safetensors.torch import load_file, save

    path = folder / f"{hash_causes(model, inputs, paths)}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        found = live_outputs(model, inputs, paths=paths, batch=batch)
        write_atomically(path, save({key: value.contiguous() for key, value in found.items()}))
    read: dict[str, Tensor] = load_file(path)
    return read


@torch.no_grad()
def live_outputs(model: nn.Module, inputs: Tensor, *, paths: Sequence[str] = (), batch: int = 512) -> dict[str, Tensor]:
    """The same, computed now."""
    model.eval()
    parts: dict[str, list[Tensor]] = {LOGITS: [], **{path: [] for path in paths}}
    with Outputs(model, paths) as outputs:
        for rows in torch.split(inputs, batch):
            parts[LOGITS].append(model(rows))
            for path in paths:
                parts[path].append(outputs[path])
    return {key: torch.cat(values) for key, values in parts.items()}


def hash_causes(model: nn.Module, inputs: Tensor, paths: Sequence[str]) -> str:
    """A hash of weights, buffers, inputs and paths."""
    digest = hashlib.sha256("\n".join(paths).encode())
    for name, value in (*sorted(model.state_dict().items()), ("", inputs)):
        digest.update(f"{name} {list(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.dim() else b"")
        digest.update(str(value.item()).encode() if not value.dim() else b"")
    return digest.hexdigest()[:32]
