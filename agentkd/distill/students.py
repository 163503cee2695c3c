"""Smaller students out of larger ones: fewer layers, evenly spaced.

Which layers to keep is settled by what most depth-pruning papers found to be a strong and simple start before
distillation: the first, the last, and evenly between (Sanh et al., DistilBERT, arXiv 1910.01108, section 3, every
second one; Muralidharan et al., Minitron, arXiv 2407.14679, section 2.3, compares other choices).
"""

from __future__ import annotations

from typing import Any

from agentkd.errors import UserError


def kept_layers(total: int, wanted: int) -> list[int]:
    """`wanted` of `total` layer numbers, the first and the last among them. Raises UserError for more than there are.

    >>> kept_layers(30, 4)
    [0, 10, 19, 29]
    """
    if not 1 <= wanted <= total:
        raise UserError(f"layers is {wanted}: the student has {total}, choose from 1 to that")
    if wanted == 1:
        return [0]
    return [round(number * (total - 1) / (wanted - 1)) for number in range(wanted)]


def prune_layers(model: Any, wanted: int) -> list[int]:
    """Keep `wanted` layers of a decoder, in place, and say which. Raises UserError for a model built otherwise."""
    from torch.nn import ModuleList

    backbone, config = model.base_model, model.config
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, ModuleList) or len(layers) != config.num_hidden_layers:
        raise UserError(f"{type(model).__name__} has no plain list of layers: layers=N cannot prune it")
    kept = kept_layers(len(layers), wanted)
    backbone.layers = ModuleList(layers[number] for number in kept)
    for number, layer in enumerate(backbone.layers):
        for module in layer.modules():  # attention finds its cache by this number
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
    config.num_hidden_layers = wanted
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number] for number in kept]
    return kept
