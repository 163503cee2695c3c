"""One flat, frozen config per stage, and the recipes that fill it.

Precedence: field default < recipe (flat YAML) < option or `key=value` on the command line. A stage derives the values
that the user leaves open (`None`) and prints them, so config.yaml holds every value that was used.

A field's description is its only documentation: `--help` prints it. It ends with `[default: …]` where the default is
derived; other defaults are added by `--help` itself.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agentkd.credentials import take_secrets
from agentkd.errors import UserError, did_you_mean, unknown_name

Spec = Annotated[str | None, AfterValidator(lambda text: None if text is None else take_secrets(text))]
"""A model, a server or several, as the user names them; the config holds it without passwords and keys."""
TRUST = "let code in a model's own folder run, with all rights of yours"
INSECURE = "let keys go over plain http to servers on other machines"


class StageConfig(BaseModel):
    """Fields of every stage. Those in `EXTENT` may grow when a directory is resumed, all others identify it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    EXTENT: ClassVar[frozenset[str]] = frozenset()

    out: str | None = Field(None, description="directory to write, and to resume [default: derived and printed]")
    seed: int = Field(0, description="seed of every random choice")


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
            "insecure",
            "vllm_args",
        }
    )

    task: str = Field(
        "geo", description="geo, webqsp, cwq, metaqa, pathquestion, kgqagen, or a JSONL file of questions"
    )
    data: str | None = Field(None, description="folder with the task's files [default: the hub; geo is packaged]")
    kb: Spec = Field(
        None,
        description="facts: a TSV, CSV, JSONL or RDF file, a folder of nodes and edges, a SPARQL URL, or wikidata "
        "[default: the task's own]",
    )
    kb_columns: str | None = Field(
        None, description="head, relation and tail among the KB file's columns, by name or number [default: its header]"
    )
    aliases: str | None = Field(
        None, description="a table of entities of the KB and other names for them [default: the task's own]"
    )
    split: str | None = Field(None, description="split of the task [default: generate: train; eval: test, else dev]")
    limit: int | None = Field(None, ge=1, description="a seeded subset of this many questions [default: all]")
    agent: str = Field("kd-cot", description="{agents}")
    teacher: Spec = Field(
        None,
        description="local, vllm:MODEL, openai:MODEL, URL#MODEL or none [default: $AGENTKD_TEACHER, else vLLM where a "
        "GPU is seen, else local]",
    )
    insecure: bool = Field(False, description=INSECURE)
    vllm_args: str = Field("", description="arguments for the vLLM server that agentkd starts")
    retriever: str | None = Field(
        None,
        description="bm25, dense, hybrid, or a folder from `feedback` [default: hybrid where installed, else bm25]",
    )
    paths: int | None = Field(
        None, ge=1, description="relation paths that a model chooses from [default: 5; path-writer: 12]"
    )
    hops: int | None = Field(None, ge=1, description="longest relation path in KB edges [default: by the task]")
    rerank: bool | None = Field(
        None,
        description="let the retriever's reranker rank the first paths again "
        "[default: where it has one, but for top-path]",
    )
    rounds: int = Field(4, ge=1, description="KD-CoT: at most this many rounds per question")
    demos: str | None = Field(
        None, description="run directories whose verified traces are the worked examples [default: packaged ones]"
    )
    examples: int = Field(6, ge=0, description="worked examples shown to the reader")
    shuffle: bool = Field(False, description="control: permute the tails of each relation of the KB")
    reader: Literal["complete", "choose"] | None = Field(
        None, description="complete (continue a pattern) or choose (follow an instruction) [default: by the model]"
    )
    trust: float | None = Field(None, ge=0, description="nats that the model's choice adds [default: by the model]")
    votes: int | None = Field(
        None, ge=1, description="readings per question of the reader `complete` [default: by the server]"
    )
    constrain: Literal["kb", "none"] | None = Field(
        None, description="kb: a path-writer writes only paths that the KB holds; none: anything [default: kb]"
    )
    judge: bool = Field(False, description="let the teacher judge what is proven, before gold does")
    rationalise: bool = Field(
        False, description="a second chance, hinted by gold and flagged, for questions that stay unproven"
    )
    samples: int = Field(1, ge=1, description="traces per question")
    until_verified: bool = Field(False, description="stop sampling a question once a sample is verified")
    temperature: float | None = Field(
        None, ge=0, description="sampling temperature [default: 0 for one sample, 0.7 for more]"
    )
    concurrency: int | None = Field(None, ge=1, description="questions in flight [default: 4 local, 32 served]")
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="stop before the run has used this many prompt and completion tokens [default: no limit]",
    )
    max_usd: float | None = Field(
        None, gt=0, description="stop before the run has cost this many US dollars [default: no limit]"
    )
    prices: str | None = Field(None, description="a price table (YAML) that overrides the packaged one")
    timeout: float = Field(600.0, gt=0, description="seconds to wait for one response")
    token_timeout: float = Field(0.05, ge=0, description="more seconds for each token that a request asks for")
    batch: str | None = Field(
        None, description="ask offline: requests and answers as OpenAI batch files in this folder"
    )


