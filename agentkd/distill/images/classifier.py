"""Image classifiers of transformers: opened from a folder, the hub or a config, and asked about pixels of any size.

Pixels are [B, C, H, W] from 0 to 1. A classifier resizes and normalises them itself, so that a teacher and a student of
different sizes and channels look at the same (augmented) images. Images are resized, not cropped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.distill.images.decoded import Shape
from agentkd.errors import UserError
from agentkd.inference.model_folder import refuse_pickles
from agentkd.models import download_model, is_hub_name
from agentkd.pretrained import load_pretrained, load_settings, make_model
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import CONFIG_BYTES, parse_json, read_small

if TYPE_CHECKING:
    from torch import Tensor

PROCESSOR = "preprocessor_config.json"
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts


@dataclass(frozen=True)
class Classifier:
    """A model with the shape and normalisation of its images. `fitted` says whether it knows the classes."""

    name: str
    model: Any
    shape: Shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fitted: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape.height, self.shape.width

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.shape.channels

    def inputs(self, pixels_BCHW: Tensor) -> Tensor:
        """The model's own inputs, [B, channels, *size]."""
        import torch
        from torch.nn.functional import interpolate

        x = pixels_BCHW
        if x.shape[1] != self.channels:
            if self.channels == 1:
                x = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
            else:
                x = x.expand(-1, self.channels, -1, -1)
        if tuple(x.shape[-2:]) != self.size:
            x = interpolate(x, self.size, mode="bilinear", antialias=True, align_corners=False)
        shape = (1, self.channels, 1, 1)
        mean, std = (torch.tensor(values).to(x).view(shape) for values in (self.mean, self.std))
        return (x - mean) / std

    def save(self, folder: Path) -> None:
        """Write an ordinary model directory, with the image processor that gives the same inputs."""
        self.model.save_pretrained(folder)
        processor = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": self.size[0], "width": self.size[1]},
            "resample": 2,  # bilinear
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "do_convert_rgb": self.channels == 3,
        }
        write_atomically(folder / PROCESSOR, json.dumps(processor, indent=2) + "\n")


def find_classifier(name: str) -> Path:
    """The folder or config file that a name means; a model on the hub is downloaded. Raises UserError for nothing."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    if not is_hub_name(name):
        raise UserError(f"no such model: {name!r}; give a folder, a config.json or a hub name")
    return download_model(name, instead="a folder or a config.json")


def open_classifier(name: str, classes: Sequence[str], *, seed: int, trust: bool = False) -> Classifier:
    """Open a classifier by a folder, a hub name, or a config file (then with fresh weights).

    One whose labels are these classes keeps its head, in the order of `classes`; any other gets a fresh one. Raises
    UserError for a model that classifies no images."""
    import torch
    from transformers import AutoModelForImageClassification

    path = find_classifier(name)
    has_weights = path.is_dir() and any(file.suffix in (".safetensors", ".bin") for file in path.iterdir())
    settings = load_settings(path, trust=trust)
    shape = _shape(name, settings)
    known = _order(settings, classes) if has_weights else None
    labels = dict(enumerate(classes))
    settings.id2label, settings.label2id = labels, {label: number for number, label in labels.items()}
    torch.manual_seed(seed)
    if not has_weights:
        model = make_model(AutoModelForImageClassification, settings, trust=trust)
    else:
        refuse_pickles(path)
        options = {"config": settings, "ignore_mismatched_sizes": True, "dtype": torch.float32}
        model = load_pretrained(AutoModelForImageClassification, path, trust=trust, **options)
        if known is not None:
            reorder_head(model, known)
    mean, std = _normalisation(path, shape.channels)
    return Classifier(name, model.eval(), shape, mean, std, known is not None)


def read_shape(name: str, *, trust: bool = False) -> Shape:
    """What a classifier reads, from its settings alone. Raises UserError for a model that classifies no images."""
    return _shape(name, load_settings(find_classifier(name), trust=trust))


def _shape(name: str, settings: Any) -> Shape:
    _check_kind(name, settings)
    channels = int(getattr(settings, "num_channels", 3))
    if channels not in (1, 3):
        raise UserError(f"{name} reads {channels} channels: images have 1 or 3")
    return Shape(*_size(settings), channels)


def reorder_head(model: Any, order: Sequence[int]) -> None:
    """Put the outputs of the last layer into another order, in place."""
    import torch

    if list(order) == list(range(len(order))):
        return
    heads = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == len(order)
    ]
    if not heads:
        raise UserError(f"{type(model).__name__} has no linear head: save it with its labels in alphabetical order")
    with torch.no_grad():
        heads[-1].weight.copy_(heads[-1].weight[list(order)].clone())
        if heads[-1].bias is not None:
            heads[-1].bias.copy_(heads[-1].bias[list(order)].clone())


def _check_kind(name: str, settings: Any) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN

    if settings.model_type not in KNOWN:
        raise UserError(
            f"{name} is a {settings.model_type}, which classifies no images in transformers: choose a ViT, ResNet, "
            f"ConvNeXT, MobileNet or the like"
        )


def _order(settings: Any, classes: Sequence[str]) -> list[int] | None:
    """Where each class stands among a model's labels; None where they are not the same names."""
    labels = {str(label).strip().casefold(): int(number) for number, label in (settings.id2label or {}).items()}
    wanted = [label.strip().casefold() for label in classes]
    return [labels[label] for label in wanted] if len(labels) == len(wanted) and set(labels) == set(wanted) else None


def _size(settings: Any) -> tuple[int, int]:
    size = getattr(settings, "image_size", None)
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    if isinstance(size, int) and size > 0:
        return size, size
    return (224, 224)  # convolutional models take any size and name none


def _normalisation(folder: Path, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the model's own preprocessor_config.json, else 0.5 and 0.5."""
    file = folder / PROCESSOR
    found = parse_json(read_small(file, CONFIG_BYTES)) if folder.is_dir() and file.is_file() else {}
    values = []
    for key in ("image_mean", "image_std"):
        own: Any = found.get(key) if isinstance(found, dict) and found.get("do_normalize", True) else None
        numbers = own if isinstance(own, list) else [own] * channels
        usable = len(numbers) == channels and all(isinstance(number, int | float) for number in numbers)
        values.append(tuple(float(number) for number in numbers) if usable else (0.5,) * channels)
    return values[0], values[1]
