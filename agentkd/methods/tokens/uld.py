"""ULD between two vocabularies: sorted probabilities (Boizard et al., arXiv 2402.12030, section 3.2), and GOLD's form.

Claim: two models of different vocabularies can be compared by the shape of their distributions: both sorted in
descending order, the shorter filled with zeros, L1 distance summed over the ranks. Here: mean over the first min(n, m)
answer tokens of each SEQUENCE, then over sequences; logits and labels as the models have them.

Where an answer begins is not agreed on:

- `official`: at the position that PREDICTS its first token, if labels begin with -100, else at 0 (one off)
- `observed` (TRL's default): at its first token itself, one later
- `bayesian` (TRL): at the position that predicts it; a row without a prompt loses its first token

TRL's GOLD (Patiño et al. 2025) joins tokens to spans where both tokenizers cut the text: the probabilities of a span
are those of its first token times the probabilities of the later tokens that stand there (`observed`), or of its last
times the earlier ones (`bayesian`). Its hybrid compares tokens that both vocabularies have by a JSD, and sorts the
others.
The trainer's own loss over top-K scores is `agentkd/distill/lessons/uld.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from agentkd.errors import UserError
from agentkd.methods.divergences import log_probs
from agentkd.methods.tokens.gkd import jsd_of_parts
from agentkd.methods.tokens.masked import IGNORED

LEAST = 1e-8
START = ("official", "observed", "bayesian")


class Side(NamedTuple):
    """One model's logits [B, L, V] and labels [B, L], and for spans its token ids [B, L] and the bytes of the text at
    which each token begins and ends [B, L, 2]. `skip_last` leaves out an answer's last token (EOS)."""

    logits: Tensor
    labels: Tensor
    ids: Tensor | None = None
    offsets: Tensor | None = None
    temperature: float = 1.0
    skip_last: bool = False


class Hybrid(NamedTuple):
    """The tokens that both vocabularies have, as pairs of ids, the weights of the two parts, and the JSD's beta.

    Without weights the matched part has the share of the teacher's vocabulary that matches."""

    student: Sequence[int]
    teacher: Sequence[int]
    weights: tuple[float, float] | None = None
    beta: float = 0.5


class Rules(NamedTuple):
    """`start` is where an answer begins; `spans` joins tokens."""

    start: str = "official"
    spans: bool = False


def sorted_distance(student_NV: Tensor, teacher_NW: Tensor) -> Tensor:
    """The L1 distance [N] of two rows of probabilities, both sorted in descending order."""
    width = max(student_NV.shape[-1], teacher_NW.shape[-1])
    own, other = (
        pad(values.sort(dim=-1, descending=True).values, (0, width - values.shape[-1]))
        for values in (student_NV, teacher_NW)
    )
    return (own - other).abs().sum(-1)


def uld_loss(student: Side, teacher: Side, rules: Rules = Rules(), hybrid: Hybrid | None = None) -> Tensor:  # noqa: B008
    """The mean over sequences. A sequence without an answer on one side counts 0."""
    if rules.start not in START:
        raise UserError(f"start is {rules.start!r}: choose one of {', '.join(START)}")
    if len(student.logits) != len(teacher.logits):
        raise UserError(f"{len(student.logits)} and {len(teacher.logits)} sequences: give both models the same texts")
    rows = [_row_loss(student, teacher, row, rules, hybrid) for row in range(len(student.logits))]
    return torch.stack(rows).mean()


class _Answer(NamedTuple):
    p: Tensor  # [n, V], p[k] belongs to ids[k]
    ids: list[int]
    ends: list[int]


