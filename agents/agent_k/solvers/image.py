"""Load images as arrays, and solve image competitions with classical models on pixels."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, cross_fit
from agentkd.agents.agent_k.solvers.sklearn_models import ESTIMATORS
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError

Array = npt.NDArray[Any]
LARGEST = 32  # pixels per side: as large as two cores can train on


def load_images(data: CompetitionData, largest: int = LARGEST) -> npt.NDArray[np.float32]:
    """Images `(N, channels, height, width)` of 0 … 1, train rows then test rows.

    Several columns of images are joined as channels. The size is the most frequent one, scaled down to `largest`. There
    are three channels if any image has colour. A file that cannot be read is blank, and reported on stderr. Raises
    UserError where most cannot be read."""
    frame = data.inputs("img")
    if not frame.shape[1]:
        raise UserError("there is no column of images: choose a kind for tables or texts")
    out = []
    for name in frame.columns:
        out.append(_load_column(data.workspace / "data", list(frame[name]), largest))
    return np.concatenate(out, axis=1)


def _load_column(folder: Path, paths: list[str], largest: int) -> npt.NDArray[np.float32]:
    from PIL import Image

    sizes: Counter[tuple[int, int]] = Counter()
    colour = False
    loaded: list[Any] = []
    broken = []
    for path in paths:
        try:
            with Image.open(folder / path) as opened:
                opened.draft(None, (2 * largest, 2 * largest))  # decode a JPEG no larger than needed
                grey = opened.mode in ("L", "1", "F") or opened.mode.startswith("I")  # I;16B: 16 bits
                image = opened.convert("F" if grey else "RGB")
                sizes[image.size] += 1
                scale = min(1.0, largest / max(image.size))
                if scale < 1:
                    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
                pixels = np.asarray(image, dtype=np.float32)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            broken.append(path)
            loaded.append(None)
            continue
        if pixels.ndim == 3 and np.ptp(pixels, axis=2).max() > 8:
            colour = True
        loaded.append(pixels)
    if broken:
        print(
            f"{len(broken)} of {len(paths)} images cannot be read and are blank: {', '.join(broken[:5])}",
            file=sys.stderr,
        )
    if len(broken) > len(paths) // 2:
        raise UserError(
            f"{len(broken)} of {len(paths)} images cannot be read, the first is {broken[0]}: check the paths"
        )
    width, height = max(sizes, key=lambda size: (sizes[size], size))
    scale = min(1.0, largest / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    out = np.zeros((len(paths), 3 if colour else 1, height, width), dtype=np.float32)
    for place, pixels in enumerate(loaded):
        if pixels is not None:
            out[place] = _fit_size(pixels, height, width, colour)
    top = float(out.max())
    return out / np.float32(255.0 if top <= 255 else top)


def _fit_size(pixels: Array, height: int, width: int, colour: bool) -> Array:
    from PIL import Image

    planes = np.moveaxis(pixels, 2, 0) if pixels.ndim == 3 else pixels[None]
    if not colour:
        planes = planes.mean(axis=0, keepdims=True)
    elif len(planes) == 1:
        planes = np.repeat(planes, 3, axis=0)
    if planes.shape[1:] == (height, width):
        return planes
    return np.stack([np.asarray(Image.fromarray(plane).resize((width, height))) for plane in planes])


def extract_pixel_features(images: npt.NDArray[np.float32]) -> Array:
    """Pixels of at most 16 per side; of larger images also histograms of gradients.

    The histograms (after Dalal and Triggs 2005) have 8 directions, in cells of a quarter of the side."""
    n, _, height, width = images.shape
    step = max(1, -(-max(height, width) // 16))
    small = images[:, :, : height // step * step, : width // step * step]
    small = small.reshape(n, images.shape[1], height // step, step, width // step, step).mean(axis=(3, 5))
    flat = small.reshape(n, -1)
    return np.hstack([flat, _gradients(images)]) if max(height, width) > 16 else flat


def _gradients(images: Array, cells: int = 4, directions: int = 8) -> Array:
    grey = images.mean(axis=1)
    dy, dx = np.gradient(grey, axis=(1, 2))
    length, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
    place = np.minimum((angle / np.pi * directions).astype(int), directions - 1)
    out = []
    for direction in range(directions):
        plane = np.where(place == direction, length, 0)
        for rows in np.array_split(np.arange(grey.shape[1]), cells):
            for columns in np.array_split(np.arange(grey.shape[2]), cells):
                out.append(plane[:, rows[:, None], columns].sum(axis=(1, 2)))
    found = np.column_stack(out)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def solve_pixels(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: a model of ESTIMATORS on pixel features.

    `params`: model (svm; knn, linear, extra-trees), size, and the model's own."""
    x = extract_pixel_features(load_images(data, int(run.params.get("size", LARGEST))))
    x = (x - x.mean(axis=0)) / max(float(x.std()), 1e-9)  # one scale for all, since constant pixels say nothing
    model = str(run.params.get("model", "svm"))
    defaults: dict[str, dict[str, Any]] = {"svm": {"C": 10.0, "gamma": 1.0}, "knn": {"k": 5}}
    own = defaults.get(model, {}) | run.params

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        return ESTIMATORS[model](problem, x[train], problem.y[train], x[rest], own, seed)

    return cross_fit(data, learn, run)
