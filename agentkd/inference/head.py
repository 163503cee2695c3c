"""The output layer of a causal language model, for whoever makes its logits by hand.

Logits of all positions are too many to keep, so the losses, the scoring pass and the trie multiply hidden states with
the output matrix themselves. What a model does around that product differs: Granite divides it, Cohere multiplies it,
Gemma 2 caps it, Phi adds a bias, MiniCPM scales what goes in. `Head.of` finds it out on the model itself, and refuses a
model that does something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkd.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_SPREADS = 0.05, 1.0, 10.0, 100.0  # of the products that are tried: a cap of 30 shows in large ones only


@dataclass(frozen=True)
class Head:
    """How a model makes logits [N, V] from what enters its output layer [N, D]: cap(scale (W h + b)), where
    cap(z) = cap tanh(z / cap).

    `layer` is the model's own module, so that weight and bias are always the current ones."""

    layer: Any
    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, model: Any) -> Head:
        """Find a causal model's head by a forward pass in which other values enter its output layer.

        What comes out must be the layer's product, scaled or capped by numbers of the model's own config. Raises
        UserError for a model of which that is not true."""
        layer = model.get_output_embeddings()
        if getattr(layer, "weight", None) is None or layer.weight.dim() != 2:
            raise UserError(_refusal(model))
        product, logits = _try_values(model, layer)
        rough = 4 * _epsilon(layer.weight)
        small, large = product[0], product[0].abs().max()
        if not large > 0:
            raise UserError(f"the output matrix of {type(model).__name__} is all zeros: save or copy the model again")
        slope = float((small * logits[0]).sum() / (small * small).sum())
        numbers = [value for value in _numbers(model.config.get_text_config()) if value > 0]
        scales = [1.0, *numbers, *(1 / value for value in numbers)]
        scale = min(scales, key=lambda value: (abs(value - slope) > rough * abs(slope), abs(value - slope)))
        caps = [None, *numbers]
        errors = [_error(_finish(product, scale, cap), logits) for cap in caps]
        best = min(range(len(caps)), key=errors.__getitem__)  # the first of equals: no cap
        if not errors[best] <= rough:
            raise UserError(_refusal(model))
        return cls(layer, scale, caps[best])

    @property
    def weight(self) -> Tensor:
        """The output matrix W [V, D]."""
        weight: Tensor = self.layer.weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The bias b [V], if there is one."""
        return getattr(self.layer, "bias", None)

    def finish(self, product: Tensor) -> Tensor:
        """Logits from the products W h + b."""
        return _finish(product, self.scale, self.cap)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] in float32 from what enters the layer [..., D]."""
        return self.finish(self.layer(hidden).float())

    @contextmanager
    def watch(self) -> Iterator[list[Tensor]]:
        """Collect what enters the layer [B, L, D] in the forward passes within the context.

        The layer itself works on the first position alone, so that a pass makes no logits worth mentioning."""
        seen: list[Tensor] = []

        def keep(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.append(inputs[0])
            return (inputs[0][:, :1], *inputs[1:])

        handle = self.layer.register_forward_pre_hook(keep)
        try:
            yield seen
        finally:
            handle.remove()

    def states(self, model: Any, **inputs: Any) -> Tensor:
        """What enters the layer [B, L, D] when the model, which may be a wrapper of the head's own, reads `inputs`."""
        with self.watch() as seen:
            model(**inputs)
        (states,) = seen
        return states


def _try_values(model: Any, layer: Any) -> tuple[Tensor, Tensor]:
    """The layer's products [R, V] of R random vectors, the smallest first, and the logits that the model makes of them,
    both in float64. Raises UserError if the layer is not passed exactly once, or is no plain product."""
    import torch

    products: list[Tensor] = []
    rows = len(_SPREADS)
    weight, bias = layer.weight.detach(), getattr(layer, "bias", None)
    noise = torch.randn(1, rows, weight.shape[1], generator=torch.Generator().manual_seed(0))
    noise = noise.to(weight.device, torch.float32)
    spread = torch.stack([torch.nn.functional.linear(row, weight.float()).std() for row in noise[0]])
    values = noise * (torch.tensor(_SPREADS, device=weight.device) / spread.clamp_min(1e-30))[:, None]
    values = values.to(weight.dtype)

    def replace(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if inputs[0].shape != values.shape:
            raise UserError(_refusal(model))
        return (values, *inputs[1:])

    def keep(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        products.append(output.detach())

    handles = [layer.register_forward_pre_hook(replace), layer.register_forward_hook(keep)]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids = torch.arange(rows, device=model.get_input_embeddings().weight.device)[None] % len(weight)
            logits = model(input_ids=ids).logits
            plain = torch.nn.functional.linear(values, weight, bias)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    once = len(products) == 1 and logits.shape == products[0].shape
    if not once or _error(products[0], plain) > _epsilon(weight):
        raise UserError(_refusal(model))
    return products[0][0].double(), logits[0].double()


def _finish(product: Tensor, scale: float, cap: float | None) -> Tensor:
    scaled = product if scale == 1.0 else product * scale
    return scaled if cap is None else cap * (scaled / cap).tanh()


def _error(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors [R, V], as a share of the largest value in its row."""
    one, other = one.double(), other.double()
    largest = other.abs().amax(-1, keepdim=True).clamp_min(1e-30)
    return float(((one - other).abs() / largest).max())


def _epsilon(weight: Tensor) -> float:
    """What rounding may change, as a share of a value."""
    import torch

    return max(4 * torch.finfo(weight.dtype).eps, 1e-5)


def _numbers(settings: Any) -> list[float]:
    """The numbers that a config names, as they stand there, each once."""
    values = [value for value in settings.to_dict().values() if isinstance(value, int | float)]
    return list(dict.fromkeys(float(value) for value in values if not isinstance(value, bool)))


def _refusal(model: Any) -> str:
    kind = getattr(model.config, "model_type", "")
    return (
        f"{type(model).__name__} ({kind}) makes its logits in a way that is not known here, neither scaled nor capped "
        f"by a number of its config: take another model, or --method sft"
    )
