"""Distiller: which component of a distillation of language models counts (He et al., SustaiNLP 2021, arXiv 2109.11105).

Claims: the intermediate loss counts most; MI-alpha (`bounds.interpolated`) is best when tuned; augmentation helps.

Losses between a student's and a teacher's states of one layer, as in the authors' library: hidden states [B, L, D],
attention [B, H, L, L], class logits [B, C], `mask` [B, L], True where a token counts. Each function names its
reduction. A batch without any token that counts has loss 0. Kept of the official code: `state_products` divides by the
width without a mask and by the length with one; without a mask, entries of attention of at most -0.001 are taken for
the padding of additive masks and left out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import cosine_embedding_loss

from agentkd.errors import UserError
from agentkd.methods.divergences import check_features, check_shapes, log_probs, soft_cross_entropy

PADDING = -1e-3


def map_layers(student: int, teacher: int, how: str = "skip") -> list[tuple[int, int]]:
    """Which layer of the student learns from which of the teacher, 0-based (section 3.2).

    `skip` spreads the student's layers evenly over the teacher's, the last on the last; `last` takes the teacher's last
    ones. (The paper's EMD learns the pairing.)"""
    if not 1 <= student <= teacher:
        raise UserError(f"{student} layers of a student for {teacher} of a teacher: give 1 to {teacher}")
    if how == "last":
        return [(layer, teacher - student + layer) for layer in range(student)]
    if how != "skip":
        raise UserError(f"the mapping of layers is {how!r}: choose skip or last")
    return [(layer, (layer + 1) * teacher // student - 1) for layer in range(student)]


def logits_ce(student_BC: Tensor, teacher_BC: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """- sum p log q at T, without T², mean over the batch. T is a number, or one for each sample [B]."""
    check_shapes(student_BC, teacher_BC)
    cool = _per_sample(temperature)
    return soft_cross_entropy(log_probs(teacher_BC, cool), log_probs(student_BC, cool)).mean()


def logits_mse(student_BC: Tensor, teacher_BC: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """The mean over all entries of the squared difference of logits / T."""
    check_features(student_BC, teacher_BC, "logits")
    return ((student_BC - teacher_BC) / _per_sample(temperature)).square().mean()


def _per_sample(temperature: float | Tensor) -> float | Tensor:
    if not bool((torch.as_tensor(temperature) > 0).all()):
        raise UserError(f"temperature is {float(torch.as_tensor(temperature).min())}: give numbers above 0")
    return temperature[..., None] if isinstance(temperature, Tensor) and temperature.dim() else temperature


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """The squared difference, mean over tokens and width."""
    check_features(student, teacher, "hidden states")
    return _token_mean((student - teacher).square().mean(-1), mask)


def hidden_ce(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """The soft cross-entropy of softmaxes over the width, mean over tokens."""
    check_features(student, teacher, "hidden states")
    return _token_mean(soft_cross_entropy(log_probs(teacher), log_probs(student)), mask)


def hidden_cosine(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - cosine, mean over tokens; a zero vector has cosine 0."""
    check_features(student, teacher, "hidden states")
    own, other = student.flatten(0, -2), teacher.flatten(0, -2)
    apart = cosine_embedding_loss(own, other, torch.ones_like(own[:, 0]), reduction="none")
    return _token_mean(apart.reshape(student.shape[:-1]), mask)


def first_token(student: Tensor, teacher: Tensor) -> Tensor:
    """Patient KD: the squared distance of L2-normalised first tokens ([B, L, D] or [B, D]), mean over B."""
    own, other = (states[:, 0] if states.dim() == 3 else states for states in (student, teacher))
    check_features(own, other, "hidden states")
    return (_unit(own) - _unit(other)).square().sum(-1).mean()


def _unit(states: Tensor) -> Tensor:
    unit: Tensor = states / vector_norm(states, dim=-1, keepdim=True).clamp_min(torch.finfo(states.dtype).tiny)
    return unit


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, heads: str = "each") -> Tensor:
    """The squared difference of attention. `heads`: `each`, or `sum`, which adds them up first.

    Without a mask the mean over all entries; with one the mean over heads and pairs of tokens that count."""
    check_features(student, teacher, "attention maps")
    if heads == "sum" and student.dim() == 4:
        student, teacher = student.sum(1), teacher.sum(1)
    if mask is None:
        student, teacher = (torch.where(maps <= PADDING, torch.zeros_like(maps), maps) for maps in (student, teacher))
        return (student - teacher).square().mean()
    counts = mask.to(student.dtype)
    pairs = counts[:, :, None] * counts[:, None]
    lengths = counts.sum(-1).square().sum()
    if heads != "sum" and student.dim() == 4:
        pairs, lengths = pairs[:, None], lengths * student.shape[1]
    return ((student - teacher).square() * pairs).sum() / lengths.clamp_min(1.0)


def attention_ce(student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, heads: str = "each") -> Tensor:
    """The soft cross-entropy of attention scores, softmax over the last axis. `heads`: `each`, or `mean` of them first.

    Without a mask the mean over queries; with one the sum over queries and keys that count, divided by their number of
    queries (and heads). The softmaxes themselves are over all keys."""
    check_features(student, teacher, "attention maps")
    if heads == "mean" and student.dim() == 4:
        student, teacher = student.mean(1), teacher.mean(1)
    p, log_q = log_probs(teacher).exp(), log_probs(student)
    if mask is None:
        return -(p.masked_fill(teacher <= PADDING, 0.0) * log_q).sum(-1).mean()
    counts = mask.to(student.dtype)
    if student.dim() == 4:
        counts = counts[:, None].expand(-1, student.shape[1], -1)
    total = -((p * log_q * counts[..., None, :]).sum(-1) * counts).sum()
    return total / counts.sum().clamp_min(1.0)


def layer_flow(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
    """FSP between two layers: S1ᵀ S2 / length [B, D, D], mean squared difference. Widths must agree."""
    if mask is None:
        length: Tensor | int = student[0].shape[1]
    else:
        counts = mask.to(student[0].dtype)[..., None]
        length = counts.sum(1, keepdim=True).clamp_min(1.0)
        student, teacher = ((first * counts, second * counts) for first, second in (student, teacher))
    own, other = (first.mT @ second / length for first, second in (student, teacher))
    check_features(own, other, "flow matrices")
    return (own - other).square().mean()


def state_products(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], mask: Tensor | None = None
) -> Tensor:
    """MMD in the authors' words: S1 S2ᵀ [B, L, L], squared difference. Widths may differ."""
    axis = 2 if mask is None else 1
    own, other = (first @ second.mT / second.shape[axis] for first, second in (student, teacher))
    check_features(own, other, "products of states")
    apart = (own - other).square()
    if mask is None:
        return apart.mean()
    counts = mask.to(apart.dtype)
    pairs = counts[:, :, None] * counts[:, None]
    return (apart * pairs).sum() / pairs.sum().clamp_min(1.0)


def _token_mean(values_BL: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values_BL.mean()
    return torch.where(mask, values_BL, 0.0).sum() / mask.sum().clamp_min(1)
