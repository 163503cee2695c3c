"""The options of `agentkd gate`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentkd.config.base import Spec, StageConfig


class GateConfig(StageConfig):
    """`agentkd gate`: whether a student is nearly as good as its teacher, on the same questions."""

    student: Spec = Field(
        None,
        description="a student's directory, or a JSONL file of what it answered (OUT/questions/NAME.jsonl of eval); "
        "for verified, a run",
    )
    teacher: Spec = Field(
        None,
        description="what it is compared with: a directory of generate, whose agent and teacher are evaluated, one of "
        "eval, which is only read, or a JSONL file of answers",
    )
    metric: Literal["f1", "hit", "hits1", "precision", "recall", "em", "verified"] = Field(
        "f1",
        description="f1, hit, hits1, precision, recall, em, or verified: the share of verified traces of two runs, "
        "such as those of your own agent with either model",
    )
    at_least: float = Field(
        0.95, gt=0, le=10, description="the student's mean score is to be at least this share of the teacher's"
    )
    matcher: str = Field("strict", description="strict, strict-1, rog, webqsp_official or tog_em")
    level: float = Field(0.95, gt=0.5, lt=1, description="level of the interval")
    missing: Literal["wrong", "leave-out"] = Field(
        "wrong", description="questions that the student has no answer to: wrong, or leave-out"
    )
    split: str | None = Field(
        None, description="split of the task, where an evaluation is to be made [default: eval's]"
    )
    limit: int | None = Field(None, ge=1, description="a seeded subset of this many questions there [default: all]")
