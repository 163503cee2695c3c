"""The options of `agentkd elicit`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import TRUST, Spec
from agentkd.config.generate import GenerateConfig

Kind = Literal["labeling", "expansion", "curation", "feature", "feedback", "self-knowledge"]


class ElicitConfig(GenerateConfig):
    """`agentkd elicit`: knowledge drawn from a teacher, in one of the six ways of the survey (arXiv 2402.13116)."""

    EXTENT: ClassVar[frozenset[str]] = GenerateConfig.EXTENT | {"count"}

    kind: Kind = Field("labeling", description="labeling, expansion, curation, feature, feedback or self-knowledge")
    count: int = Field(
        100, ge=1, description="expansion, curation: the questions that the teacher is asked to write, good or bad"
    )
    similar: float = Field(
        0.7, gt=0, le=1, description="expansion, curation: ROUGE-L to another question from which one is a repeat"
    )
    shots: int = Field(4, ge=1, description="expansion, curation: examples shown for each question to write")
    student: Spec = Field(
        None,
        description="feedback: whose drafts are judged; self-knowledge: who learns from itself: a directory, hub name, "
        "vllm:MODEL or URL#MODEL",
    )
    trust_remote_code: bool = Field(False, description=TRUST)
