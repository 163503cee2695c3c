"""Questions about images from JSON lines: names, texts and the split, checked before any training."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.distill.images.data import SUFFIXES, TEST, TRAIN, check_images
from agentkd.errors import UserError
from agentkd.runs.progress import say
from agentkd.tasks.files import read_jsonl
from agentkd.trace import content_hash

LINE = '{"image": "a.png", "question": "…", "answer": "…"}'


class Question(NamedTuple):
    """A question: the name of its image in the data, the image's file, and the texts."""

    image: str
    file: Path
    question: str
    answer: str


@dataclass(frozen=True)
class QuestionSet:
    """Questions to learn from and held-out ones. `hash` covers texts, names and the images' bytes."""

    train: tuple[Question, ...]
    test: tuple[Question, ...]
    hash: str


def read_questions(data: Path, images: Path | None, *, held_out: float, seed: int) -> QuestionSet:
    """Read JSON lines of image, question and answer, with a `split` of train or test in all of them or in none.

    Without splits, the share `held_out` of the images is held out with all their questions. Every image is opened once.
    Raises UserError, with the line, for a row that lacks one of the three, and for an image that cannot be read."""
    if not data.is_file():
        raise UserError(f"no such file: {data}; give --data JSON lines of {LINE}")
    folder = images or data.parent
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}; give images= the folder of the images")
    rows = [parse(row, where, folder) for where, row in read_jsonl(data)]
    if not rows:
        raise UserError(f"{data} has no rows: write {LINE}, one a line")
    splits = {split for _, split in rows}
    if "" in splits and len(splits) > 1:
        raise UserError(f"{data}: some rows have a split and some have none; give it to all of them, or to none")
    files = list(dict.fromkeys(question.file for question, _ in rows))
    if images is not None:
        count_unasked(folder, files)
    hashes = check_images(files)
    if splits == {""}:
        out = held_out_images(sorted(set(hashes.values())), held_out, seed)
        rows = [(question, "test" if hashes[question.file] in out else "train") for question, _ in rows]
    train = [question for question, split in rows if split == "train"]
    test = [question for question, split in rows if split == "test"]
    learned = {(hashes[question.file], question.question) for question in train}
    fresh = [question for question in test if (hashes[question.file], question.question) not in learned]
    if len(fresh) < len(test):
        say(f"warning: {len(test) - len(fresh)} held-out questions are training questions, too: they are left out")
    if not train or not fresh:
        raise UserError(
            f"{data} has {len(train)} questions to learn from and {len(fresh)} to hold out: add images, or change "
            "held_out= or the splits"
        )
    identity = [[*question[:1], *question[2:], hashes[question.file]] for question in (*train, *fresh)]
    return QuestionSet(tuple(train), tuple(fresh), content_hash([len(train), identity]))


def parse(row: dict[str, Any], where: str, folder: Path) -> tuple[Question, str]:
    """The question of a row, and its split: train, test or nothing."""
    image, question, answer = (_text(row, name, where) for name in ("image", "question", "answer"))
    if not image:
        raise UserError(f"{where}: the question {question[:60]!r} has no image: name one, or remove the line")
    if not question:
        raise UserError(f"{where}: the image {image[:60]!r} has no question: ask one, or remove the line")
    if not answer:
        raise UserError(f"{where}: the question {question[:60]!r} has no answer: give one, or remove the line")
    split = _text(row, "split", where).lower()
    if split and split not in (*TRAIN, *TEST):
        raise UserError(f"{where}: split is {split!r}: write train or test")
    return Question(image, folder / image, question, answer), split and ("test" if split in TEST else "train")


def _text(row: dict[str, Any], name: str, where: str) -> str:
    value = "" if row.get(name) is None else row[name]
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} is {str(value)[:60]!r}, which is no text: write {LINE}")
    return value.strip()


def held_out_images(hashes: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Choose the share of the images, rounded: at least one and never all."""
    order = list(hashes)
    random.Random(seed).shuffle(order)
    return frozenset(order[: min(len(order) - 1, max(1, round(share * len(order))))])


def count_unasked(folder: Path, asked: Iterable[Path]) -> None:
    """Say how many images of the folder no question names."""
    inside = {file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES}
    if left := inside - set(asked):
        say(f"{folder}: {len(left)} of {len(inside)} images have no question, and are left out, first {min(left).name}")
