"""The options of `agentkd kaggle run`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import INSECURE, OTLP, OTLP_CONTENT, Spec, StageConfig


class KaggleConfig(StageConfig):
    """`agentkd kaggle run`: from a competition to a submission. `FACTS` are the fields with which the user settles what
    files and pages leave open."""

    FACTS: ClassVar[tuple[str, ...]] = (
        "id", "target", "task", "metric", "positive", "classes", "drop", "group", "time", "folds", "features",
    )  # fmt: skip

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
            "otlp",
            "otlp_content",
            "teacher",  # only to or from `none`: one model's answers are not passed off as another's (run.invoke_graph)
            "threads",
            "experience",
            "id",  # these, given on a resume, begin the run anew on the same files
            "target",
            "task",
            "metric",
            "positive",
            "classes",
            "drop",
            "group",
            "time",
            "folds",
            "features",
        }
    )

    competition: str = Field("", description="a Kaggle URL or name, or a folder with the same files")
    teacher: Spec = Field(
        None,
        description="local, vllm:MODEL, openai:MODEL, URL#MODEL, or none: without a model [default: $AGENTKD_TEACHER, "
        "else vLLM where a GPU is seen, else local]",
    )
    insecure: bool = Field(False, description=INSECURE)
    otlp: Spec = Field(None, description=OTLP)
    otlp_content: bool = Field(False, description=OTLP_CONTENT)
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
    metric: str | None = Field(None, description="name of the metric, or FILE.py with score and lower_is_better")
    positive: str | None = Field(None, description="of two classes, the one whose probability or F1 counts")
    classes: str | None = Field(None, description="the classes in the order of their numbers: A,B,C")
    drop: str | None = Field(None, description="columns that are no inputs: a,b")
    experience: bool = Field(
        True, description="let earlier runs say which candidates to try first, and remember this one (off: neither)"
    )
    group: str | None = Field(None, description="column whose rows of one value stay in one fold")
    time: str | None = Field(None, description="column of dates or numbers: the folds are blocks of it")
    folds: int | str | None = Field(None, description="number of folds, or FILE.csv with id and fold [default: 5]")
    features: str | None = Field(None, description="FILE.py with features(table), which returns columns to add")
    timeout: float = Field(600.0, gt=0, description="seconds to wait for one answer of the teacher")
    prices: str | None = Field(None, description="a price table (YAML) that overrides the packaged one")

    def settled(self) -> dict[str, str]:
        """The facts that the user has fixed."""
        return {name: str(value) for name in self.FACTS if (value := getattr(self, name)) is not None and value != ""}