def _row_loss(student: Side, teacher: Side, row: int, rules: Rules, hybrid: Hybrid | None) -> Tensor:
    drop = (0, 0)
    if rules.start == "bayesian" and any(_first(side.labels[row]) == 0 for side in (student, teacher)):
        drop = (1, 1)
        if rules.spans:
            both = (
                _answer(student, row, rules._replace(start="observed"), 0),
                _answer(teacher, row, rules._replace(start="observed"), 0),
            )
            groups = align_ends(both[0].ends, both[1].ends)
            drop = (len(groups[0][0]), len(groups[0][1])) if groups else (len(both[0].ids), len(both[1].ids))
    own, other = _answer(student, row, rules, drop[0]), _answer(teacher, row, rules, drop[1])
    q, p = own.p, other.p
    if not len(q) or not len(p):
        return student.logits[row, :0].sum()
    if rules.spans:
        groups = [pair for pair in align_ends(own.ends, other.ends) if all(pair)]
        q, p = (
            _join(answer, [group[side] for group in groups], last=rules.start == "bayesian")
            for side, answer in enumerate((own, other))
        )
    else:
        q, p = q[: len(p)], p[: len(q)]
    if not len(q):
        return student.logits[row, :0].sum()
    return sorted_distance(q, p).mean() if hybrid is None else _hybrid_loss(q, p, hybrid)


def _first(labels_L: Tensor) -> int:
    """The place of the first label, -1 where there is none."""
    places = (labels_L != IGNORED).nonzero()
    return int(places[0]) if len(places) else -1


def _answer(side: Side, row: int, rules: Rules, drop: int) -> _Answer:
    first, labels = _first(side.labels[row]), side.labels[row]
    size = max(0, int((labels != IGNORED).sum()) - int(side.skip_last) - drop)
    begin = max(0, first) + drop
    at = begin if rules.start == "observed" else max(0, begin - 1)
    p = log_probs(side.logits[row, at : at + size], side.temperature).exp() if size else side.logits[row, :0]
    ids = [] if side.ids is None else side.ids[row, begin : begin + size].tolist()
    ends = [] if side.offsets is None else side.offsets[row, begin : begin + size, 1].tolist()
    if rules.spans and (side.ids is None or side.offsets is None):
        raise UserError("spans need each token's id and its bytes in the text: give ids and offsets of both sides")
    return _Answer(p, ids, ends)


def align_ends(ends_a: Sequence[int], ends_b: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Join tokens to groups that end at the same byte on both sides; what is left over is one last group.

    GOLD's rule: unlike `agentkd/distill/lessons/alignment.py` it does not ask that the texts be the same, and a token
    that writes nothing closes no group by itself."""
    groups: list[tuple[list[int], list[int]]] = []
    begin_a = begin_b = a = b = 0
    while a < len(ends_a) and b < len(ends_b):
        step_a, step_b = ends_a[a] <= ends_b[b], ends_b[b] <= ends_a[a]
        a, b = a + step_a, b + step_b
        if step_a and step_b:
            groups.append((list(range(begin_a, a)), list(range(begin_b, b))))
            begin_a, begin_b = a, b
    if a < len(ends_a) or b < len(ends_b):
        groups.append((list(range(begin_a, len(ends_a))), list(range(begin_b, len(ends_b)))))
    return groups


def _join(answer: _Answer, groups: Sequence[Sequence[int]], last: bool) -> Tensor:
    rows = []
    for group in groups:
        base, scalars = (group[-1], group[:-1]) if last else (group[0], group[1:])
        joined = answer.p[base]
        for place in scalars:
            joined = joined * answer.p[place, answer.ids[place]].clamp_min(LEAST)
        rows.append(joined)
    return torch.stack(rows) if rows else answer.p[:0]


def _hybrid_loss(q_NV: Tensor, p_NW: Tensor, hybrid: Hybrid) -> Tensor:
    matched = q_NV[:0].sum()
    if len(hybrid.student):
        matched = jsd_of_parts(q_NV[:, list(hybrid.student)], p_NW[:, list(hybrid.teacher)], beta=hybrid.beta)
    own, other = (
        values[:, [place for place in range(values.shape[-1]) if place not in known]]
        for values, known in ((q_NV, set(hybrid.student)), (p_NW, set(hybrid.teacher)))
    )
    apart = sorted_distance(own, other).mean() if own.shape[-1] and other.shape[-1] else q_NV[:0].sum()
    share = len(hybrid.teacher) / max(1, p_NW.shape[-1])
    weights = hybrid.weights or (share, 1.0 - share)
    return weights[0] * matched + weights[1] * apart
