"""The options of `agentkd eval`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentkd.config.base import TRUST, Spec
from agentkd.config.generate import GenerateConfig


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
    backend: Literal["vllm", "in-process"] | None = Field(
        None,
        description="how students run that no server is named for: vllm or in-process [default: vllm where a GPU and "
        "vLLM are found, else in-process]",
    )
    trust_remote_code: bool = Field(False, description=TRUST)
    matchers: str = Field("strict,rog", description="comma-separated: strict, strict-1, rog, webqsp_official, tog_em")
    inspect_log: str | None = Field(
        None, description="a folder for logs of inspect-ai, one per system, which `inspect view` shows [default: none]"
    )
    baseline: Spec = Field(None, description="row to compare the others with, paired by question")
