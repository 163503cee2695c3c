"""`lora=R`: train low-rank adapters instead of the weights, and merge them into the saved student.

Hu et al., LoRA, arXiv 2106.09685, section 4.1: W' = W + (alpha / R) B A, with A [R, in], B [out, R] and alpha = 2 R;
on all linear layers but the head (Dettmers et al., QLoRA, arXiv 2305.14314, section 4: fewer layers lose quality).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 2  # alpha / R
_MAMBA = "mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"  # as peft has them
_ROOT, _BASE, _A, _B = "base_model.model.", ".base_layer.weight", ".lora_A.default.weight", ".lora_B.default.weight"


def lora_config(model: Any, rank: int) -> Any:
    """Make peft's config of a model's adapters."""
    from peft import LoraConfig

    left_out = list(_left_out(model)) or None
    options = {"target_modules": "all-linear", "exclude_modules": left_out, "task_type": "CAUSAL_LM"}
    return LoraConfig(r=rank, lora_alpha=SCALE * rank, **options)


def _left_out(model: Any) -> tuple[str, ...]:
    """Names of linear layers that get no adapter: Mamba's kernels read their weight past the layer."""
    return ("out_proj",) if model.config.model_type in _MAMBA else ()


def count_lora_parameters(model: Any, rank: int) -> int:
    """Count the parameters that a model's adapters would have, without making them."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    head, left_out = model.get_output_embeddings(), _left_out(model)
    return sum(
        rank * sum(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, Linear | Conv1D) and module is not head and name.rpartition(".")[2] not in left_out
    )


def transposed_layers(model: Any) -> set[str]:
    """Names of a peft model's layers whose weight is [in, out]: GPT-2's Conv1D."""
    from transformers.pytorch_utils import Conv1D

    return {name.removesuffix(".base_layer") for name, module in model.named_modules() if isinstance(module, Conv1D)}


def merge_adapters(state: dict[str, Tensor], transposed: Collection[str] = ()) -> dict[str, Tensor]:
    """Merge adapters into the weights, in place to avoid a copy, and return the plain model's state dict.

    `state` is the whole state dict of a peft model, as one process has it, or as FSDP gathers it; `transposed` names
    its layers with a weight of [in, out]."""
    merged = {}
    for name, weight in state.items():
        if name.endswith((_A, _B)):
            continue
        if name.endswith(_BASE):
            stem = name.removesuffix(_BASE)
            a, b = state[stem + _A], state[stem + _B]
            change = (b.float() @ a.float()).to(weight.dtype)
            weight = weight.detach().add_(change.T if stem in transposed else change, alpha=SCALE)
            name = stem + ".weight"
        merged[name.replace(".base_layer.", ".").removeprefix(_ROOT)] = weight
    return merged


def save_adapters(model: Any, state: dict[str, Tensor], folder: Path, base: str) -> None:
    """Write a peft model's adapters as peft does, for `base`: the student as the user named it.

    vLLM serves them beside others on one base model (`--enable-lora --lora-modules NAME=FOLDER`)."""
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder, state_dict=dict(state), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty card; the student has one


def with_base(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A peft model's state dict with the adapters of `state` and the weights of a plain model of the same shape."""
    adapters = {name: weight.cpu() for name, weight in state.items() if name.endswith((_A, _B))}
    stems = {name.removesuffix(_A) for name in adapters if name.endswith(_A)}
    plain = {f"{_ROOT}{name}": weight for name, weight in base.items()}
    renamed = {
        (stem + _BASE if (stem := name.removesuffix(".weight")) in stems else name): weight
        for name, weight in plain.items()
    }
    return {**renamed, **adapters}
