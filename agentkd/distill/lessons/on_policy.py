"""`--method on-policy`: the student writes, a fine-tuned teacher judges each token (GKD, arXiv 2306.13649, section 3).

The loss is the generalised JSD between the two models' next-token distributions over what the student wrote; reverse KL
by default. It is TRL's DistillationTrainer, whole: generation, loss and loop. It needs a student that already writes
something sensible (`--method sft,on-policy` trains one first) and a teacher of the same vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentkd.config import DistillConfig
from agentkd.distill.data.forms import Example


def prompts(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Each distinct prompt once: a text, or a chat that ends with the user's turn."""
    texts = dict.fromkeys(example.prompt for example in examples)
    return [{"prompt": text if isinstance(text, str) else [turn.model_dump() for turn in text]} for text in texts]


def on_policy_trainer(config: DistillConfig, shared: Mapping[str, Any], **parts: Any) -> Any:
    """TRL's DistillationTrainer over `prompts`; `parts` holds `teacher_model`."""
    from trl import DistillationConfig, DistillationTrainer

    from agentkd.distill.health import guarded

    # TRL's beta: 0 is forward KL, 1 is reverse KL
    beta = {"forward": 0.0, "reverse": 1.0, "jsd": config.beta}[str(config.divergence)]
    tokenizer = parts["processing_class"]
    tokenizer.padding_side = "left"
    arguments = DistillationConfig(
        **shared,
        beta=beta,
        temperature=config.rollout_temperature,
        max_completion_length=config.rollout_tokens,
        shuffle_dataset=True,
    )
    return guarded(DistillationTrainer)(args=arguments, **parts)
