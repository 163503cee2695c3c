"""The options of `agentkd distill --corpus`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import LOG, TRUST, StageConfig
from agentkd.config.defaults import has_bf16


class TextsConfig(StageConfig):
    """`agentkd distill --corpus`: plain text into a language model."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"log"})

    task: Literal["texts"] = Field("texts", description="texts: learn plain text, which --corpus tells, too")
    corpus: str | None = Field(
        None, description="texts: files or folders, comma-separated; .jsonl or .txt with a document a line, also .gz"
    )
    field: str = Field("text", description="the text's name in .jsonl files")
    student: str = Field("smollm2-135m", description="smollm2-135m, a directory or a hub name")
    layers: int | None = Field(
        None, ge=1, description="keep this many of the student's layers, evenly spaced [default: all]"
    )
    fresh: bool = Field(False, description="begin with random weights of the student's shape, and keep its tokenizer")
    validation: str | None = Field(
        None, description="files or folders of held-out texts [default: a share of the corpus]"
    )
    held_out: float = Field(
        0.02, gt=0, lt=1, description="share of the documents to hold out, drawn by their text; not with validation="
    )
    evaluations: int = Field(10, ge=1, description="measure the held-out texts this often")
    tokens: int | None = Field(None, ge=1, description="learn this many tokens, whatever epochs says")
    epochs: float = Field(1.0, gt=0, description="passes over the texts")
    lr: float | None = Field(
        None, gt=0, description="peak learning rate, cosine decay after a short warm-up [default: 2e-4; fresh: 6e-4]"
    )
    max_length: int = Field(1024, ge=2, description="tokens of a block; texts are joined and cut into blocks")
    batch: int = Field(4, ge=1, description="blocks in memory")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step")
    grad_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")
    log: str | None = Field(None, description=LOG)
    trust_remote_code: bool = Field(False, description=TRUST)
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto, bf16 or fp32")

    @property
    def half(self) -> bool:
        """Whether steps are computed in bfloat16."""
        return self.precision == "bf16" or (self.precision == "auto" and has_bf16())
