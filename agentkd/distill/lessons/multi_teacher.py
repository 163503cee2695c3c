"""`--method multi-teacher`: several teachers of the student's vocabulary, mixed or chosen by example.

- `teachers=mix`: the student learns the weighted arithmetic mean of their distributions (You et al., Learning from
  Multiple Teacher Networks, KDD 2017, section 3.1, with equal weights).
- `teachers=route`: every example is learned from the teacher that finds its verified target likeliest, a token.

Each teacher is asked in a scoring pass of its own (`scoring.py`, one folder each); the loss is that of `logits.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agentkd.config import DistillConfig
from agentkd.distill.data.teacher_scores import Scores, padded, teacher_scores
from agentkd.distill.lessons.logits import Lesson, batch_loss
from agentkd.errors import UserError
from agentkd.runs.progress import say


class Collator:
    """As `logits.Collator`, of what `known` says of a row: `ids`, `log_p` [T, M] of its T target tokens."""

    def __init__(self, known: Callable[[int], tuple[Tensor, Tensor]], pad: int) -> None:
        self.known, self.pad = known, pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        ids, log_p = zip(*(self.known(row["row"]) for row in rows), strict=True)
        # Rows of a mixture hold more or fewer different ids: filled up with -1, which is no token.
        width = max(part.shape[-1] for part in ids)
        fill = torch.nn.functional.pad
        return {
            **padded(rows, self.pad),
            "teacher_ids": torch.cat([fill(part, (0, width - part.shape[-1]), value=-1) for part in ids]),
            "teacher_log_p": torch.cat([fill(part, (0, width - part.shape[-1])) for part in log_p]),
        }


def prepare(config: DistillConfig, tokenizer: Any, rows: Sequence[dict[str, list[int]]], folder: Path) -> Lesson:
    """Every teacher's scores over these rows, and how to learn from them. `train.prepare` has compared vocabularies.

    Raises UserError for fewer than two teachers, or weights that do not fit."""
    teachers = config.teacher_specs
    if len(set(teachers)) < max(2, len(teachers)):
        raise UserError(f"multi-teacher has teacher={config.teacher}: name two or more different models, by commas")
    weights = parse_weights(config)
    scores = [teacher_scores(name, rows, folder / str(n), config.top_k) for n, name in enumerate(teachers, start=1)]
    nll = [round(-float(one.target.mean()), 4) for one in scores]
    facts: dict[str, Any] = {"teacher_nll": dict(zip(teachers, nll, strict=True))}
    say("nats a target token: " + ", ".join(f"{name} {nll:.3f}" for name, nll in facts["teacher_nll"].items()))

    def mean(row: int) -> tuple[Tensor, Tensor]:
        ids, log_p = zip(*(one.of(row) for one in scores), strict=True)
        return mixture(torch.from_numpy(np.stack(ids)), torch.from_numpy(np.stack(log_p)), weights)

    chosen = likeliest(scores, len(rows))

    def best(row: int) -> tuple[Tensor, Tensor]:
        ids, log_p = scores[chosen[row]].of(row)
        return torch.from_numpy(ids), torch.from_numpy(log_p)

    if config.teachers == "route":
        counts = Counter(chosen)
        facts["chosen"] = {name: counts[number] for number, name in enumerate(teachers)}
        say("examples learned from: " + ", ".join(f"{name} {count}" for name, count in facts["chosen"].items()))
    known = best if config.teachers == "route" else mean
    return Lesson(batch_loss(config), Collator(known, tokenizer.pad_token_id), facts)


def parse_weights(config: DistillConfig) -> Tensor:
    """One weight a teacher, their sum 1. Raises UserError for others than positive numbers, or where none is used."""
    count = len(config.teacher_specs)
    if config.weights is None:
        return torch.full((count,), 1.0 / count)
    if config.teachers != "mix":
        raise UserError(f"weights={config.weights} is for teachers=mix: leave it out, or mix")
    try:
        values = [float(word) for word in config.weights.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(0.0 < value < float("inf") for value in values):
        raise UserError(f"weights is {config.weights!r}: give {count} positive numbers, one a teacher, by commas")
    return torch.tensor(values) / sum(values)


def mixture(ids_INK: Tensor, log_p_INK: Tensor, weights_I: Tensor) -> tuple[Tensor, Tensor]:
    """What is known of the mean of I teachers' distributions from the K likeliest tokens of each: the union of their
    ids [N, M] with log-probabilities, M <= I K; -1 fills up.

    A token that only some of them list gets their share alone; what the others would give it (each at most its own
    K-th probability) is part of their missing mass, and so of the mean's, which `rest` deals with. With K = V it is
    the mean.
    """
    ids = ids_INK.transpose(0, 1).flatten(1)
    p = (log_p_INK.exp() * weights_I[:, None, None]).transpose(0, 1).flatten(1)
    ids, order = ids.sort(dim=-1)
    p = p.gather(-1, order)
    new = torch.ones_like(ids, dtype=torch.bool)
    new[:, 1:] = ids[:, 1:] != ids[:, :-1]
    place = new.cumsum(-1) - 1
    union = torch.full_like(ids, -1).scatter(-1, place, ids)
    total = torch.zeros_like(p).scatter_add(-1, place, p)
    width = int(place.max()) + 1 if len(place) else 1
    # Never -inf, of which a divergence would make a NaN: float32 knows no exp(-104).
    return union[:, :width], total[:, :width].clamp_min(torch.finfo(total.dtype).tiny).log()


def likeliest(scores: Sequence[Scores], rows: int) -> list[int]:
    """For each row the teacher that gives its target tokens the highest mean log-probability; the first of equals."""
    found = np.array([[one.of_target(row).mean() for one in scores] for row in range(rows)])
    return [int(number) for number in found.argmax(axis=1)]
