"""The options of `agentkd select`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import TRUST, Spec, StageConfig


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
