"""One flat, frozen config a stage, and the recipes that fill it.

Precedence: field default < recipe (flat YAML) < option or `key=value` on the command line. What the user leaves
open (`None`) is derived by `derive_*` and printed, so that config.yaml holds every value that was used.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agentkd.errors import UserError


class StageConfig(BaseModel):
    """Common to all stages. Fields in `EXTENT` may grow when a directory is resumed, all others identify it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    EXTENT: ClassVar[frozenset[str]] = frozenset()

    out: str | None = None
    seed: int = 0


class GenerateConfig(StageConfig):
    """`agentkd generate`: a task's questions through an agent and a teacher."""

    EXTENT: ClassVar[frozenset[str]] = frozenset(
        {
            "limit",
            "samples",
            "rationalise",
            "until_verified",
            "concurrency",
            "max_tokens",
            "max_usd",
            "timeout",
            "token_timeout",
            "prices",
            "batch",
            "vllm_args",
        }
    )

    task: str = "geo"
    data: str | None = None
    kb: str | None = None
    split: str | None = None
    limit: int | None = Field(None, ge=1)
    agent: str = "kd-cot"
    teacher: str | None = None
    vllm_args: str = ""
    retriever: str | None = None
    paths: int | None = Field(None, ge=1, description="relation paths that a model chooses from [5; path-writer: 12]")
    hops: int | None = Field(None, ge=1, description="longest relation path, in KB edges; default: the task's")
    rounds: int = Field(4, ge=1, description="rounds of KD-CoT at most")
    demos: str | None = Field(None, description="run directories of verified traces to take examples from")
    examples: int = Field(6, ge=0, description="worked examples shown to the reader")
    shuffle: bool = Field(False, description="a control: the tails of each of the KB's relations are permuted")
    reader: str | None = Field(None, description="complete (a pattern, for small models) or choose (instructed)")
    trust: float | None = Field(None, ge=0, description="nats that the model's choice adds; default: by the model")
    votes: int | None = Field(None, ge=1, description="readings of the reader `complete`; default: by the server")
    constrain: Literal["kb", "none"] | None = Field(None, description="path-writer: only paths that the KB holds [kb]")
    judge: bool = Field(False, description="the teacher judges what is proven, before gold does")
    rationalise: bool = Field(False, description="a second chance, hinted by gold and flagged, for what stays unproven")
    samples: int = Field(1, ge=1)
    until_verified: bool = Field(False, description="no more samples for a question that has a verified one")
    temperature: float | None = Field(None, ge=0, description="default: 0 for one sample, 0.7 for more")
    concurrency: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1, description="prompt and completion tokens for the whole run")
    max_usd: float | None = Field(None, gt=0, description="US dollars for the whole run")
    prices: str | None = Field(None, description="a price table (YAML) that overrides the packaged one")
    timeout: float = Field(600.0, gt=0, description="seconds to wait for one response")
    token_timeout: float = Field(0.05, ge=0, description="seconds more for each token that a request asks for")
    batch: str | None = Field(None, description="folder of batch files: requests out, answers in")


def per_stage(value: Any) -> Any:
    """`3,1` on the command line is one number for each stage of `--method a,b`."""
    parts = value.split(",") if isinstance(value, str) else value
    return parts if isinstance(parts, list | tuple) or parts is None else [parts]


PerStage = Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None, BeforeValidator(per_stage)]


