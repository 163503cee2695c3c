"""The options of `agentkd import`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import StageConfig


class ImportConfig(StageConfig):
    """`agentkd import`: traces in files of others into a run directory."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"files", "limit"})

    files: tuple[str, ...] = Field((), description="files of traces, or folders of them; also gzipped")
    format: Literal["openai", "sts", "otlp", "langsmith", "langfuse", "adp"] | None = Field(
        None, description="openai, sts, otlp, langsmith, langfuse or adp [default: by what the files hold]"
    )
    task: str = Field("imported", description="name of the task that the traces are of")
    limit: int | None = Field(None, ge=1, description="import at most this many sessions [default: all]")
