"""LLaVA-KD on generated scenes: do distilled pre-training and distilled fine-tuning around SFT beat SFT alone?

Teacher and student are a projector and a decoder over one frozen encoder, which was trained to tell shapes and colours.
The student's decoder has answered questions about scenes in words. Every arm takes the same number of steps, of which
pre-training trains the projector alone.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.methods.llava_kd import VisionLanguageLoss, llava_kd_loss
from agentkd.reproduce.beds.scenes import (
    CELL,
    COLOURS,
    GRID,
    IGNORED,
    SHAPES,
    VOCABULARY,
    Asked,
    ask,
    describe,
    draw_cells,
)
from agentkd.reproduce.fit import Plan, fit
from agentkd.reproduce.nets.vision_language import PatchEncoder, VisionLanguageModel

ARMS = {
    "sft": "LM loss alone, projector and decoder, in one stage of all steps",
    "pt, sft": "LM loss alone, the projector first, then both",
    "three stages": "distilled pre-training (DPT), SFT, distilled fine-tuning (DFT)",
    "no answer": "three stages without MDist on the answer",
    "no visual": "three stages without MDist on the image's tokens",
    "no relation": "three stages without RDist",
}
TERMS = ("answer", "visual", "relation")
VISUAL = GRID * GRID  # tokens of an image
FEATURES = 64 + 2 * GRID  # of a patch, with its row and column
LARGE = {"width": 64, "layers": 2, "heads": 4}
SMALL = {"width": 32, "layers": 2, "heads": 2}
MANY, TRAIN, TEST, BATCH = 6000, 300, 1000, 50  # questions of the teacher, of the student, of a test; of a step
EPOCHS = (20, 30, 130)  # of the three stages


class Rows(NamedTuple):
    """Patch features [N, 9, 70], token numbers and labels [N, 9] of questions."""

    patches: Tensor
    tokens: Tensor
    labels: Tensor


class Bed(NamedTuple):
    """What all arms of a seed share: the student's questions with the teacher's logits [N, 18, V], two tests, the
    teacher, and the student whose decoder has only read text."""

    train: Rows
    taught: Tensor
    seen: Rows
    held_out: Rows
    teacher: VisionLanguageModel
    student: VisionLanguageModel


@cache
def prepare(seed: int, quick: bool) -> Bed:
    """Questions, and both models: the teacher trained on many questions, of which the student has the first."""
    encoder = train_encoder(seed, quick)

    def look(asked: Asked) -> Rows:
        with torch.no_grad():
            return Rows(encoder(asked.images), asked.tokens, asked.labels)

    many = look(ask(seed, 1000 if quick else MANY))
    train = Rows(*(tensor[:TRAIN] for tensor in many))
    seen, held_out = look(ask(seed + 10_000, TEST)), look(ask(seed + 10_000, TEST, held_out=True))
    torch.manual_seed(seed)
    student = make_reader(seed, 1 if quick else 4)
    torch.manual_seed(seed)
    teacher = VisionLanguageModel(FEATURES, len(VOCABULARY), **LARGE)
    plan = Plan(epochs=2 if quick else 12, batch=50, lr=3e-3, seed=seed)
    fit([teacher], many, lambda *rows: lm_loss(teacher(*rows[:2]), rows[2]), plan)
    return Bed(train, answer(teacher, train), seen, held_out, teacher.requires_grad_(False), student)


def train_encoder(seed: int, quick: bool) -> PatchEncoder:
    """An encoder that tells the shape and the colour of a cell."""
    torch.manual_seed(seed)
    encoder = PatchEncoder(CELL, FEATURES - 2 * GRID)
    heads = nn.ModuleList(nn.Linear(encoder.width, 1 + len(names)) for names in (SHAPES, COLOURS))

    def loss(images: Tensor, *labels: Tensor) -> Tensor:
        features = encoder(images)[:, 0, : encoder.width]
        parts = [cross_entropy(head(features), label) for head, label in zip(heads, labels, strict=True)]
        return torch.stack(parts).sum()

    fit([encoder, heads], draw_cells(seed, 2000), loss, Plan(epochs=2 if quick else 15, batch=100, lr=3e-3, seed=seed))
    return encoder


def make_reader(seed: int, epochs: int) -> VisionLanguageModel:
    """A student whose decoder has answered questions about scenes in words, with a fresh projector."""
    torch.manual_seed(seed)
    model = VisionLanguageModel(FEATURES, len(VOCABULARY), **SMALL)
    texts = describe(seed, 5000)
    fit(
        [model.language],
        texts,
        lambda tokens, labels: cross_entropy(model.read(tokens)[:, :-1].mT, labels[:, 1:], ignore_index=IGNORED),
        Plan(epochs=epochs, batch=50, lr=3e-3, seed=seed),
    )
    return model


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Train a student; percent of questions answered exactly, about held-out combinations and about seen ones."""
    bed = prepare(seed, quick)
    student = VisionLanguageModel(FEATURES, len(VOCABULARY), **SMALL)
    student.load_state_dict(bed.student.state_dict())
    epochs = (2, 2, 2) if quick else EPOCHS
    if arm == "sft":
        train_stage(student, bed, (), sum(epochs), seed)
    else:
        terms = () if arm == "pt, sft" else tuple(term for term in TERMS if arm != f"no {term}")
        student.language.requires_grad_(False)
        train_stage(student, bed, terms, epochs[0], seed)
        student.language.requires_grad_(True)
        train_stage(student, bed, (), epochs[1], seed + 1)
        train_stage(student, bed, terms, epochs[2], seed + 2)
    return {
        "held out": exact(student, bed.held_out),
        "seen": exact(student, bed.seen),
        "training": exact(student, bed.train),
        "teacher, held out": exact(bed.teacher, bed.held_out),
        "teacher, seen": exact(bed.teacher, bed.seen),
    }


def train_stage(student: VisionLanguageModel, bed: Bed, terms: tuple[str, ...], epochs: int, seed: int) -> None:
    """Train what requires gradients on the LM loss and these terms of the distillation."""

    def loss(patches: Tensor, tokens: Tensor, labels: Tensor, taught: Tensor) -> Tensor:
        logits = student(patches, tokens)
        lm = lm_loss(logits, labels)
        if not terms:
            return lm
        padded = torch.cat([labels.new_full((len(labels), VISUAL), IGNORED), labels], 1)
        found = llava_kd_loss(lm, logits, taught, padded, visual=slice(0, VISUAL))
        return VisionLanguageLoss(lm, **{term: getattr(found, term) for term in terms}).total

    fit([student], (*bed.train, bed.taught), loss, Plan(epochs=epochs, batch=BATCH, lr=4e-3, seed=seed))


def lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Nats an answer's token; logits [B, 9 + L, V], labels [B, L]."""
    return cross_entropy(logits[:, VISUAL - 1 : -1].mT, labels, ignore_index=IGNORED)


@torch.no_grad()
def answer(model: VisionLanguageModel, rows: Rows) -> Tensor:
    """Logits [N, 9 + L, V]."""
    model.eval()
    parts = zip(*(torch.split(tensor, 500) for tensor in rows[:2]), strict=True)
    return torch.cat([model(*part) for part in parts])


def exact(model: VisionLanguageModel, rows: Rows) -> float:
    """Percent of questions whose whole answer is the greedy one."""
    guesses = answer(model, rows)[:, VISUAL - 1 : -1].argmax(-1)
    right = ((guesses == rows.labels) | (rows.labels == IGNORED)).all(-1)
    return float(right.double().mean() * 100)
