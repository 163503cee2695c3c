"""TRL's trainers make logits by hand, too: whether they make those of the model.

They read scale and cap from a few names of the config. A model that names them otherwise, or that works on its hidden
states before the output layer, would be trained on other logits than it has, without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentkd.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LOGIT_SPREAD = 50.0  # of the logits that are compared: a cap of 30 shows in large ones only


def refuse_unknown_head(model: Any, method: str) -> None:
    """Raise UserError if TRL would train a model by a method on other logits than it has."""
    if not trl_knows_head(model):
        raise UserError(
            f"--method {method} is TRL's, which does not know how {type(model).__name__} makes its logits: "
            f"take --method sft, or another model"
        )


def trl_knows_head(model: Any) -> bool:
    """Whether TRL's fused output layer gives the log-probabilities that the model's own forward pass gives.

    They are compared as they are, and with enlarged last hidden states, as far as the model takes those from its
    backbone."""
    import torch

    weight = model.get_output_embeddings().weight
    ids = (torch.arange(8, device=weight.device) % len(weight))[None]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            factor = LOGIT_SPREAD / float(model(input_ids=ids).logits.float().std().clamp_min(1e-6))
            return _same_log_p(model, ids, 1.0) and _same_log_p(model, ids, factor)
    except (TypeError, AttributeError, RuntimeError, ValueError):
        return False
    finally:
        model.train(training)


def _same_log_p(model: Any, ids: Tensor, factor: float) -> bool:
    import torch
    from trl.trainer.utils import add_fused_lm_head

    passed = []

    def enlarge(_: Any, inputs: Any, output: Any) -> Any:
        passed.append(True)
        output.last_hidden_state = output.last_hidden_state * factor
        return output

    handle = model.base_model.register_forward_hook(enlarge)
    try:
        own = model(input_ids=ids).logits.float().log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        if not passed and factor != 1.0:  # it calls a part of its backbone: nothing was enlarged
            return True
        add_fused_lm_head(model)
        try:
            theirs = model(input_ids=ids, labels=ids, fused_lm_head=True).log_probs.float()
        finally:
            del model.forward
    finally:
        handle.remove()
    return torch.allclose(theirs, own, rtol=1e-2, atol=1e-2)