def per_stage(value: Any) -> Any:
    """Split `3,1` from the command line into one number per stage of `--method a,b`."""
    parts = value.split(",") if isinstance(value, str) else value
    return parts if isinstance(parts, list | tuple) or parts is None else [parts]


PerStage = Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None, BeforeValidator(per_stage)]


class DistillConfig(StageConfig):
    """`agentkd distill`: verified traces into a student."""

    traces: str | None = Field(None, description="a run directory [default: the newest complete one in runs/]")
    student: str = Field("smollm2-135m", description="smollm2-135m, a directory or a hub name")
    method: str = Field("sft", description="{methods}; a,b trains one stage after another")
    form: Literal["path", "one-call", "dialogue"] = Field(
        "path", description="what the student reads and writes: path, one-call or dialogue"
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
    epochs: PerStage = Field(None, description="one number, or one per stage [default: 3; preference and on-policy: 1]")
    lr: PerStage = Field(
        None,
        description="peak learning rate, cosine decay after a short warm-up, one number or one per stage "
        "[default: 2e-4; preference and on-policy: 2e-5]",
    )
    batch: int | None = Field(None, ge=1, description="examples in memory per process [default: path: 16, else 4]")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step")
    grad_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")
    trust_remote_code: bool = Field(False, description=TRUST)
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


class ImagesConfig(StageConfig):
    """`agentkd distill --task images`: an image classifier into a smaller one."""

    task: Literal["images"] = Field("images", description="images: distil an image classifier instead of traces")
    data: str | None = Field(None, description="images: a folder of class folders, or a CSV of image,label")
    teacher_model: str | None = Field(
        None,
        description="images: the teacher, a folder, hub name or config.json; fitted first where its labels are others",
    )
    student: str | None = Field(None, description="the student: a folder, hub name or config.json")
    method: str = Field("kd", description="{image_methods}")
    held_out: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of each class to hold out, where the data have no test folder or column",
    )
    epochs: float = Field(20.0, gt=0, description="passes of the student over the training images")
    teacher_epochs: float = Field(20.0, gt=0, description="passes of a teacher that does not know the classes")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of AdamW, cosine decay after a short warm-up")
    batch: int = Field(64, ge=2, description="images per step")
    temperature: float = Field(2.0, gt=0, description="of the teacher's and the student's logits")
    alpha: float = Field(
        0.5, ge=0, le=1, description="kd, logit-std, hard: weight of the teacher, 1 - alpha that of the labels"
    )
    eps: float = Field(1.0, gt=0, description="ofa: exponent of the target; 1 is plain KD")
    stage_weight: float = Field(0.2, ge=0, description="ofa: weight of each stage's head")
    pure: float = Field(0.9, ge=0, le=1, description="mix-kd: share of a batch, with replacement, that is not mixed")
    keep: float = Field(0.1, ge=0, description="hard: how closely the teacher keeps its answer; large: no augmentation")
    cmi_weight: float = Field(0.5, ge=0, description="mcmi: weight of the conditional mutual information")
    cmi_epochs: float = Field(5.0, gt=0, description="mcmi: passes of the teacher's tuning")
    trust_remote_code: bool = Field(False, description=TRUST)


