"""Fill in what the user left open, once: a DistillConfig becomes one frozen `Stage` per method.

All that follows (prepare, plan, check, train, publish) takes a Stage and decides nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from agentkd.agents import WITH_TOOLS
from agentkd.config import DistillConfig, slug, task_label
from agentkd.distill.checkpoints import check_trackers
from agentkd.distill.method import METHODS, DivergenceName, Method
from agentkd.errors import UserError, unknown_name
from agentkd.runs.progress import say
from agentkd.runs.read import TAUGHT_FROM, find_newest_run, is_complete, read_config
from agentkd.tasks.items import is_foreign

CMI_WEIGHT = 0.25  # the largest of the official ones


@dataclass(frozen=True)
class Stage:
    """One method of a run with every choice made.

    `student` and `teachers` are model names, not folders: the student of a later stage is the output of the one before
    and does not exist yet. `config` holds the same choices as config.yaml records them, and the method's own options,
    which always have a value.
    """

    config: DistillConfig
    source: Mapping[str, Any]  # config of the run that the traces come from
    method: Method
    traces: Path
    student: str
    teachers: tuple[str, ...]
    out: Path
    epochs: float
    lr: float
    batch: int
    divergence: DivergenceName

    @property
    def makes_logits(self) -> bool:
        """Whether the trainer makes the student's logits itself, from hidden states and the head."""
        return bool(self.method.signal or self.method.by_hand or self.config.mixup)

    def with_changes(self, **changes: Any) -> Stage:
        """The same stage with other values of options."""
        own = {field.name for field in fields(self)}
        mine = {name: value for name, value in changes.items() if name in own}
        return replace(self, config=self.config.model_copy(update=changes), **mine)


def resolve_run(config: DistillConfig) -> list[Stage]:
    """The stages of a `distill` command. Raises UserError for an unknown method, missing traces and options that do
    not fit."""
    methods = config.method.split(",")
    check_trackers(config.log)
    if unknown := [method for method in methods if method not in METHODS]:
        raise unknown_name("method", unknown[0], METHODS)
    traces = Path(config.traces) if config.traces else find_newest_run(Path("runs"))
    source = read_config(traces, ("task",))
    if source.get("stage") not in TAUGHT_FROM:
        raise UserError(
            f"{traces} is of stage {source.get('stage')!r}: "
            f"give the directory of a run of `agentkd generate` or `elicit`"
        )
    if not is_complete(traces):
        say(f"{traces} is not complete: training on what it has")
    out = config.out or f"students/{slug(task_label(source['task']))}-{'-'.join(methods)}"
    return resolve_stages(config.model_copy(update={"traces": str(traces), "out": out}), source)


def resolve_stages(config: DistillConfig, source: Mapping[str, Any]) -> list[Stage]:
    """One stage per method of a config that names traces and out. Raises UserError for options that do not fit."""
    agent = source.get("agent")
    form = config.form or ("agent" if is_foreign(agent) or agent in WITH_TOOLS else "path")
    config = config.model_copy(update={"form": form})
    stages: list[Stage] = []
    methods = config.method.split(",")
    for number, name in enumerate(methods):
        method = METHODS[name]
        last = number == len(methods) - 1
        out = Path(str(config.out)) if last else Path(str(config.out)) / "stages" / f"{number + 1}-{name}"
        epochs = value_for_stage(config.epochs, number, len(methods), "epochs") or method.epochs
        lr = value_for_stage(config.lr, number, len(methods), "lr") or method.lr
        batch = config.batch or (16 if config.form == "path" and not config.packing else 4)
        divergence = config.divergence or method.divergence
        refuse_options(config, name, divergence)
        asks = bool(method.needs_teacher) or config.paraphrase == "hard"
        named = str(config.teacher).split(",") if method.several_teachers else [str(config.teacher)]
        recorded = config.model_copy(
            update={
                "method": name,
                "student": stages[-1].config.out if stages else config.student,
                "layers": None if stages else config.layers,
                "teacher": config.teacher if asks else None,
                "out": config.out if last else str(out),
                "epochs": (epochs,),
                "lr": (lr,),
                "batch": batch,
                "divergence": divergence,
                "cmi_weight": CMI_WEIGHT if name == "mcmi" and config.cmi_weight is None else config.cmi_weight,
            }
        )
        stages.append(
            Stage(
                config=recorded,
                source=source,
                method=method,
                traces=Path(str(config.traces)),
                student=recorded.student,
                teachers=tuple(spec.strip() for spec in named if spec.strip()) if asks else (),
                out=out,
                epochs=epochs,
                lr=lr,
                batch=batch,
                divergence=divergence,
            )
        )
    return stages


