"""The options of `agentkd distill --task clients`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import TRUST, StageConfig


class ClientsConfig(StageConfig):
    """`agentkd distill --task clients`: classifiers with images of their own learn from each other."""

    EXTENT: ClassVar[frozenset[str]] = frozenset({"concurrency"})

    task: Literal["clients"] = Field("clients", description="clients: each learns from the others' predictions")
    data: str | None = Field(None, description="clients: a folder of clients, each a folder of class folders")
    shared: str | None = Field(None, description="clients: a folder of images without labels, which all predict")
    student: str | None = Field(
        None, description="clients: a model for all, or one for each, comma-separated, in the order of their names"
    )
    method: Literal["knfu", "mean", "fedmd"] = Field(
        "knfu", description="knfu: what agrees with one's own; mean: of all predictions; fedmd: of all logits"
    )
    beta: float = Field(10.0, ge=0, description="knfu: how closely another's predictions must agree; 0 is the mean")
    rounds: int = Field(3, ge=1, description="rounds of local training and exchange")
    epochs: float = Field(5.0, gt=0, description="passes over a client's own images in a round")
    exchange_epochs: float = Field(3.0, gt=0, description="passes over the shared images in a round")
    tune_epochs: float = Field(2.0, gt=0, description="passes over a client's own images in the end, at lr / 5")
    held_out: float = Field(0.2, gt=0, lt=1, description="share of each class to hold out, of each client's images")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of AdamW in each training")
    batch: int = Field(32, ge=2, description="images per step")
    concurrency: int | None = Field(None, ge=1, description="clients that train at once [default: all cores]")
    trust_remote_code: bool = Field(False, description=TRUST)
