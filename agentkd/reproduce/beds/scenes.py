"""Templated questions about generated images: shapes and colours in the cells of a grid, and the same scenes in words.

A scene has one to three objects, of different shapes and different colours, so every question has one answer. A third
of the combinations of shape, colour and column are held out: no training image has them. Texts have all.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

GRID, CELL = 3, 8  # cells a side, pixels a cell
SIDE = GRID * CELL
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = {"red": (0.9, 0.2, 0.2), "green": (0.2, 0.8, 0.3), "blue": (0.2, 0.3, 0.9), "yellow": (0.9, 0.8, 0.2)}
NUMBERS = ("one", "two", "three")
KINDS = ("colour", "shape", "place", "count", "check", "cell")
PAD, END = "<pad>", "<end>"
VOCABULARY = (
    PAD, END, *ROWS, *COLUMNS, *SHAPES, *COLOURS, *NUMBERS, "yes", "no", "nothing", "what", "where", "how", "many",
    "is", "the", "colour", "shape", "objects", "?", ",",
)  # fmt: skip
NUMBER_OF = {word: number for number, word in enumerate(VOCABULARY)}
QUESTION, TEXT = 9, 24  # tokens of a question with its answer and of a described scene with both, at most
IGNORED = -100
GREY, NOISE = 0.4, 0.06  # the ground, and the standard deviation of a pixel, of values from 0 to 1


class Thing(NamedTuple):
    """An object in a cell."""

    shape: str
    colour: str
    row: int
    column: int


class Cells(NamedTuple):
    """Images of a cell [N, 3, 8, 8], and the numbers of shape and colour [N], 0 for none."""

    images: Tensor
    shapes: Tensor
    colours: Tensor


class Asked(NamedTuple):
    """Images [N, 3, 24, 24], token numbers and labels [N, QUESTION]: -100 where no answer stands."""

    images: Tensor
    tokens: Tensor
    labels: Tensor


def is_held_out(thing: Thing) -> bool:
    """Whether an object is of a held-out combination: each pair of shape and colour is kept out of one column."""
    return (SHAPES.index(thing.shape) + list(COLOURS).index(thing.colour) + thing.column) % GRID == 0


def ask(seed: int, count: int, *, held_out: bool = False) -> Asked:
    """Draw `count` images, each with one question. With `held_out`, the question is about a held-out
    combination."""
    rng, noise = random.Random(f"{seed} {held_out}"), np.random.default_rng([seed, int(held_out)])
    images, questions = np.empty((count, 3, SIDE, SIDE), np.float32), []
    for place in range(count):
        things = make_scene(rng, "held out" if held_out else "seen")
        images[place] = draw(things, noise)
        questions.append(make_question(rng, things))
    images += noise.normal(0, NOISE, images.shape).astype(np.float32)
    tokens, labels = encode([([], *each) for each in questions], QUESTION)
    return Asked(torch.from_numpy(images), tokens, labels)


def draw_cells(seed: int, scenes: int) -> Cells:
    """Cells of scenes, a third of them without an object: what an encoder is trained on."""
    rng, noise = random.Random(f"{seed} cells"), np.random.default_rng([seed, 2])
    drawn = [make_scene(rng, "any") for _ in range(scenes)]
    images = np.stack([draw(things, noise) for things in drawn])
    images += noise.normal(0, NOISE, images.shape).astype(np.float32)
    shapes, colours = np.zeros((2, scenes, GRID * GRID), np.int64)
    for place, things in enumerate(drawn):
        for thing in things:
            cell = thing.row * GRID + thing.column
            shapes[place, cell] = SHAPES.index(thing.shape) + 1
            colours[place, cell] = list(COLOURS).index(thing.colour) + 1
    cells = images.reshape(-1, 3, GRID, CELL, GRID, CELL).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 3, CELL, CELL)
    filled = np.flatnonzero(shapes.ravel())
    kept = np.concatenate([filled, np.flatnonzero(shapes.ravel() == 0)[: len(filled) // 2]])
    return Cells(*(torch.from_numpy(values[kept]) for values in (cells, shapes.ravel(), colours.ravel())))


def describe(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Scenes in words with a question each: token numbers and labels [N, TEXT]: -100 where no answer stands."""
    rng, rows = random.Random(f"{seed} text"), []
    for _ in range(count):
        things = make_scene(rng, "any")
        question, answer = make_question(rng, things)
        rng.shuffle(things)
        words = [word for thing in things for word in (*place_of(thing), thing.colour, thing.shape, ",")]
        rows.append((words, question, answer))
    return encode(rows, TEXT)


