"""LLaVA-KD on generated scenes: do distilled pre-training and distilled fine-tuning around SFT beat SFT alone?

Teacher and student are a frozen encoder of patches, a projector, and a decoder that has read scenes in words. Every arm
takes the same number of steps on the same batches. The encoder is never trained; the pre-training stage trains the
projector alone.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from agentkd.methods.llava_kd import VisionLanguageLoss, llava_kd_loss
from agentkd.reproduce.beds.scenes import CELL, GRID, IGNORED, VOCABULARY, Asked, ask, describe
from agentkd.reproduce.fit import Plan, fit
from agentkd.reproduce.nets.vision_language import PatchEncoder, VisionLanguageModel

ARMS = {
    "sft": "LM loss alone, projector and decoder, in one stage of all steps",
    "pt, sft": "LM loss alone, the projector first, then both",
    "three stages": "distilled pre-training (DPT), SFT, distilled fine-tuning (DFT)",
    "no dpt": "pre-training without the teacher, SFT, DFT",
    "no dft": "DPT, then SFT for the rest",
    "no answer": "three stages without MDist on the answer",
    "no visual": "three stages without MDist on the image's tokens",
    "no relation": "three stages without RDist",
    "answer alone": "three stages with MDist on the answer alone",
}
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "no answer": ("answer",),
    "no visual": ("visual",),
    "no relation": ("relation",),
    "answer alone": ("visual", "relation"),
}
VISUAL = GRID * GRID  # tokens of an image
FEATURES = 128
LARGE = {"width": 96, "layers": 3, "heads": 4}
SMALL = {"width": 32, "layers": 2, "heads": 2}
TRAIN, TEST, BATCH = 1000, 1000, 50
EPOCHS = (15, 30, 45)  # of the three stages


class Rows(NamedTuple):
    """Patch features [N, 9, 128], token numbers and labels [N, 9] of questions."""

    patches: Tensor
    tokens: Tensor
    labels: Tensor


class Bed(NamedTuple):
    """What all arms of a seed share: the student's questions with the teacher's logits [N, 18, V], two tests, the
    teacher, and the student that has only read text."""

    train: Rows
    taught: Tensor
    seen: Rows
    held_out: Rows
    teacher: VisionLanguageModel
    student: VisionLanguageModel


@cache
def prepare(seed: int, quick: bool) -> Bed:
    """Questions, and both models: the teacher trained on many questions, of which the student has the first."""
    encoder = PatchEncoder(CELL, FEATURES)

    def look(asked: Asked) -> Rows:
        return Rows(encoder(asked.images), asked.tokens, asked.labels)

    many = look(ask(seed, 1000 if quick else 10_000))
    train = Rows(*(tensor[:TRAIN] for tensor in many))
    seen, held_out = look(ask(seed + 10_000, TEST)), look(ask(seed + 10_000, TEST, held_out=True))
    torch.manual_seed(seed)
    teacher = make_reader(LARGE, seed, 2 if quick else 12)
    torch.manual_seed(seed)
    student = make_reader(SMALL, seed, 2 if quick else 12)
    plan = Plan(epochs=1 if quick else 20, batch=100, lr=2e-3, seed=seed)
    fit([teacher], many, lambda *rows: lm_loss(teacher(*rows[:2]), rows[2]), plan)
    return Bed(train, answer(teacher, train), seen, held_out, teacher.requires_grad_(False), student)


def make_reader(shape: dict[str, int], seed: int, epochs: int) -> VisionLanguageModel:
    """A model whose decoder has read scenes in words, with a fresh projector."""
    model = VisionLanguageModel(FEATURES, len(VOCABULARY), **shape)
    texts = describe(seed, 5000)
    fit(
        [model.language],
        texts,
        lambda tokens, labels: cross_entropy(model.read(tokens)[:, :-1].mT, labels[:, 1:], ignore_index=IGNORED),
        Plan(epochs=epochs, batch=50, lr=3e-3, seed=seed),
    )
    return model


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Train a student; percent of questions answered exactly, about held-out pairs and about seen ones."""
    bed = prepare(seed, quick)
    student = VisionLanguageModel(FEATURES, len(VOCABULARY), **SMALL)
    student.load_state_dict(bed.student.state_dict())
    epochs = (2, 2, 2) if quick else EPOCHS
    if arm == "sft":
        train_stage(student, bed, (), sum(epochs), seed)
    else:
        distilled = tuple(term for term in ("answer", "visual", "relation") if term not in LEFT_OUT.get(arm, ()))
        first = () if arm in ("pt, sft", "no dpt") else distilled
        last = () if arm in ("pt, sft", "no dft") else distilled
        student.language.requires_grad_(False)
        train_stage(student, bed, first, epochs[0], seed, lr=3e-3)
        student.language.requires_grad_(True)
        train_stage(student, bed, (), epochs[1], seed + 1)
        train_stage(student, bed, last, epochs[2], seed + 2)
    return {
        "held out": exact(student, bed.held_out),
        "seen": exact(student, bed.seen),
        "training": exact(student, bed.train),
        "teacher, held out": exact(bed.teacher, bed.held_out),
        "teacher, seen": exact(bed.teacher, bed.seen),
    }


def train_stage(
    student: VisionLanguageModel, bed: Bed, terms: tuple[str, ...], epochs: int, seed: int, *, lr: float = 2e-3
) -> None:
    """Train what requires gradients on the LM loss and these terms of the distillation."""

    def loss(patches: Tensor, tokens: Tensor, labels: Tensor, taught: Tensor) -> Tensor:
        logits = student(patches, tokens)
        lm = lm_loss(logits, labels)
        if not terms:
            return lm
        padded = torch.cat([labels.new_full((len(labels), VISUAL), IGNORED), labels], 1)
        found = llava_kd_loss(lm, logits, taught, padded, visual=slice(0, VISUAL))
        return VisionLanguageLoss(lm, **{term: getattr(found, term) for term in terms}).total

    fit([student], (*bed.train, bed.taught), loss, Plan(epochs=epochs, batch=BATCH, lr=lr, seed=seed))


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
