"""`--method multi-teacher`: several teachers of the student's vocabulary, mixed or chosen by example.

- `teachers=mix`: the student learns the weighted arithmetic mean of their distributions (You et al., Learning from
  Multiple Teacher Networks, KDD 2017, section 3.1, with equal weights).
- `teachers=route`: every example is learned from the teacher that gives its verified target the highest likelihood per
  token.

Each teacher makes its own scoring pass in its own folder; the loss is that of `logits.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agentkd.distill.data.teacher_scores import Scores, load_scores
from agentkd.distill.data.tokens import TrainingData
from agentkd.distill.lessons.logits import TopKCollator, batch_loss, read_softening
from agentkd.distill.lessons.teacher_signal import TeacherSignal, read_loss_options
from agentkd.distill.resolve import Stage
from agentkd.errors import UserError
from agentkd.runs.progress import say


def make_signal(stage: Stage, data: TrainingData, folder: Path) -> TeacherSignal:
    """Score the rows with every teacher, whose vocabularies `prepare_data` has compared, and learn their mean, or the
    best of them for each row. Raises UserError for fewer than two teachers, or weights that do not fit."""
    config, names = stage.config, stage.teachers
    if len(set(names)) < max(2, len(names)):
        raise UserError(f"multi-teacher has teacher={config.teacher}: name two or more different models, by commas")
    weights, softening = parse_weights(stage), read_softening(stage)
    scores = [
        load_scores(teacher, data.student.tokenizer, data.rows, folder / str(number), config.top_k, softening)
        for number, teacher in enumerate(data.teachers, start=1)
    ]
    nll = [round(-float(one.target.mean()), 4) for one in scores]
    facts: dict[str, Any] = {"teacher_nll": dict(zip(names, nll, strict=True))}
    say("nats a target token: " + ", ".join(f"{name} {nll:.3f}" for name, nll in facts["teacher_nll"].items()))
    choice = choose_teachers(scores, len(data.rows))
    if config.teachers == "route":
        counts = Counter(choice)
        facts["chosen"] = {name: counts[number] for number, name in enumerate(names)}
        say("examples learned from: " + ", ".join(f"{name} {count}" for name, count in facts["chosen"].items()))

    def mean_top_k(row: int) -> tuple[Tensor, Tensor]:
        ids, log_p = zip(*(one.top_k_of(row) for one in scores), strict=True)
        return mix_top_k(torch.from_numpy(np.stack(ids)), torch.from_numpy(np.stack(log_p)), weights)

    def best_top_k(row: int) -> tuple[Tensor, Tensor]:
        ids, log_p = scores[choice[row]].top_k_of(row)
        return torch.from_numpy(ids), torch.from_numpy(log_p)

    top_k = best_top_k if config.teachers == "route" else mean_top_k
    collator = TopKCollator(top_k, data.student.tokenizer.pad_token_id)
    return TeacherSignal(batch_loss(read_loss_options(stage)), collator, facts)


def parse_weights(stage: Stage) -> Tensor:
    """One weight per teacher, their sum 1. Raises UserError for anything but positive numbers, or with `route`."""
    config, count = stage.config, len(stage.teachers)
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


def mix_top_k(ids_INK: Tensor, log_p_INK: Tensor, weights_I: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of I teachers' distributions, as far as the K likeliest tokens of each tell: the union of their ids
    [N, M] with log-probabilities, M <= I K, filled up with the id -1.

    A token that only some of them list gets their share alone. What the others would give it (each at most its own
    K-th probability) is part of their missing mass, and so of the mean's, which `rest` deals with. With K = V this is
    the exact mean.
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
    # Never -inf, which a divergence would turn into NaN: float32 has no exp(-104).
    return union[:, :width], total[:, :width].clamp_min(torch.finfo(total.dtype).tiny).log()


def choose_teachers(scores: Sequence[Scores], rows: int) -> list[int]:
    """For each row, the number of the teacher that gives its target tokens the highest mean log-probability; the first
    of equals."""
    found = np.array([[one.target_log_p(row).mean() for one in scores] for row in range(rows)])
    return [int(number) for number in found.argmax(axis=1)]
