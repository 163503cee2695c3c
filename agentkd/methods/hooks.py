"""Outputs of modules by their path, without changing a model.

The idea is that of torchdistill's hook manager (Matsubara 2021, arXiv 2011.12913).

    with Outputs(model, ["layer1", "layer2.0.conv"]) as outputs:
        logits = model(images)
    outputs["layer1"]

A wrong path is refused with the nearest ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from agentkd.errors import UserError, did_you_mean

SHOWN = 8  # paths, where none is near


class Outputs(Mapping[str, Any]):
    """What the modules at `paths` gave in the last forward pass, while the `with` block lasts and after it.

    A module that is called several times in one pass shows its last output. Outputs are not detached: the gradient of
    a loss on them reaches the model. Where the model runs without that module, `outputs[path]` is a UserError."""

    def __init__(self, model: nn.Module, paths: Sequence[str]) -> None:
        self.modules = {path: find_module(model, path) for path in paths}
        self.model = model
        self.kept: dict[str, Any] = {}
        self.handles: list[RemovableHandle] = []

    def __enter__(self) -> Outputs:
        self.handles = [self.model.register_forward_pre_hook(self._forget)]
        self.handles += [module.register_forward_hook(self._keeper(path)) for path, module in self.modules.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def __getitem__(self, path: str) -> Any:
        if path not in self.modules:
            raise KeyError(path)
        if path not in self.kept:
            raise UserError(f"module '{path}' did not run in the last forward pass: choose one that the model calls")
        return self.kept[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)

    def _forget(self, *_: Any) -> None:
        self.kept.clear()

    def _keeper(self, path: str) -> Any:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            self.kept[path] = output

        return keep


def pool(features: Tensor) -> Tensor:
    """The mean over places [B, D] of maps [B, D, H, W], tokens [B, N, D] or vectors [B, D]."""
    if features.dim() == 4:
        return features.mean((-2, -1))
    return features.mean(1) if features.dim() == 3 else features


def find_module(model: nn.Module, path: str) -> nn.Module:
    """Return the module at a dotted path; '' is the model itself. UserError names the nearest paths of a wrong one."""
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if path in modules:
        return modules[path]
    paths = [name for name in modules if name]
    near = did_you_mean(path, paths)
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    known = f"; choose one of: {', '.join(paths[:SHOWN])}{more}" if paths else "; it has no modules inside"
    raise UserError(f"{type(model).__name__} has no module '{path}'{near or known}")
