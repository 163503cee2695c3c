"""The images of a set as a torch data set in one shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.distill.images.data import Item
from agentkd.distill.images.decoded import Decoded, Shape

if TYPE_CHECKING:
    from torch import Tensor


class Pixels:
    """A torch data set of {pixels [C, H, W] uint8, labels, place} in one shape."""

    unit = "nats/image"

    def __init__(self, items: Sequence[Item], shape: Shape, decoded: Decoded) -> None:
        self.items, self.shape, self.decoded = items, shape, decoded

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> dict[str, Any]:
        item = self.items[place]
        return {"pixels": self.decoded.get(item.file, self.shape), "labels": item.label, "place": place}

    def batches(self, size: int = 256) -> Iterator[dict[str, Tensor]]:
        """All images in order."""
        for start in range(0, len(self), size):
            yield self.collate([self[place] for place in range(start, min(start + size, len(self)))])

    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch: pixels from 0 to 1 [B, C, H, W], labels [B], places [B]."""
        import torch

        return {
            "pixels": torch.stack([row["pixels"] for row in rows]).float() / 255,
            "labels": torch.tensor([row["labels"] for row in rows]),
            "place": torch.tensor([row["place"] for row in rows]),
        }
