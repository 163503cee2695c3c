"""`--method preference`: the student learns to prefer verified paths to refused ones (DPO).

The loss is equation 7 of arXiv 2305.18290. The pairs come from the traces: the same question, its verified target, and
a path that was followed and led to no right answer. The negative log-likelihood of the verified target is added (weight
`nll`), or its own likelihood may fall while the refused one falls faster (Pang et al., arXiv 2404.19733, section 2).
Training loop and loss are TRL's DPOTrainer; the token ids are ours, so that the student is evaluated on the tokens it
was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentkd.distill.data.forms import Example
from agentkd.distill.data.tokens import IGNORED, Inputs, Row, TrainingData, tokenise
from agentkd.distill.health import with_health_checks
from agentkd.distill.lessons.teacher_signal import TeacherSignal
from agentkd.distill.lessons.trl_head import refuse_unknown_head
from agentkd.distill.resolve import Stage
from agentkd.errors import UserError


def make_inputs(stage: Stage, tokenizer: Any, examples: Sequence[Example], rows: Sequence[Row]) -> Inputs:
    """Pairs of a verified and a refused target. Both are in memory at once."""
    pairs = make_pairs(examples, tokenizer, stage.config.rejected)
    tokens = [2 * (len(p["prompt_ids"]) + max(len(p["chosen_ids"]), len(p["rejected_ids"]))) for p in pairs]
    return Inputs(pairs, tokens)


def make_pairs(examples: Sequence[Example], tokenizer: Any, most: int) -> list[dict[str, Any]]:
    """`prompt_ids`, `chosen_ids` and `rejected_ids` for at most `most` refused targets per example, the most plausible
    first. Raises UserError if nothing was refused."""
    pairs = []
    for example in examples:
        chosen = tokenise(example, tokenizer)
        start = next(place for place, label in enumerate(chosen["labels"]) if label != IGNORED)
        for label in example.rejected[:most]:
            rejected = tokenise(example.model_copy(update={"target": label}), tokenizer)
            pairs.append(
                {
                    "prompt_ids": chosen["input_ids"][:start],
                    "chosen_ids": chosen["input_ids"][start:],
                    "rejected_ids": rejected["input_ids"][start:],
                }
            )
    if not pairs:
        raise UserError(
            "no question has a refused path beside its verified one: generate several samples a question, for example "
            "--agent top-path paths=8 --samples 8, and distil with form=path"
        )
    return pairs


def check_model(model: Any, pad: int) -> None:
    """Raise UserError for a model whose head TRL would read wrongly. It pads texts on their right."""
    refuse_unknown_head(model, "preference")


def make_trainer(
    stage: Stage,
    data: TrainingData,
    arguments: Mapping[str, Any],
    parts: Mapping[str, Any],
    signal: TeacherSignal | None,
) -> Any:
    """TRL's DPOTrainer over the pairs. Its reference is the student before training, whose log-likelihoods are computed
    once."""
    from trl import DPOConfig, DPOTrainer

    class Trainer(with_health_checks(DPOTrainer)):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset  # it holds token ids already

    config = stage.config
    check_model(parts["model"], data.student.tokenizer.pad_token_id)
    settings = DPOConfig(
        **arguments,
        max_length=None,
        router_aux_loss_coef=0.0,
        beta=config.dpo_beta,
        loss_type=["sigmoid", "sft"] if config.nll else ["sigmoid"],
        loss_weights=[1.0, config.nll] if config.nll else None,
        precompute_ref_log_probs=True,
    )
    return Trainer(args=settings, **parts)