def make_scene(rng: random.Random, combinations: str) -> list[Thing]:
    """One to three objects. `combinations` is seen (none is held out), held out (the first is) or any."""
    while True:
        count = rng.randint(1, 3)
        shapes, colours = rng.sample(SHAPES, count), rng.sample(list(COLOURS), count)
        cells = rng.sample(range(GRID * GRID), count)
        things = [
            Thing(shape, colour, *divmod(cell, GRID))
            for shape, colour, cell in zip(shapes, colours, cells, strict=True)
        ]
        found = [is_held_out(thing) for thing in things]
        if combinations == "any" or (found[0] if combinations == "held out" else not any(found)):
            return things


def make_question(rng: random.Random, things: list[Thing]) -> tuple[list[str], list[str]]:
    """A question about the first object, and its answer, in words."""
    thing, kind = things[0], rng.choice(KINDS)
    if kind == "colour":
        return ["what", "colour", "is", "the", thing.shape, "?"], [thing.colour]
    if kind == "shape":
        return ["what", "shape", "is", thing.colour, "?"], [thing.shape]
    if kind == "place":
        return ["where", "is", "the", rng.choice((thing.shape, thing.colour)), "?"], place_of(thing)
    if kind == "count":
        return ["how", "many", "objects", "?"], [NUMBERS[len(things) - 1]]
    if kind == "check":
        truth = rng.random() < 0.5
        said = thing.colour if truth else rng.choice([colour for colour in COLOURS if colour != thing.colour])
        return ["is", "the", thing.shape, said, "?"], ["yes" if truth else "no"]
    return ["what", "is", *place_of(thing), "?"], [thing.colour, thing.shape]


def place_of(thing: Thing) -> list[str]:
    """The row and the column in words."""
    return [ROWS[thing.row], COLUMNS[thing.column]]


def draw(things: list[Thing], noise: np.random.Generator) -> np.ndarray:
    """An image [3, 24, 24]: objects of 6 × 6 pixels, moved by up to two pixels, in varied light, on grey."""
    image = np.full((3, SIDE, SIDE), GREY, np.float32)
    for thing in things:
        down, right = noise.integers(0, CELL - 5, 2)
        rows = slice(thing.row * CELL + down, thing.row * CELL + down + 6)
        columns = slice(thing.column * CELL + right, thing.column * CELL + right + 6)
        light = np.array(COLOURS[thing.colour]) + noise.normal(0, 0.08, 3)
        image[:, rows, columns] = np.where(MASKS[thing.shape], light[:, None, None], image[:, rows, columns])
    return image


def _mask(*rows: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in row] for row in rows])


MASKS = {
    "circle": _mask(" #### ", "######", "##  ##", "##  ##", "######", " #### "),
    "square": _mask("######", "######", "######", "######", "######", "######"),
    "triangle": _mask("  ##  ", "  ##  ", " #### ", " #### ", "######", "######"),
    "cross": _mask("  ##  ", "  ##  ", "######", "######", "  ##  ", "  ##  "),
}


def encode(rows: list[tuple[list[str], list[str], list[str]]], length: int) -> tuple[Tensor, Tensor]:
    """Context, question and answer of each row as numbers, padded to `length`; labels are those of the answer."""
    tokens = torch.full((len(rows), length), NUMBER_OF[PAD])
    labels = torch.full((len(rows), length), IGNORED)
    for place, (context, question, answer) in enumerate(rows):
        before = [NUMBER_OF[word] for word in (*context, *question)]
        after = [NUMBER_OF[word] for word in (*answer, END)]
        tokens[place, : len(before) + len(after)] = torch.tensor(before + after)
        labels[place, len(before) : len(before) + len(after)] = torch.tensor(after)
    return tokens, labels
