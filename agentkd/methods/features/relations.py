"""Objectives on the relations between the samples of a batch, so that the widths of the two networks may differ.

Features [B, …] are flattened.

| objective | source | reduction |
|---|---|---|
| `pkt` | Passalis and Tefas, ECCV 2018, arXiv 1803.10837, equations 3 to 5 | mean over the B² pairs |
| `rkd` | Park et al., CVPR 2019, arXiv 1904.05068, equations 5 to 9 | mean over pairs and triples |
| `similarity` (SPKD) | Tung and Mori, ICCV 2019, arXiv 1907.09682, equations 2 to 4 | sum, divided by B² |
| `congruence` (CCKD) | Peng et al., ICCV 2019, arXiv 1904.01802, equations 3 to 9 | Frobenius norm, divided by B² |
| `congruence_of_neighbours` | RepDistiller's reading of the same paper | mean over neighbours in the batch |
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize, smooth_l1_loss

from agentkd.errors import UserError
from agentkd.methods.divergences import check_finite

PKT_EPS = 1e-7
COINCIDENT = 1e-12  # the least squared distance (RKD)


def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """Probabilistic knowledge transfer: the KL between distributions over the batch's similar samples.

    A row of cosine similarities, moved to (s + 1) / 2 and divided by its sum, is a distribution; 1e-7 stands inside
    the logarithm and in the norms, as in the official code. The mean is over all B² entries, not over rows."""
    q, p = (_neighbours(features) for features in _flat(student, teacher))
    return (p * ((p + PKT_EPS) / (q + PKT_EPS)).log()).mean()


def _neighbours(features_BD: Tensor) -> Tensor:
    unit: Tensor = features_BD / (vector_norm(features_BD, dim=-1, keepdim=True) + PKT_EPS)
    similar = (unit @ unit.T + 1.0) / 2.0
    return similar / similar.sum(-1, keepdim=True)


def rkd(student: Tensor, teacher: Tensor, *, distance: float = 25.0, angle: float = 50.0) -> Tensor:
    """Relational distillation: `distance` times the loss on pairs, plus `angle` times the loss on triples.

    Pairs: Euclidean distances divided by the mean of the positive ones; triples: the cosine of the angle at each middle
    sample; smooth L1 with beta 1. Coincident samples count as a distance of 1e-6, as in the official code. A batch of
    one has no pair: its loss is 0."""
    q, p = _flat(student, teacher)
    total = q[:0].sum()
    if len(q) < 2:
        return total
    if distance:
        total = total + distance * smooth_l1_loss(_relative_distances(q), _relative_distances(p))
    if angle:
        total = total + angle * smooth_l1_loss(_angles(q), _angles(p))
    return total


def _relative_distances(features_BD: Tensor) -> Tensor:
    squares = (features_BD[:, None] - features_BD[None]).square().sum(-1)
    others = ~torch.eye(len(squares), dtype=torch.bool, device=squares.device)
    distances = squares.clamp_min(COINCIDENT).sqrt() * others
    return distances / distances[others].mean()


def _angles(features_BD: Tensor) -> Tensor:
    """Cosines [B, B, B] at the first sample between the directions to the other two."""
    directions = normalize(features_BD[None] - features_BD[:, None], dim=-1)
    return directions @ directions.mT


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """Similarity-preserving distillation: the squared Frobenius distance of row-normalised Z Zᵀ, divided by B²."""
    q, p = (normalize(features @ features.T, dim=-1) for features in _flat(student, teacher))
    return (q - p).square().sum() / len(q) ** 2


def congruence(
    student: Tensor, teacher: Tensor, *, kernel: str = "bilinear", gamma: float = 0.4, order: int = 2, mean: bool = True
) -> Tensor:
    """Correlation congruence: the Frobenius distance of kernel matrices of the batch, divided by B² if `mean`.

    `bilinear` is Z Zᵀ. `gaussian` is the Taylor series of the RBF kernel of unit vectors up to `order`:
    exp(-2 gamma) sum over p of (2 gamma)^p / p! (z · z')^p. Nothing is normalised, as in torchdistill."""
    if kernel not in ("bilinear", "gaussian"):
        raise UserError(f"kernel is {kernel!r}: choose bilinear or gaussian")

    def matrix(features: Tensor) -> Tensor:
        products = features @ features.T
        if kernel == "bilinear":
            return products
        terms = [(2.0 * gamma) ** p / math.factorial(p) * products**p for p in range(order + 1)]
        return math.exp(-2.0 * gamma) * torch.stack(terms).sum(0)

    q, p = _flat(student, teacher)
    norm: Tensor = vector_norm(matrix(q) - matrix(p))
    check_finite("kernel matrices of features so large", norm)
    return norm / len(q) ** 2 if mean else norm


def congruence_of_neighbours(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over samples i of sum over d of |f_s - f_t| of i times that of i + 1. Widths must agree.

    A batch of one has no neighbours: its loss is 0."""
    q, p = _flat(student, teacher)
    if q.shape != p.shape:
        raise UserError(f"embeddings are {list(q.shape)} and {list(p.shape)}: project them to the same width")
    apart = (q - p).abs()
    return (apart[:-1] * apart[1:]).sum() / max(1, len(q) - 1)


def _flat(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if len(student) != len(teacher):
        raise UserError(f"features of {len(student)} and {len(teacher)} samples: give the same batch to both networks")
    check_finite("features", student, teacher)
    return student.flatten(1), teacher.flatten(1)