class SelectConfig(StageConfig):
    """`agentkd select`: the documents of a corpus that teach most."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"keep", "by", "shard", "seed"})

    corpus: str | None = Field(
        None, description="files or folders, comma-separated: .jsonl or .txt with a document a line, also .gz"
    )
    field: str = Field("text", description="the text's name in .jsonl files")
    teacher: Spec = Field(None, description="the large model: smollm2-135m, a directory or a hub name")
    reference: Spec = Field(None, description="the small model: smollm2-135m, a directory or a hub name")
    keep: float = Field(0.5, gt=0, le=1, description="share of the documents to keep")
    by: Literal["difference", "lowest", "highest", "random"] = Field(
        "difference",
        description="difference (MiniPLM); controls: lowest or highest loss of the teacher, or random",
    )
    max_length: int = Field(1024, ge=2, description="tokens of a window; longer documents are read in several")
    shard: str = Field("0/1", description="score the part I of N, counted from 0; the last part chooses")
    trust_remote_code: bool = Field(False, description=TRUST)


class FeedbackConfig(StageConfig):
    """`agentkd feedback`: train the dense retriever on what traces say about relation paths."""

    traces: str | None = Field(
        None, description="run directories, comma-separated [default: the newest complete one in runs/]"
    )
    base: str | None = Field(None, description="encoder to start from [default: all-MiniLM-L6-v2]")
    epochs: float = Field(2.0, gt=0, description="passes over the questions")
    lr: float = Field(5e-5, gt=0, description="peak learning rate")
    batch: int = Field(16, ge=1, description="questions per step")
    candidates: int = Field(20, ge=2, description="paths per question")
    reranker: bool = Field(False, description="also train a reranker, which reads a path and its first answers")
    reranker_epochs: float = Field(1.0, gt=0, description="passes over the questions, for the reranker")
    reranker_lr: float = Field(1e-4, gt=0, description="peak learning rate of the reranker")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto, bf16 or fp32")

    @property
    def half(self) -> bool:
        """Whether steps are computed in bfloat16."""
        return self.precision == "bf16" or (self.precision == "auto" and has_bf16())


class EvalConfig(GenerateConfig):
    """`agentkd eval`: agents and students on held-out questions. `agent`, `teacher` and `model` take comma-separated
    lists; every combination gets rows."""

    agent: str = Field("none", description="comma-separated: {agents}, or none")
    model: Spec = Field(None, description="students, comma-separated: a directory, hub name or URL#MODEL")
    form: Literal["path", "one-call", "dialogue"] | None = Field(
        None, description="of the students: path, one-call or dialogue [default: as they were taught]"
    )
    predictions: str | None = Field(
        None,
        description="score these JSONL files of {id, question, prediction, ground_truth} instead, comma-separated: "
        "those of another system, or OUT/questions/*.jsonl of an evaluation again",
    )
    ceiling: int | None = Field(
        None,
        ge=0,
        description="paths per question whose best one is the ceiling beside each score; 0: none "
        "[default: 50; with an endpoint 0]",
    )
    trust_remote_code: bool = Field(False, description=TRUST)
    matchers: str = Field("strict,rog", description="comma-separated: strict, strict-1, rog, webqsp_official, tog_em")
    baseline: Spec = Field(None, description="row to compare the others with, paired by question")


class KaggleConfig(StageConfig):
    """`agentkd kaggle run`: from a competition to a submission. `FACTS` are the fields with which the user settles what
    files and pages leave open."""

    FACTS: ClassVar[tuple[str, ...]] = ("id", "target", "task", "metric", "positive")

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
            "insecure",
            "vllm_args",
            "teacher",  # only to or from `none`: one model's answers are not passed off as another's (run.invoke_graph)
            "threads",
            "id",  # these five, given on a resume, begin the run anew on the same files
            "target",
            "task",
            "metric",
            "positive",
        }
    )

    competition: str = Field("", description="a Kaggle URL or name, or a folder with the same files")
    teacher: Spec = Field(
        None,
        description="local, vllm:MODEL, openai:MODEL, URL#MODEL, or none: without a model [default: $AGENTKD_TEACHER, "
        "else vLLM where a GPU is seen, else local]",
    )
    insecure: bool = Field(False, description=INSECURE)
    vllm_args: str = Field("", description="arguments for the vLLM server that agentkd starts")
    submit: Literal["ask", "auto", "never"] = Field(
        "ask", description="send the file to Kaggle: ask, auto or never; without a terminal, ask is never"
    )
    max_hours: float = Field(1.0, gt=0, description="hours of work, over all resumes")
    max_usd: float | None = Field(
        None, gt=0, description="stop asking the model before it has cost this many US dollars [default: no limit]"
    )
    max_tokens: int | None = Field(
        None, ge=1, description="stop asking the model before it has used this many tokens [default: no limit]"
    )
    max_submissions: int = Field(1, ge=0, description="send at most this many files")
    candidates: int | None = Field(None, ge=1, description="try at most this many solutions [default: as time allows]")
    sandbox: Literal["auto", "bubblewrap", "landlock", "none"] = Field(
        "auto", description="isolation of model-written code: auto, bubblewrap, landlock or none"
    )
    memory_mb: int = Field(4096, ge=256, description="memory of one run in the sandbox, MB")
    disk_mb: int = Field(4096, ge=16, description="disk that one run in the sandbox may write, MB")
    threads: int | None = Field(None, ge=1, description="threads of the solvers [default: all cores]")
    id: str | None = Field(None, description="column of ids")
    target: str | None = Field(None, description="column to predict, or several: a,b")
    task: Literal["binary", "multiclass", "multilabel", "regression"] | None = Field(
        None, description="binary, multiclass, multilabel or regression"
    )
    metric: str | None = Field(None, description="name of the metric")
    positive: str | None = Field(None, description="of two classes, the one whose probability or F1 counts")
    timeout: float = Field(600.0, gt=0, description="seconds to wait for one answer of the teacher")
    prices: str | None = Field(None, description="a price table (YAML) that overrides the packaged one")

    def settled(self) -> dict[str, str]:
        """The facts that the user has fixed."""
        return {name: value for name in self.FACTS if (value := getattr(self, name))}


class ReproduceConfig(StageConfig):
    """`agentkd reproduce`: a founding paper's claim, measured here."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"seeds", "concurrency"})

    seed: int = Field(0, description="the first seed; the others follow it")
    quick: bool = Field(False, description="a form of at most a minute, to see that it runs; its figures mean little")
    seeds: int | None = Field(None, ge=2, description="number of seeds [default: 5; 2 with --quick]")
    concurrency: int | None = Field(None, ge=1, description="rows trained at once, a core each [default: all cores]")


