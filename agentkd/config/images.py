"""The options of `agentkd distill --task images`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import BUDGET, LOG, PASSES, TRUST, StageConfig


class ImagesConfig(StageConfig):
    """`agentkd distill --task images`: an image classifier into a smaller one."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"budget_hours", "budget_passes", "log"})
    SHARED: ClassVar[frozenset[str]] = frozenset({"task", "data", "student", "out", "held_out", "seed"})

    task: Literal["images"] = Field("images", description="images: distil an image classifier instead of traces")
    data: str | None = Field(None, description="images: a folder of class folders, or a CSV of image,label")
    teacher_model: str | None = Field(
        None,
        description="images: the teacher, a folder, hub name or config.json; fitted first where its labels are others",
    )
    student: str | None = Field(None, description="the student: a folder, hub name or config.json")
    method: str = Field("kd", description="{image_methods}, or auto, which chooses among them by trials")
    budget_hours: float | None = Field(None, gt=0, description=BUDGET)
    budget_passes: float | None = Field(None, gt=0, description=PASSES)
    held_out: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of each class to hold out, where the data have no test folder or column",
    )
    epochs: float = Field(20.0, gt=0, description="passes of the student over the training images")
    teacher_epochs: float = Field(20.0, gt=0, description="passes of a teacher that does not know the classes")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of AdamW, cosine decay after a short warm-up")
    batch: int = Field(64, ge=2, description="images per step")
    temperature: float = Field(2.0, gt=0, description="of the teacher's and the student's logits")
    alpha: float = Field(
        0.5, ge=0, le=1, description="kd, logit-std, hard: weight of the teacher, 1 - alpha that of the labels"
    )
    eps: float = Field(1.0, gt=0, description="ofa: exponent of the target; 1 is plain KD")
    stage_weight: float = Field(0.2, ge=0, description="ofa: weight of each stage's head")
    pure: float = Field(0.9, ge=0, le=1, description="mix-kd: share of a batch, with replacement, that is not mixed")
    keep: float = Field(0.1, ge=0, description="hard: how closely the teacher keeps its answer; large: no augmentation")
    cmi_weight: float = Field(0.5, ge=0, description="mcmi: weight of the conditional mutual information")
    cmi_epochs: float = Field(5.0, gt=0, description="mcmi: passes of the teacher's tuning")
    log: str | None = Field(None, description=LOG)
    trust_remote_code: bool = Field(False, description=TRUST)
