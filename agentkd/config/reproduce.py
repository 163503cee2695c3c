"""The options of `agentkd reproduce`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentkd.config.base import StageConfig


class ReproduceConfig(StageConfig):
    """`agentkd reproduce`: a founding paper's claim, measured here."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"seeds", "concurrency"})

    seed: int = Field(0, description="the first seed; the others follow it")
    quick: bool = Field(False, description="a form of at most a minute, to see that it runs; its figures mean little")
    seeds: int | None = Field(None, ge=2, description="number of seeds [default: 5; 2 with --quick]")
    concurrency: int | None = Field(None, ge=1, description="rows trained at once, a core each [default: all cores]")