def refuse_options(config: DistillConfig, name: str, divergence: str) -> None:
    """Raise UserError where a method lacks its teacher, or cannot work with an option's value."""
    method = METHODS[name]
    if method.needs_teacher and not (config.teacher or "").strip(" ,"):
        raise UserError(f"--method {name} needs teacher=MODEL: {method.needs_teacher}")
    if config.privacy and config.form == "agent":
        raise UserError("--privacy looks for private passages in answers, not in the turns of form=agent: leave it out")
    if config.mixup and not method.mixes:
        raise UserError(f"--method {name} does not take mixup=: choose {able_methods('mixes')}")
    if config.paraphrase and not method.rewords:
        raise UserError(f"--method {name} does not take paraphrase=: choose {able_methods('rewords')}")
    if config.paraphrase and config.form == "agent":
        raise UserError("paraphrase= puts one question in other words, and form=agent has conversations: leave it out")
    if config.paraphrase == "hard" and not (config.teacher or "").strip(" ,"):
        raise UserError("paraphrase=hard needs teacher=MODEL, which is asked where it disagrees; or paraphrase=random")
    if config.paraphrases and not config.paraphrase:
        raise UserError(f"paraphrases={config.paraphrases} is not used: add paraphrase=hard or paraphrase=random")
    if config.privacy and config.privacy not in method.privacy:
        able = ", ".join(other for other, each in METHODS.items() if config.privacy in each.privacy)
        raise UserError(f"--method {name} does not take --privacy {config.privacy}: choose {able}")
    if not config.privacy and (given := config.private_list or config.private_ner):
        raise UserError(f"{given} says what is private, but nothing is kept out: add --privacy swing or --privacy mask")
    if config.packing and not method.packs:
        raise UserError(f"--method {name} does not take packing=true: choose {able_methods('packs')}")
    refuse_pairs(config)
    values = {"form": config.form, "divergence": divergence}
    for option, refused, reason in method.refuses:
        if values[option] in refused:
            raise UserError(f"--method {name} {reason.format(value=values[option])}")


def able_methods(field: str) -> str:
    """The methods that take an option, by the field of their record that says so."""
    return ", ".join(name for name, each in METHODS.items() if getattr(each, field))


def refuse_pairs(config: DistillConfig) -> None:
    """Raise UserError for options that contradict each other, or need another one."""
    if config.warmup_steps is not None and config.warmup_ratio is not None:
        raise UserError(f"warmup_steps={config.warmup_steps} and warmup_ratio={config.warmup_ratio}: give one of them")
    if config.packing and config.mixup:
        raise UserError(f"packing does not go with mixup={config.mixup}: mixed examples stand in rows of their own")
    if config.early_stopping_patience and not config.eval_fraction:
        raise UserError("early_stopping_patience needs a held-out loss: add eval_fraction=0.1, or another share")
    if config.keep_adapter and not config.lora:
        raise UserError("keep_adapter needs adapters: add lora=16, or another rank")
    if config.keep_adapter and config.layers:
        raise UserError(f"keep_adapter does not go with layers={config.layers}: no saved model has the layers they fit")


def value_for_stage(values: tuple[float, ...] | None, number: int, stages: int, name: str) -> float | None:
    """A stage's value of a per-stage option: the only one given, or the one in its place; None where none was."""
    if values is not None and len(values) not in (1, stages):
        raise UserError(f"{name} has {len(values)} values for {stages} methods: give one, or one for each")
    return values[min(number, len(values) - 1)] if values else None
