"""The options of `agentkd distill`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from agentkd.config.base import BUDGET, LOG, PASSES, TRUST, Spec, StageConfig
from agentkd.config.defaults import has_bf16


def per_stage(value: Any) -> Any:
    """Split `3,1` from the command line into one number per stage of `--method a,b`."""
    parts = value.split(",") if isinstance(value, str) else value
    return parts if isinstance(parts, list | tuple) or parts is None else [parts]


PerStage = Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None, BeforeValidator(per_stage)]


class DistillConfig(StageConfig):
    """`agentkd distill`: verified traces into a student."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"budget_hours", "budget_passes", "log"})
    CALLED: ClassVar[Mapping[str, str]] = {  # options of transformers and TRL by the names that they have here
        "bf16": "precision",
        "fp16": "precision",
        "gradient_accumulation_steps": "accumulate",
        "gradient_checkpointing": "grad_checkpointing",
        "learning_rate": "lr",
        "lora_r": "lora",
        "max_seq_length": "max_length",
        "model_name_or_path": "student",
        "num_train_epochs": "epochs",
        "output_dir": "out",
        "per_device_train_batch_size": "batch",
        "use_peft": "lora",
    }

    traces: str | None = Field(None, description="a run directory [default: the newest complete one in runs/]")
    student: str = Field("smollm2-135m", description="smollm2-135m, a directory or a hub name")
    method: str = Field("sft", description="{methods}; a,b trains one stage after another; auto chooses by trials")
    budget_hours: float | None = Field(None, gt=0, description=BUDGET)
    budget_passes: float | None = Field(None, gt=0, description=PASSES)
    form: Literal["path", "one-call", "dialogue", "agent"] | None = Field(
        None,
        description="what the student reads and writes: path, one-call, dialogue, or agent (the conversations of an "
        "agent of your own, with its tools) [default: agent for traces of such an agent, else path]",
    )
    control: Literal["unverified", "shuffled"] | None = Field(
        None, description="unverified or shuffled: train on such traces, as a control"
    )
    layers: int | None = Field(
        None, ge=1, description="keep this many of the student's layers, evenly spaced [default: all]"
    )
    teacher: Spec = Field(
        None, description="model that a method learns from; for multi-teacher several, comma-separated"
    )
    teachers: Literal["mix", "route"] = Field(
        "mix", description="multi-teacher: mix (mean of all) or route (one per example)"
    )
    weights: str | None = Field(
        None, description="multi-teacher: weights of the mean, comma-separated [default: equal]"
    )
    uld: Literal["plain", "hybrid"] = Field(
        "plain", description="cross-tokenizer: plain, or hybrid, which compares equal tokens by id"
    )
    divergence: Literal["forward", "reverse", "jsd", "skew", "skew-reverse"] | None = Field(
        None,
        description="forward, reverse, jsd, skew or skew-reverse, from teacher to student "
        "[default: forward; on-policy: reverse]",
    )
    beta: float = Field(0.5, ge=0, le=1, description="jsd: 0 is forward KL, 1 is reverse KL")
    alpha: float = Field(0.1, ge=0, lt=1, description="skew: share of the other distribution")
    top_k: int = Field(64, ge=1, description="logits: teacher tokens kept per position")
    rest: Literal["bucket", "renormalise"] = Field(
        "bucket", description="logits: the mass outside the top k goes into a bucket, or renormalise"
    )
    nll: float = Field(0.5, ge=0, le=1, description="logits, preference: weight of the trace's own tokens")
    dpo_beta: float = Field(0.1, gt=0, description="preference: how closely the student stays to its start")
    rejected: int = Field(2, ge=1, description="preference: refused paths compared with each verified one")
    rollout_tokens: int = Field(64, ge=1, description="on-policy: at most this many tokens per rollout")
    rollout_temperature: float = Field(1.0, gt=0, description="on-policy: sampling temperature of the rollouts")
    rollouts: Literal["gkd", "sod", "trd", "skew-pair"] = Field(
        "gkd",
        description="on-policy: how rollouts teach: gkd (all tokens alike), sod (less after a strange step), trd (the "
        "teacher writes on from the first strange token), skew-pair (skew losses on the trace and on the rollout)",
    )
    privacy: Literal["swing", "mask"] | None = Field(
        None,
        description="private passages of the targets: swing (the teacher is softened there, and noise added) or mask "
        "(not learned) [default: learned like all else]",
    )
    private_list: str | None = Field(None, description="privacy: a file with a private word or phrase on each line")
    private_ner: str | None = Field(
        None, description="privacy: a token classifier (folder or hub name) that finds names of persons"
    )
    private_tau: float = Field(32.0, ge=1, allow_inf_nan=False, description="swing: temperature of private tokens")
    private_noise: float = Field(
        2.0, ge=0, allow_inf_nan=False, description="swing: noise on their logits after the temperature, in nats"
    )
    mixup: float | None = Field(
        None,
        ge=0,
        le=1,
        description="sft, logits: share of a batch that is mixed with other examples, as embeddings [default: none]",
    )
    cmi_weight: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="mcmi: weight of the conditional mutual information [default: 0.25]",
    )
    paraphrase: Literal["hard", "random"] | None = Field(
        None,
        description="also learn each example in other words: hard (those on which teacher= and student disagree most) "
        "or random, its control [default: none]",
    )
    paraphrases: str | None = Field(
        None,
        description="paraphrase: JSON lines with question and paraphrase [default: frames for any question]",
    )
    epochs: PerStage = Field(None, description="one number, or one per stage [default: 3; preference and on-policy: 1]")
    lr: PerStage = Field(
        None,
        description="peak learning rate after the warm-up, one number or one per stage "
        "[default: 2e-4; preference and on-policy: 2e-5]",
    )
    batch: int | None = Field(None, ge=1, description="examples in memory per process [default: path: 16, else 4]")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step")
    lr_scheduler_type: Literal[
        "cosine", "linear", "constant", "constant_with_warmup", "polynomial", "cosine_with_restarts", "inverse_sqrt"
    ] = Field(
        "cosine",
        description="cosine, linear, constant, constant_with_warmup, polynomial, cosine_with_restarts or inverse_sqrt",
    )
    warmup_steps: int | None = Field(
        None, ge=0, description="steps in which the learning rate rises [default: a quarter of an epoch]"
    )
    warmup_ratio: float | None = Field(None, ge=0, lt=1, description="the same as a share of all steps")
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False, description="of AdamW, on all but biases and norms")
    packing: bool = Field(
        False, description="sft: join examples into rows of max_length tokens (1024), kept apart by position"
    )
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"] | None = (
        Field(
            None,
            description="eager, sdpa, flash_attention_2, flash_attention_3 or flex_attention [default: transformers']",
        )
    )
    eval_fraction: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="hold out this share of the questions, measure their loss after each epoch, and keep the best "
        "weights [default: none]",
    )
    early_stopping_patience: int | None = Field(
        None, ge=1, description="with eval_fraction: stop after this many epochs without a better loss [default: never]"
    )
    grad_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")
    log: str | None = Field(None, description=LOG)
    trust_remote_code: bool = Field(False, description=TRUST)
    chat_template: str | None = Field(
        None,
        description="a .jinja file, one of the student's templates, or a model that has it [default: the student's]",
    )
    load_in_4bit: bool = Field(
        False, description="with lora: QLoRA, adapters on weights of 4 bits; needs a GPU and bitsandbytes"
    )
    keep_adapter: bool = Field(
        False, description="with lora: leave the adapters in OUT/adapter, too, for vLLM's --enable-lora"
    )
    lora: int | None = Field(
        None, ge=1, description="train adapters of this rank and merge them into the weights [default: all weights]"
    )
    limit: int | None = Field(None, ge=1, description="use at most this many traces, rare targets first [default: all]")
    rationalised: bool = Field(
        True, description="also learn from traces whose path the gold answer chose (generate --rationalise)"
    )
    second_choice: bool = Field(
        True, description="also learn from paths that were chosen because their answers are of the kind that was asked"
    )
    doubtful: bool = Field(
        False,
        description="also learn from doubtful traces, whose answers may not be what was asked",
    )
    max_length: int | None = Field(
        None, ge=1, description="tokens; longer examples are left out and counted [default: the student's context]"
    )
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto, bf16 or fp32")

    @property
    def half(self) -> bool:
        """Whether steps are computed in bfloat16."""
        return self.precision == "bf16" or (self.precision == "auto" and has_bf16())
