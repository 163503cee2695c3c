"""Distiller's grid on transformers' encoders: which intermediate loss, and which component matters?

Every cell is one recipe (`agentkd/methods/distiller_recipe.py`): augmentation, mapping of layers, intermediate loss and
prediction loss, on a BERT made from a config. An arm of a loss is the mean over its cells, and the cell that is best on
validation texts; on a decoder, a GPT-2, it is one recipe. An arm of a factor is the share of all cells' variance that
its main effect explains.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.methods.distiller_recipe import BETWEEN_LOGITS, LayerLoss, Recipe, replace_tokens
from agentkd.methods.metrics.variance import variance_shares
from agentkd.reproduce.beds.opinions import BEGIN, CLASSES, END, LENGTH, PAD, VOCABULARY, WORDS, Opinions, make_opinions
from agentkd.reproduce.fit import Plan, fit

ARMS = {
    "none": "no intermediate loss",
    "mse": "mean squared error of projected hidden states",
    "ce": "soft cross-entropy of projected hidden states",
    "cosine": "cosine of projected hidden states",
    "mi-alpha": "MI-alpha, alpha = 0.9, with a critic of two layers",
    "factor: augmentation": "none, or two copies with 30 % of the words replaced, labelled by the teacher",
    "factor: mapping": "skip or last",
    "factor: intermediate loss": "mse, ce, cosine or mi-alpha",
    "factor: prediction loss": "ce or mse",
    "factor: interactions": "what no single factor explains, and chance",
}
FACTORS: dict[str, tuple[Any, ...]] = {
    "augmentation": ("none", "replace"),
    "mapping": ("skip", "last"),
    "intermediate loss": ("mse", "ce", "cosine", "mi-alpha"),
    "prediction loss": ("ce", "mse"),
}
TEACHER, STUDENT = (4, 48), (2, 24)  # layers, width
COPIES, BATCH = 2, 32


class Score(NamedTuple):
    """Percent of the validation and of the test texts that a student classifies rightly."""

    validation: float
    test: float


class Guide(NamedTuple):
    """A teacher, and for the student's texts and their augmented copies: ids, logits and hidden states."""

    model: nn.Module
    ids: Tensor
    logits: Tensor
    hidden: Tensor  # [N, layers, L, D]


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """A loss's mean and tuned score over its cells, or a factor's share of the variance in percent."""
    if arm.startswith("factor: "):
        grid = [run_cell("encoder", *cell, seed, quick).test for cell in product(*FACTORS.values())]
        scores = torch.tensor(grid).reshape([len(levels) for levels in FACTORS.values()])
        if float(scores.var()) == 0.0:  # so little training, as in a quick run, that all cells score alike
            return {"share of variance": 0.0}
        return {"share of variance": 100 * variance_shares(scores.numpy(), list(FACTORS))[arm.removeprefix("factor: ")]}
    mappings = FACTORS["mapping"] if arm != "none" else ("skip",)
    others = FACTORS["augmentation"], mappings, (arm,), FACTORS["prediction loss"]
    found = [run_cell("encoder", *cell, seed, quick) for cell in product(*others)]
    return {
        "accuracy": sum(cell.test for cell in found) / len(found),
        "tuned": max(found, key=lambda cell: cell.validation).test,
        "decoder": run_cell("decoder", "none", "skip", arm, "mse", seed, quick).test,
        "teacher": score(make_guide("encoder", seed, quick).model, make_bed(seed, quick).test),
    }


@cache
def make_bed(seed: int, quick: bool) -> Opinions:
    """The texts of a seed."""
    return make_opinions(seed, (640, 128, 200, 200) if quick else (3000, 512, 400, 1000))


def make_model(kind: str, layers: int, width: int) -> nn.Module:
    """A classifier of transformers with fresh weights, without dropout."""
    from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

    if kind == "encoder":
        shape = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 2 * width}
        off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        more = {"vocab_size": VOCABULARY, "num_labels": CLASSES, "pad_token_id": PAD, "num_attention_heads": 4}
        bert: nn.Module = BertForSequenceClassification(
            BertConfig(**shape, **off, **more, max_position_embeddings=LENGTH + 2)
        )
        return bert
    shape = {"n_embd": width, "n_layer": layers, "n_inner": 2 * width, "n_head": 4, "n_positions": LENGTH + 2}
    ends = {"bos_token_id": BEGIN, "eos_token_id": END}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    gpt: nn.Module = GPT2ForSequenceClassification(
        GPT2Config(**shape, **off, **ends, vocab_size=VOCABULARY, num_labels=CLASSES, pad_token_id=PAD)
    )
    return gpt


@cache
def make_guide(kind: str, seed: int, quick: bool) -> Guide:
    """A seed's teacher, trained on labels, and what it says of the student's texts and of their copies."""
    bed = make_bed(seed, quick)
    torch.manual_seed(seed)
    model = make_model(kind, *TEACHER)
    plan = Plan(epochs=2 if quick else 6, batch=64, lr=3e-3, seed=seed)
    fit([model], bed.teacher, lambda ids, labels: cross_entropy(model(input_ids=ids).logits, labels), plan)
    generator, own = torch.Generator().manual_seed(seed), bed.student[0]
    replaced = [replace_tokens(own, Recipe().replaced, WORDS, generator) for _ in range(COPIES)]
    ids = torch.cat([own, *replaced])
    with torch.no_grad():
        said = [model(input_ids=rows, output_hidden_states=True) for rows in torch.split(ids, 256)]
    logits = torch.cat([each.logits for each in said])
    return Guide(model, ids, logits, torch.cat([torch.stack(each.hidden_states[1:], 1) for each in said]))


@cache
def run_cell(kind: str, augmentation: Any, mapping: Any, hidden: Any, prediction: Any, seed: int, quick: bool) -> Score:
    """Train the student of one recipe."""
    recipe = Recipe(augmentation=augmentation, mapping=mapping, hidden=hidden, prediction=prediction)
    bed, guide = make_bed(seed, quick), make_guide(kind, seed, quick)
    torch.manual_seed(seed)
    student = make_model(kind, *STUDENT)
    joined = [] if hidden == "none" else [LayerLoss(recipe, (STUDENT[1], TEACHER[1]), (STUDENT[0], TEACHER[0]))]

    def loss(ids: Tensor, logits: Tensor, states: Tensor) -> Tensor:
        own = student(input_ids=ids, output_hidden_states=bool(joined))
        total = recipe.kd_weight * BETWEEN_LOGITS[recipe.prediction](own.logits, logits, recipe.temperature)
        for between in joined:
            part = between(own.hidden_states[1:], states.unbind(1), ids != PAD)
            total = total + recipe.hidden_weight * part
        return total

    count = len(guide.ids) if augmentation == "replace" else len(bed.student[0])
    steps = 20 if quick else 96
    plan = Plan(epochs=max(1, steps // (count // BATCH)), batch=BATCH, lr=4e-3, seed=seed)
    fit([student, *joined], [tensor[:count] for tensor in guide[1:]], loss, plan)
    return Score(score(student, bed.validation), score(student, bed.test))


@torch.no_grad()
def score(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Percent of texts that are classified rightly."""
    found = torch.cat([model(input_ids=rows).logits.argmax(-1) for rows in torch.split(part[0], 512)])
    return float((found == part[1]).double().mean() * 100)
