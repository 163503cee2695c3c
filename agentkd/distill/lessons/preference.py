"""`--method preference`: what is proven is preferred to what the world has refused (DPO, arXiv 2305.18290, equation 7).

The pairs come from the traces: the same question, the verified target and a path that was followed and led to no right
answer. The negative log-likelihood of the verified target is added (weight `nll`), or its own likelihood may fall while
the refused one falls faster (Pang et al., arXiv 2404.19733, section 2). The training loop and the loss are TRL's
DPOTrainer's; the tokens are ours, so that the student meets at evaluation what it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentkd.config import DistillConfig
from agentkd.distill.data.dataset import IGNORED, tokenise
from agentkd.distill.data.forms import Example
from agentkd.errors import UserError


def pairs(examples: Sequence[Example], tokenizer: Any, each: int) -> list[dict[str, list[int]]]:
    """`prompt_ids`, `chosen_ids`, `rejected_ids` for up to `each` refused targets of every example, the most plausible
    first. Raises UserError where nothing was refused."""
    found = []
    for example in examples:
        chosen = tokenise(example, tokenizer)
        start = next(place for place, label in enumerate(chosen["labels"]) if label != IGNORED)
        for label in example.rejected[:each]:
            rejected = tokenise(example.model_copy(update={"target": label}), tokenizer)
            found.append(
                {
                    "prompt_ids": chosen["input_ids"][:start],
                    "chosen_ids": chosen["input_ids"][start:],
                    "rejected_ids": rejected["input_ids"][start:],
                }
            )
    if not found:
        raise UserError(
            "no question has a refused path beside its verified one: generate several samples a question, for example "
            "--agent top-path paths=8 --samples 8, and distil with form=path"
        )
    return found


def preference_trainer(config: DistillConfig, shared: Mapping[str, Any], **parts: Any) -> Any:
    """TRL's DPOTrainer over `pairs`; `shared` are the training arguments of all methods. The student before training is
    the reference, whose log-likelihoods are computed once."""
    from trl import DPOConfig, DPOTrainer

    from agentkd.distill.health import guarded

    class Trainer(guarded(DPOTrainer)):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset  # it holds token ids already

    arguments = DPOConfig(
        **shared,
        max_length=None,
        beta=config.dpo_beta,
        loss_type=["sigmoid", "sft"] if config.nll else ["sigmoid"],
        loss_weights=[1.0, config.nll] if config.nll else None,
        precompute_ref_log_probs=True,
    )
    return Trainer(args=arguments, **parts)
