"""Labelled images from a folder of class folders or a CSV: names, labels and the split, checked before any training."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agentkd.distill.images.decoded import Decoded, Shape, open_image
from agentkd.errors import UserError
from agentkd.runs.disk import hash_file
from agentkd.runs.progress import Progress, say
from agentkd.trace import Usage, content_hash

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
TRAIN, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation", "eval", "dev")
FILE_COLUMNS = ("image", "file", "filename", "file_name", "path")
LABEL_COLUMNS = ("label", "class", "category", "target", "y")
SPLIT_COLUMNS = ("split", "set", "fold")
CSV_BYTES = 1 << 30
Look = Callable[[Path, object], None]  # at a file and its decoded image


class Item(NamedTuple):
    """An image: its name in the data, its file and the number of its class."""

    name: str
    file: Path
    label: int


@dataclass(frozen=True)
class ImageSet:
    """Images to learn from and held-out ones, and the classes by number. `hash` covers names, classes and bytes,
    `decoded` holds the pixels."""

    classes: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    hash: str
    decoded: Decoded


def read_images(
    data: Path, *, held_out: float, seed: int, shapes: Iterable[Shape] = (), classes: tuple[str, ...] = ()
) -> ImageSet:
    """Read a folder of class folders, with or without `train` and `test` above them, or a CSV of files and classes.

    `classes` are those of other data, too, of which some may be missing here. Without a split of its own, the share
    `held_out` of each class is held out. Every image is decoded once, and kept in `shapes`. Raises UserError for data
    without two classes, a class without a training image, and an image that cannot be read."""
    named = list(_from_csv(data) if data.is_file() else _from_folder(data))
    others, classes = classes, classes or tuple(sorted({label for _, _, label, _ in named}, key=_natural))
    if len(classes) < 2:
        found = f"one class, {classes[0]!r}" if classes else "no images"
        raise UserError(f"{data} has {found}: give a folder for each of two classes or more, or a CSV of image,label")
    numbers = {label: number for number, label in enumerate(classes)}
    decoded = Decoded(shapes)
    hashes = check_images([file for _, file, _, _ in named], decoded.add)
    items = [(Item(name, file, numbers[label]), split) for name, file, label, split in named]
    if any(split for _, split in items):
        train = [item for item, split in items if split != "test"]
        test = [item for item, split in items if split == "test"]
    else:
        train, test = hold_out([item for item, _ in items], held_out, seed)
    seen = {hashes[item.file] for item in train}
    fresh = [item for item in test if hashes[item.file] not in seen]
    if len(fresh) < len(test):
        say(f"warning: {len(test) - len(fresh)} held-out images are training images, too: they are left out")
    counts = Counter(item.label for item in train)
    if not others and (missing := [classes[number] for number in range(len(classes)) if not counts[number]]):
        raise UserError(f"class {missing[0]!r} has no training image: add some, or remove its held-out ones")
    if not fresh:
        raise UserError(f"{data} has no image to hold out: add some, or give held_out= a larger share")
    identity = [(item.name, item.label, hashes[item.file]) for item in (*train, *fresh)]
    return ImageSet(classes, tuple(train), tuple(fresh), content_hash([classes, len(train), identity]), decoded)


def list_classes(folders: Iterable[Path]) -> tuple[str, ...]:
    """The classes of all folders together, by their names alone."""
    return tuple(sorted({label for folder in folders for _, _, label, _ in _from_folder(folder)}, key=_natural))


def hold_out(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Hold out the share of each class, rounded: at least one image and never all. A class of one image is trained."""
    train: list[Item] = []
    test: list[Item] = []
    alone = 0
    for label in sorted({item.label for item in items}):
        own = [item for item in items if item.label == label]
        random.Random(f"{seed} {label}").shuffle(own)
        count = min(len(own) - 1, max(1, round(share * len(own))))
        alone += count == 0
        test += own[:count]
        train += own[count:]
    if alone:
        say(f"warning: {alone} classes have a single image, which is learned and not held out")
    return train, test


