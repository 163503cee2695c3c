"""The methods of `distill --method`, one record each: what a method needs, its defaults, and where its code is.

A new method is one file in `lessons/` and one entry in `METHODS`. Code is named as "module.function" of `lessons/` and
imported when it is needed, so that reading this table loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, NamedTuple

from agentkd.recommend.space import Ranges, Span, Words

DivergenceName = Literal["forward", "reverse", "jsd", "skew", "skew-reverse"]


LR, SHARE = Span(5e-5, 2e-3, log=True), Span(0.0, 1.0)


class Refusal(NamedTuple):
    """Values of an option that a method cannot work with. `reason` may contain `{value}`."""

    option: str
    values: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Method:
    """One way to train a student. The code fields name functions of these signatures:

    - `inputs(stage, tokenizer, examples, rows) -> Inputs`: what the method's trainer is fed
    - `signal(stage, data, folder) -> TeacherSignal`: what the teachers say about the rows, and the loss that learns it
    - `trainer(stage, data, arguments, parts, signal) -> Trainer`: a trainer with checks of its health
    - `check(model, pad)`: raises UserError for a student or teacher that the trainer would read wrongly
    """

    needs_teacher: str | None = None  # what `teacher=` must name; None for a method without a teacher
    several_teachers: bool = False  # `teacher=` is a comma-separated list
    same_vocabulary: bool = False  # every teacher must have the student's vocabulary
    teacher_in_memory: bool = False  # the teacher stays loaded while the student trains
    refuses: tuple[Refusal, ...] = ()
    epochs: float = 3.0
    lr: float = 2e-4
    divergence: DivergenceName = "forward"
    inputs: str = "sft.make_inputs"
    signal: str | None = None  # None for a method without a scoring pass
    trainer: str = "sft.make_trainer"
    check: str | None = None  # None for a trainer that reads every model
    by_hand: bool = False  # its trainer makes the student's logits itself, without a scoring pass
    mixes: bool = False  # it takes `mixup=`
    rewords: bool = False  # it takes `paraphrase=`
    drops_last: bool = False  # the trainer skips an epoch's last step if it is not full
    ranges: Ranges = field(default_factory=dict)  # its options, and from where to where `--method auto` looks
    packs: bool = False  # its trainer takes several examples in a row
    privacy: tuple[str, ...] = ()  # what `privacy=` it takes
    terms: tuple[str, ...] = ()  # what the trainer logs at each step besides the loss


METHODS: dict[str, Method] = {
    "sft": Method(ranges={"lr": LR}, privacy=("mask",), mixes=True, rewords=True, packs=True),
    "logits": Method(
        needs_teacher="a larger model of the student's vocabulary",
        same_vocabulary=True,
        signal="logits.make_signal",
        ranges={"lr": LR, "nll": SHARE, "divergence": Words(("forward", "reverse", "skew", "skew-reverse"))},
        privacy=("swing", "mask"),
        terms=("nll", "divergence"),
        mixes=True,
        rewords=True,
    ),
    "mcmi": Method(
        epochs=1.0,
        lr=2e-5,
        trainer="mcmi.make_trainer",
        privacy=("mask",),
        terms=("nll", "cmi"),
        by_hand=True,
        rewords=True,
    ),
    "on-policy": Method(
        needs_teacher="a larger model of the student's vocabulary",
        same_vocabulary=True,
        teacher_in_memory=True,
        refuses=(
            Refusal(
                "divergence",
                ("skew", "skew-reverse"),
                "measures forward, reverse or jsd, not divergence={value}",
            ),
            Refusal(
                "form", ("agent",), "writes one answer to a prompt, and calls no tools: choose --method sft or logits"
            ),
        ),
        epochs=1.0,
        lr=2e-5,
        divergence="reverse",
        inputs="on_policy.make_inputs",
        trainer="on_policy.make_trainer",
        check="on_policy.check_model",
        drops_last=True,
        terms=("completions/mean_length",),
    ),
    "preference": Method(
        refuses=(
            Refusal("form", ("agent",), "compares refused paths, which an agent's turns have none of: --method sft"),
        ),
        epochs=1.0,
        lr=2e-5,
        inputs="preference.make_inputs",
        trainer="preference.make_trainer",
        check="preference.check_model",
        terms=("rewards/margins", "rewards/accuracies"),
    ),
    "cross-tokenizer": Method(
        needs_teacher="a model of another vocabulary",
        refuses=(Refusal("form", ("dialogue", "agent"), "aligns one target, not the turns of form={value}"),),
        signal="cross_tokenizer.make_signal",
        ranges={"lr": LR, "nll": SHARE, "uld": Words(("plain", "hybrid"))},
        terms=("nll", "divergence", "uld"),
    ),
    "multi-teacher": Method(
        needs_teacher="several models of the student's vocabulary, separated by commas",
        several_teachers=True,
        same_vocabulary=True,
        signal="multi_teacher.make_signal",
        privacy=("swing", "mask"),
        terms=("nll", "divergence"),
    ),
}


def load_function(name: str) -> Any:
    """Import the function that a method names as "module.function"."""
    module, _, function = name.partition(".")
    return getattr(import_module(f"agentkd.distill.lessons.{module}"), function)
