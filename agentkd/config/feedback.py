"""The options of `agentkd feedback`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentkd.config.base import StageConfig
from agentkd.config.defaults import has_bf16


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
