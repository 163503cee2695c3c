"""`lora=R`: train low-rank adapters instead of the weights, and merge them into the saved student.

Hu et al., LoRA, arXiv 2106.09685, section 4.1: W' = W + (alpha / R) B A, with A [R, in], B [out, R] and alpha = 2 R;
on all linear layers but the head (Dettmers et al., QLoRA, arXiv 2305.14314, section 4: fewer layers lose quality).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

SCALE = 2  # alpha / R
_ROOT, _BASE, _A, _B = "base_model.model.", ".base_layer.weight", ".lora_A.default.weight", ".lora_B.default.weight"


def lora_config(rank: int) -> Any:
    """Make peft's config of the adapters."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def count_lora_parameters(model: Any, rank: int) -> int:
    """Count the parameters that a model's adapters would have, without making them."""
    from torch.nn import Linear

    head = model.get_output_embeddings()
    layers = [module for module in model.modules() if isinstance(module, Linear) and module is not head]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def merge_adapters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merge adapters into the weights, in place to avoid a copy, and return the plain model's state dict.

    `state` is the whole state dict of a peft model, as one process has it, or as FSDP gathers it."""
    merged = {}
    for name, weight in state.items():
        if name.endswith((_A, _B)):
            continue
        if name.endswith(_BASE):
            stem = name.removesuffix(_BASE)
            a, b = state[stem + _A], state[stem + _B]
            weight = weight.detach().add_((b.float() @ a.float()).to(weight.dtype), alpha=SCALE)
            name = stem + ".weight"
        merged[name.replace(".base_layer.", ".").removeprefix(_ROOT)] = weight
    return merged
