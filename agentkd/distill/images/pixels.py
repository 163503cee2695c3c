"""The images of a set as tensors of one size, decoded once where they fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.distill.images.data import Item, open_image

if TYPE_CHECKING:
    from torch import Tensor

KEPT_BYTES = 2_000_000_000


class Pixels:
    """A torch data set of {pixels [C, H, W] uint8, labels, place}. Grey where every reader is grey, else colour."""

    unit = "nats/image"

    def __init__(self, items: Sequence[Item], size: tuple[int, int], channels: int) -> None:
        self.items, self.size, self.channels = items, size, channels
        self._kept: list[Tensor | None] = [None] * len(items)
        self._keeps = len(items) * channels * size[0] * size[1] <= KEPT_BYTES

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> dict[str, Any]:
        kept = self._kept[place]
        if kept is None:
            kept = self._read(place)
            if self._keeps:
                self._kept[place] = kept
        return {"pixels": kept, "labels": self.items[place].label, "place": place}

    def _read(self, place: int) -> Tensor:
        import numpy as np
        import torch
        from PIL import Image

        image: Any = open_image(self.items[place].file)
        image = image.convert("L" if self.channels == 1 else "RGB")
        image = image.resize(self.size[::-1], Image.Resampling.BILINEAR)
        values = torch.from_numpy(np.array(image))
        return values[None] if self.channels == 1 else values.permute(2, 0, 1).contiguous()

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
