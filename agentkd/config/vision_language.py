"""The options of `agentkd distill --task vision-language`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import LOG, TRUST, StageConfig


class VisionLanguageConfig(StageConfig):
    """`agentkd distill --task vision-language`: a vision-language model into a smaller one of the same vocabulary."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"log"})

    task: Literal["vision-language"] = Field(
        "vision-language", description="vision-language: distil answers to questions about images"
    )
    data: str | None = Field(
        None, description='vision-language: JSON lines of {"image": file, "question": text, "answer": text}'
    )
    images: str | None = Field(None, description="folder of the images [default: that of the data]")
    teacher_model: str | None = Field(None, description="vision-language: the teacher, a folder, hub name or config")
    student: str | None = Field(None, description="the student: a folder, hub name or config.json")
    method: Literal["llava-kd"] = Field("llava-kd", description="llava-kd: DPT, SFT and DFT with MDist and RDist")
    held_out: float = Field(
        0.2, gt=0, lt=1, description="share of the images to hold out with their questions, where no row has a split"
    )
    dpt_epochs: float = Field(1.0, gt=0, description="passes of distilled pre-training, which trains the projector")
    sft_epochs: float = Field(1.0, gt=0, description="passes of fine-tuning on the answers alone")
    dft_epochs: float = Field(1.0, gt=0, description="passes of distilled fine-tuning")
    teacher_epochs: float = Field(0.0, ge=0, description="passes that tune the teacher first; a fresh one needs some")
    projector_lr: float = Field(1e-3, gt=0, description="peak learning rate of AdamW in pre-training")
    lr: float = Field(2e-5, gt=0, description="peak learning rate of AdamW in fine-tuning")
    batch: int = Field(16, ge=1, description="questions per step")
    image_tower: Literal["auto", "frozen", "trained"] = Field(
        "auto", description="frozen or trained; auto trains one that begins with fresh weights"
    )
    log: str | None = Field(None, description=LOG)
    trust_remote_code: bool = Field(False, description=TRUST)
