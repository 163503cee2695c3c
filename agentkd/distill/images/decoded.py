"""Image files as tensors of the sizes that models read: each is decoded once, where all fit into memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

KEPT_BYTES = 2_000_000_000


class Shape(NamedTuple):
    """What a model reads: height, width and channels (1 or 3)."""

    height: int
    width: int
    channels: int


def largest(shapes: Iterable[Shape]) -> Shape:
    """The shape of the reader that sees most; colour where one of them sees it."""
    shapes = list(shapes)
    height, width, _ = max(shapes)
    return Shape(height, width, max(shape.channels for shape in shapes))


class Decoded:
    """Files as tensors [C, H, W] uint8, in each of some shapes.

    `add` is called with every image when it is checked. Images beyond KEPT_BYTES are decoded again at each use."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        self.shapes = frozenset(shapes)
        self._kept: dict[tuple[Path, Shape], Tensor] = {}
        self._room = KEPT_BYTES

    def add(self, file: Path, image: Any) -> None:
        """Keep a decoded image, while there is room."""
        size = sum(height * width * channels for height, width, channels in self.shapes)
        if size <= self._room:
            self._room -= size
            self._kept.update({(file, shape): resize(image, shape) for shape in self.shapes})

    def get(self, file: Path, shape: Shape) -> Tensor:
        """The pixels of a file."""
        kept = self._kept.get((file, shape))
        return resize(open_image(file), shape) if kept is None else kept


def resize(image: Any, shape: Shape) -> Tensor:
    """Pixels [C, H, W] uint8, bilinear."""
    import numpy as np
    import torch
    from PIL import Image

    image = image.convert("L" if shape.channels == 1 else "RGB")
    values = torch.from_numpy(np.array(image.resize((shape.width, shape.height), Image.Resampling.BILINEAR)))
    return values[None] if shape.channels == 1 else values.permute(2, 0, 1).contiguous()


def open_image(file: Path) -> object:
    """Decode an image. Raises what Pillow raises for one that is broken or huge."""
    from PIL import Image

    with Image.open(file) as image:
        image.load()
        return image.copy()