class DistillConfig(StageConfig):
    """`agentkd distill`: verified traces into a student."""

    traces: str | None = None
    student: str = "smollm2-135m"
    method: str = "sft"
    form: Literal["path", "one-call", "dialogue"] = Field("path", description="what the student reads and writes")
    control: Literal["unverified", "shuffled"] | None = Field(
        None, description="train on what is not proven, to compare"
    )
    layers: int | None = Field(None, ge=1, description="keep so many of the student's layers, evenly spaced")
    teacher: str | None = Field(None, description="a model; for multi-teacher several, separated by commas")
    teachers: Literal["mix", "route"] = Field("mix", description="multi-teacher: mean of all, or one an example")
    weights: str | None = Field(None, description="multi-teacher: of the mean, one a teacher; default: equal")
    uld: Literal["plain", "hybrid"] = Field("plain", description="cross-tokenizer: hybrid compares equal tokens by id")
    divergence: Literal["forward", "reverse", "jsd", "skew", "skew-reverse"] | None = Field(
        None, description="from teacher to student [forward, on-policy: reverse]"
    )
    beta: float = Field(0.5, ge=0, le=1, description="of jsd: 0 is forward KL, 1 is reverse KL")
    alpha: float = Field(0.1, ge=0, lt=1, description="of skew")
    top_k: int = Field(64, ge=1, description="logits: tokens of the teacher that are kept at each position")
    rest: Literal["bucket", "renormalise"] = Field("bucket", description="logits: the mass of all other tokens")
    nll: float = Field(0.5, ge=0, le=1, description="logits, preference: weight of the trace's own tokens")
    dpo_beta: float = Field(0.1, gt=0, description="preference: how closely the student stays to its start")
    rejected: int = Field(2, ge=1, description="preference: refused paths a verified one is compared with")
    rollout_tokens: int = Field(64, ge=1, description="on-policy: tokens that the student writes at most")
    rollout_temperature: float = Field(1.0, gt=0, description="on-policy: temperature of what the student writes")
    epochs: PerStage = Field(None, description="one number, or one for each stage [3; preference and on-policy: 1]")
    lr: PerStage = Field(
        None, description="peak, cosine decay after a short warm-up [2e-4; preference, on-policy: 2e-5]"
    )
    batch: int | None = Field(None, ge=1, description="examples a process has in memory at once [path: 16, else 4]")
    accumulate: int = Field(1, ge=1, description="batches a step: its gradient is that of batch x accumulate examples")
    grad_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")
    lora: int | None = Field(None, ge=1, description="train adapters of this rank, and merge them into the weights")
    limit: int | None = Field(None, ge=1, description="traces at most, those of rare targets first")
    rationalised: bool = Field(True, description="learn from traces that gold has hinted, too")
    max_length: int | None = Field(None, ge=1, description="tokens; longer examples are left out and counted")
    precision: str = "auto"

    @property
    def half(self) -> bool:
        """Whether steps are computed in bfloat16."""
        return self.precision == "bf16" or (self.precision == "auto" and has_bf16())

    @property
    def teacher_specs(self) -> list[str]:
        """The teachers that `teacher` names; only multi-teacher takes several."""
        named = (self.teacher or "").split(",") if self.method == "multi-teacher" else [self.teacher or ""]
        return [name.strip() for name in named if name.strip()]


class FeedbackConfig(StageConfig):
    """`agentkd feedback`: what traces say about relation paths, into the dense retriever."""

    traces: str | None = None
    base: str | None = Field(None, description="encoder to start from; default: all-MiniLM-L6-v2")
    epochs: float = Field(2.0, gt=0)
    lr: float = Field(5e-5, gt=0)
    batch: int = Field(16, ge=1, description="questions a step")
    candidates: int = Field(20, ge=2, description="paths a question")
    precision: str = "auto"


class EvalConfig(GenerateConfig):
    """`agentkd eval`: agents and students on held-out questions. `agent` and `teacher` take comma-separated lists,
    `model` too; every combination gets rows."""

    agent: str = "none"
    model: str | None = None
    form: Literal["path", "one-call", "dialogue"] | None = Field(None, description="of students; default: as taught")
    predictions: str | None = None
    matchers: str = "strict,rog"
    baseline: str | None = Field(None, description="name of the row that the others are compared with, in pairs")


