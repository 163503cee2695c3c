"""`mixup=` of `sft` and `logits`: examples are mixed as embeddings (MixKD, Liang et al., ICLR 2021, arXiv 2011.00593).

A mixed example reads w E(x) + (1 - w) E(x'), token by token, with w uniform in [0, 1]. It learns the targets of both
where they stand: w times the loss of x's, 1 - w times that of x'. With `logits` the same holds for the teacher's
distributions. They are those of the unmixed examples, from the scoring pass, where MixKD asks the teacher about the
mix: a departure. The shorter example goes on as padding. Who is mixed follows from the seed, the step and the batch, so
a resumed run mixes alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agentkd.distill.data.tokens import IGNORED
from agentkd.distill.lessons.teacher_signal import Reader, Targets, Terms, chunked_loss
from agentkd.errors import UserError
from agentkd.inference.head import Head
from agentkd.methods.mixkd import Mix, draw_mix, mix

ALIGNED = ("teacher_ids", "teacher_log_p", "public")  # of the collators: a row for each target token
TOLERANCE = 1e-4  # of hidden states, as a share of the largest


def draw(batch: int, share: float, seed: int) -> Mix:
    """A mix of a batch, of which the nearest number to `share` is mixed and the others are only reordered."""
    generator = torch.Generator().manual_seed(seed)
    how = draw_mix(batch, generator=generator)
    pure = torch.randperm(batch, generator=generator)[round(share * batch) :]
    return how._replace(weight=how.weight.index_fill(0, pure, 1.0))


def read_mixed(share: float, seed: int) -> Reader:
    """What reads a batch with a share of its examples mixed."""

    def read(trainer: Any, model: Any, head: Head, inputs: dict[str, Tensor]) -> Targets:
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        own_seed = (seed * 1_000_003 + trainer.state.global_step) * 1_000_003 + int(ids.sum())
        how = draw(len(ids), share, own_seed % 2**63)
        embedded = trainer.accelerator.unwrap_model(model).get_input_embeddings()(ids)
        mixed = {"inputs_embeds": mix(embedded, how), "attention_mask": mask[how.first] | mask[how.second]}
        return unmix(head.states(model, **mixed, use_cache=False), how, inputs)

    return read


def unmix(states_BLD: Tensor, how: Mix, inputs: dict[str, Tensor]) -> Targets:
    """The targets of both members of each mix, with their weights in `inputs["weight"]`; those of weight 0 are left
    out."""
    labels_BL = inputs["labels"][:, 1:]
    learned = labels_BL != IGNORED
    number = torch.zeros_like(labels_BL)
    number[learned] = torch.arange(int(learned.sum()), device=number.device)
    hidden, labels, tokens, weights = [], [], [], []
    first = how.weight.to(states_BLD)
    for rows, weight in ((how.first, first), (how.second, 1.0 - first)):
        there = learned[rows] & (weight > 0)[:, None]
        hidden.append(states_BLD[:, :-1][there])
        labels.append(labels_BL[rows][there])
        tokens.append(number[rows][there])
        weights.append(weight[:, None].expand(there.shape)[there])
    place = torch.cat(tokens)
    aligned = {name: inputs[name][place] for name in ALIGNED if name in inputs}
    return Targets(torch.cat(hidden), torch.cat(labels), {**inputs, **aligned, "weight": torch.cat(weights).float()})


def own_loss(hidden: Tensor, head: Head, labels: Tensor, inputs: dict[str, Tensor], terms: Terms) -> Tensor:
    """The weighted negative log-likelihood of the traces' own tokens."""

    def loss(logits_CV: Tensor, labels_C: Tensor, weight_C: Tensor) -> Tensor:
        nll = torch.nn.functional.cross_entropy(logits_CV, labels_C, reduction="none") * weight_C
        terms["nll"].append(nll.detach().sum())
        return nll

    return chunked_loss(loss, hidden, head, labels, inputs["weight"])


def check_embeddings(model: Any) -> None:
    """Raise UserError for a model that does not read the embeddings of tokens as it reads the tokens."""
    head = Head.of(model.eval())
    embed = model.get_input_embeddings()
    ids = torch.arange(4, device=embed.weight.device)[None]
    try:
        with torch.no_grad():
            plain = head.states(model, input_ids=ids, use_cache=False)
            other = head.states(model, inputs_embeds=embed(ids), use_cache=False)
        same = float((plain - other).abs().max()) <= TOLERANCE * float(plain.abs().max())
    except (TypeError, ValueError, AttributeError):
        same = False
    if not same:
        raise UserError(f"{type(model).__name__} does not read embeddings as it reads tokens: leave mixup= out")