Config = TypeVar("Config", bound=StageConfig)


def load_config(
    kind: type[Config], *, recipe: Path | None, options: Mapping[str, Any], overrides: Sequence[str]
) -> Config:
    """Merge a recipe, the options of the command line (None: not given) and `key=value` words into a config.

    Raises UserError with the field, the value and what was expected."""
    values: dict[str, Any] = {}
    if recipe is not None:
        values.update(read_recipe(recipe))
    values.update({key: value for key, value in options.items() if value is not None})
    for word in overrides:
        key, sign, text = word.partition("=")
        if not sign:
            near = did_you_mean(word, kind.model_fields)
            known = "" if near else f", with one of {', '.join(kind.model_fields)}"
            raise UserError(f"'{word}' is not an option{near or ':'} write key=value{known}")
        values[key.strip().replace("-", "_")] = yaml.safe_load(text)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(part for part in first["loc"] if isinstance(part, str))  # not the place in a list
        if first["type"] == "extra_forbidden":
            raise unknown_name("option", name, kind.model_fields) from None
        choices = re.findall(r"'([^']+)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
        near = did_you_mean(str(first["input"]), choices)
        raise UserError(f"option '{name}' = {first['input']!r}{near or ':'} {first['msg'].lower()}") from None


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a flat YAML mapping. Nested values are refused: a recipe is a command line written down."""
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
        return take_secrets(named)
    return "vllm:Qwen/Qwen3-8B" if has_gpu() else "local"


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded. Does not import torch, which takes seconds."""
    return shutil.which("nvidia-smi") is not None and Path("/proc/driver/nvidia/version").exists()


def task_label(task: str) -> str:
    """The task's name as it appears in the name of a run directory: the stem of a user's JSONL."""
    return Path(task).stem


def slug(text: str) -> str:
    """The text with every character that does not fit a folder's name replaced by a dash."""
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in text).strip("-")


def has_bf16() -> bool:
    """Whether bfloat16 is computed in hardware. A CPU without AVX512-BF16 or AMX emulates it, ten times slower than
    float32."""
    if has_gpu():
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:  # no Linux
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