class KaggleConfig(StageConfig):
    """`agentkd kaggle run`: a competition to a submission."""

    EXTENT: ClassVar[frozenset[str]] = frozenset(
        {
            "max_hours",
            "max_usd",
            "max_tokens",
            "max_submissions",
            "candidates",
            "submit",
            "sandbox",
            "memory_mb",
            "disk_mb",
            "timeout",
            "prices",
            "vllm_args",
            "teacher",  # to or from `none`: what one model has said is not passed off as another's (run.go_on)
            "threads",
            "id",  # settled later than the first run, these begin the run anew on the same files
            "target",
            "task",
            "metric",
            "positive",
        }
    )

    competition: str = ""
    teacher: str | None = None
    vllm_args: str = ""
    submit: Literal["ask", "auto", "never"] = "ask"
    max_hours: float = Field(1.0, gt=0, description="of work, over all resumes")
    max_usd: float | None = Field(None, gt=0)
    max_tokens: int | None = Field(None, ge=1)
    max_submissions: int = Field(1, ge=0, description="files that the run may send")
    candidates: int | None = Field(None, ge=1, description="solutions tried at most")
    sandbox: Literal["auto", "bubblewrap", "landlock", "none"] = "auto"
    memory_mb: int = Field(4096, ge=256, description="of one run in the sandbox")
    disk_mb: int = Field(4096, ge=16, description="that one run in the sandbox may write")
    threads: int | None = Field(None, ge=1, description="of the solvers; default: all cores")
    id: str | None = Field(None, description="the column of ids, where it is not found")
    target: str | None = Field(None, description="the column, or columns a,b, to be predicted")
    task: Literal["binary", "multiclass", "multilabel", "regression"] | None = None
    metric: str | None = Field(None, description="the metric's name, where the pages do not tell")
    positive: str | None = Field(None, description="of two classes the one whose probability, or F1, is asked for")
    timeout: float = Field(600.0, gt=0, description="seconds to wait for one answer of the teacher")
    prices: str | None = Field(None, description="a price table (YAML) that overrides the packaged one")

    def settled(self) -> dict[str, str]:
        """The facts that the user has fixed."""
        named = {"id": self.id, "target": self.target, "task": self.task, "metric": self.metric,
                 "positive": self.positive}  # fmt: skip
        return {name: value for name, value in named.items() if value}


Config = TypeVar("Config", bound=StageConfig)


def load_config(
    kind: type[Config], *, recipe: Path | None, options: Mapping[str, Any], overrides: Sequence[str]
) -> Config:
    """Merge a recipe, the command line's options (None = not given) and `key=value` words into a config.

    Raises UserError with the field, the value and what was expected."""
    values: dict[str, Any] = {}
    if recipe is not None:
        values.update(read_recipe(recipe))
    values.update({key: value for key, value in options.items() if value is not None})
    for word in overrides:
        key, sign, text = word.partition("=")
        if not sign:
            raise UserError(f"'{word}' is not an option: write key=value, with one of {fields_of(kind)}")
        values[key.strip().replace("-", "_")] = yaml.safe_load(text)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(part for part in first["loc"] if isinstance(part, str))  # not the place in a list
        if first["type"] == "extra_forbidden":
            raise UserError(f"unknown option '{name}': the options are {fields_of(kind)}") from None
        raise UserError(f"option '{name}' = {first['input']!r}: {first['msg'].lower()}") from None


def fields_of(kind: type[StageConfig]) -> str:
    return ", ".join(kind.model_fields)


def read_recipe(path: Path) -> dict[str, Any]:
    """A flat YAML mapping; nested values are refused, for a recipe is a command line written down."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"no recipe at {path}: give a YAML file of key: value lines") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or any(isinstance(value, dict | list) for value in content.values()):
        raise UserError(f"{path} is not a flat recipe: write key: value lines, without nesting")
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def default_teacher() -> str:
    """`$AGENTKD_TEACHER`, else vLLM with Qwen3-8B where an NVIDIA GPU is seen, else the embedded llama.cpp."""
    if named := os.environ.get("AGENTKD_TEACHER"):
        return named
    return "vllm:Qwen/Qwen3-8B" if has_gpu() else "local"


def has_gpu() -> bool:
    """True where an NVIDIA driver is loaded; asked without importing torch, which takes seconds."""
    return shutil.which("nvidia-smi") is not None and Path("/proc/driver/nvidia/version").exists()


def task_label(task: str) -> str:
    """The task's name as it stands in a run directory's name: a user's JSONL gives its stem."""
    return Path(task).stem


def slug(text: str) -> str:
    """A text made fit for a folder's name."""
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in text).strip("-")


def has_bf16() -> bool:
    """True where bfloat16 is computed in hardware. A CPU without AVX512-BF16 or AMX emulates it, ten times slower
    than float32."""
    if has_gpu():
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:  # no Linux
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