def check_images(files: Sequence[Path], look: Look | None = None) -> dict[Path, str]:
    """Decode every image once, show it to `look`, and return the SHA-256 of each file. Raises UserError, with the first
    one's reason."""
    hashes: dict[Path, str] = {}
    broken: list[str] = []
    with Progress("images are read", total=len(files), unit="") as progress:
        for file in files:
            try:
                if file not in hashes:
                    hashes[file], image = hash_file(file), open_image(file)
                    if look:
                        look(file, image)
            except Exception as error:  # Pillow's readers raise many kinds, and one of its own for a huge image
                broken.append(f"{file}: {' '.join(str(error).split())[:120]}")
            progress.advance(Usage(), good=True)
    if broken:
        raise UserError(
            f"{len(broken)} of {len(files)} images cannot be read, first {broken[0]}; replace or remove them"
        )
    return hashes


def _from_folder(folder: Path) -> Iterator[tuple[str, Path, str, str]]:
    """Name, file, class and split of each image."""
    if not folder.is_dir():
        raise UserError(f"no such folder or CSV: {folder}; give --data a folder of class folders, or a CSV")
    parts = {child.name.lower(): child for child in folder.iterdir() if child.is_dir()}
    halves = [
        (parts[name], split) for names, split in ((TRAIN, "train"), (TEST, "test")) for name in names if name in parts
    ]
    if {split for _, split in halves} != {"train", "test"}:
        halves = [(folder, "")]
    for half, split in halves:
        skipped = Counter[str]()
        for child in sorted(half.iterdir()):
            if not child.is_dir() or child.name.startswith("."):
                continue
            for file in sorted(child.rglob("*")):
                if file.suffix.lower() in SUFFIXES:
                    yield file.relative_to(folder).as_posix(), file, child.name, split
                elif file.is_file():
                    skipped[file.suffix] += 1
        if skipped:
            kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in skipped.most_common(3))
            say(f"{half}: {sum(skipped.values())} files are no images by their names, and are left out ({kinds})")


def _from_csv(file: Path) -> Iterator[tuple[str, Path, str, str]]:
    """Name, file, class and split of each row."""
    if file.stat().st_size > CSV_BYTES:
        raise UserError(f"{file} has more than {CSV_BYTES >> 20} MB: give a CSV of image,label")
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            rows = csv.DictReader(opened)
            names = {str(name).strip().lower(): name for name in rows.fieldnames or ()}
            image, label = _column(file, names, FILE_COLUMNS, "image"), _column(file, names, LABEL_COLUMNS, "label")
            split = next((names[name] for name in SPLIT_COLUMNS if name in names), None)
            for row in rows:
                yield _row(file, rows.line_num, row, (image, label, split))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no CSV of text ({error}): write image,label in UTF-8") from None


def _column(file: Path, names: Mapping[str, str], wanted: Sequence[str], what: str) -> str:
    for name in wanted:
        if name in names:
            return names[name]
    raise UserError(f"{file} has the columns {', '.join(names) or '(none)'}: name one of them {what!r}")


def _row(
    file: Path, line: int, row: Mapping[str | None, str | None], columns: tuple[str, str, str | None]
) -> tuple[str, Path, str, str]:
    image, label, split = columns
    name, value = (row.get(image) or "").strip(), (row.get(label) or "").strip()
    if not name or not value:
        raise UserError(f"{file}:{line}: an image or a class is missing; give both, or remove the line")
    half = (row.get(split) or "").strip().lower() if split else ""
    if split and half not in (*TRAIN, *TEST):
        raise UserError(f"{file}:{line}: {split} is {half!r}: write train or test")
    return name, file.parent / name, value, ("test" if half in TEST else "train") if split else ""


def _natural(text: str) -> tuple[bool, int, str]:
    """The order of class names: numbers by value, before words."""
    return (False, int(text), text) if text.isdecimal() and len(text) < 19 else (True, 0, text)
