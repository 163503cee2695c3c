"""Whether a model reads a text behind padding, or behind another text in one row, as it reads the text alone.

Texts of several lengths are continued in one batch, with padding on their left. A transformer masks it. A model whose
state runs over all tokens before a text (RWKV, RecurrentGemma) would continue another text.
"""

from __future__ import annotations

from typing import Any

PADS = 93  # before the shorter text: more than a convolution reaches
STEPS = 3  # tokens that are written: the later ones see what was kept of the earlier ones


def reads_padding(model: Any, pad: int) -> bool:
    """Whether `generate` continues a short text in a left-padded batch by the logits that it has for the text alone."""
    import torch

    device, size = model.get_input_embeddings().weight.device, len(model.get_input_embeddings().weight)
    short = torch.arange(5, 12, device=device)[None] % size
    long = (7 * torch.arange(PADS + short.shape[1], device=device)[None]) % size
    padded = [torch.cat([filling, short], 1) for filling in (torch.full((1, PADS), pad, device=device), long[:, :PADS])]
    mask = torch.ones(3, long.shape[1], dtype=torch.long, device=device)
    mask[1:, :PADS] = 0
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()
            alone = _first_logits(model, short, torch.ones_like(short), pad)[:, 0]
            one, other = _first_logits(model, torch.cat([long, *padded]), mask, pad)[:, 1:].unbind(1)
    finally:
        model.train(training)
    for expected, found, changed in zip(alone, one, other, strict=True):
        spread = (expected - expected.mean()).norm()
        rough = (1e-3 if model.dtype == torch.float32 else 0.1) * spread
        # What is masked has no weight at all, so that other tokens there change nothing, in any precision.
        if (found - expected).norm() > rough or (found - changed).norm() > 1e-3 * spread:
            return False
        if len({int(logits.argmax()) for logits in (expected, found, changed)}) > 1:  # a tie: now the texts differ
            break
    return True


def keeps_packed_apart(model: Any) -> bool:
    """Whether a model reads two texts in one row, whose positions begin anew, as it reads the second alone."""
    import torch

    device, size = model.get_input_embeddings().weight.device, len(model.get_input_embeddings().weight)
    one, other = (torch.arange(first, first + 9, device=device)[None] % size for first in (3, 40))
    positions = torch.arange(9, device=device)[None]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()
            packed = {"input_ids": torch.cat([one, other], 1), "position_ids": torch.cat([positions, positions], 1)}
            found = model(**packed, use_cache=False).logits[:, 9:].float()
            alone = model(input_ids=other, use_cache=False).logits.float()
    except (TypeError, ValueError, RuntimeError):
        return False
    finally:
        model.train(training)
    rough = 1e-3 if model.dtype == torch.float32 else 0.1
    return bool((found - alone).norm() <= rough * (alone - alone.mean()).norm())


def _first_logits(model: Any, ids: Any, mask: Any, pad: int) -> Any:
    """The logits [STEPS, B, V] of the first steps that the model writes, in float32."""
    import torch

    options = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False, "pad_token_id": pad}
    read = {"input_ids": ids, "attention_mask": mask}
    found = model.generate(**read, **options, output_logits=True, return_dict_in_generate=True)
    return torch.stack(found.logits).float()
