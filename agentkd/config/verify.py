"""The options of `agentkd verify`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentkd.config.base import VERIFY, StageConfig, Texts


class VerifyConfig(StageConfig):
    """`agentkd verify`: the traces of a run, verified anew into a run of their own."""

    EXTENT: ClassVar[frozenset[str]] = frozenset(
        {"limit", "samples", "verify_timeout", "concurrency", "max_tokens", "max_usd"}
    )

    run: str = Field("", description="the run directory whose traces are verified; it stays as it is")
    verify: Texts = Field((), description=VERIFY)
    items: str | None = Field(
        None,
        description="a JSONL file with a row per question, by id or question: gold, tests, documents and whatever else "
        "the verifiers read [default: the gold answers of the run's own task]",
    )
    labelled: str | None = Field(
        None, description="a JSONL file of question, prediction and label: the judge's agreement with it is measured"
    )
    verify_timeout: float = Field(30.0, gt=0, description="seconds for one call of a verifier")
    concurrency: int = Field(4, ge=1, description="traces in flight")
    max_tokens: int | None = Field(
        None, ge=1, description="of a judge: stop before it has used these [default: no limit]"
    )
    max_usd: float | None = Field(
        None, gt=0, description="of a judge: stop before it has cost this many US dollars [default: no limit]"
    )
