"""Contrastive representation distillation (CRD): Tian, Krishnan and Isola, ICLR 2020, arXiv 1910.10699, section 3.

Claim: the student keeps what its features have in common with the teacher's, beyond single samples.

With x = exp(bank row · embedding / T) / Z, m = K negatives and n samples in the banks, one side's loss is

    - sum log(x⁺ / (x⁺ + m/n + 1e-7)) - sum over negatives log((m/n) / (x⁻ + m/n + 1e-7)), divided by B.

The student's embedding meets the teacher's bank, and the teacher's meets the student's; the loss is the sum of both.
As in the official code, Z is estimated on the first batch (`z` None or not positive) and stays for the whole run.
Logarithms are kept throughout, so that a small T overflows nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from agentkd.methods.divergences import check_finite

CRD_EPS = 1e-7


class Banks(NamedTuple):
    """Embeddings of all samples [n, D], of L2 norm 1, and the normalising constants of both sides once known."""

    student: Tensor
    teacher: Tensor
    z_student: float | None = None
    z_teacher: float | None = None


class Contrast(NamedTuple):
    """Both sides' losses, and the banks for the next batch."""

    student: Tensor
    teacher: Tensor
    banks: Banks

    @property
    def total(self) -> Tensor:
        return self.student + self.teacher


def crd(
    student_BD: Tensor,
    teacher_BD: Tensor,
    banks: Banks,
    candidates_BK: Tensor,
    *,
    temperature: float = 0.07,
    momentum: float = 0.5,
) -> Contrast:
    """The loss of a batch of embeddings of L2 norm 1.

    `candidates_BK` [B, K + 1] are rows of the banks: the sample itself first, then its K negatives. The banks come back
    with this batch's rows moved towards the new embeddings (momentum on the old) and normalised."""
    check_finite("embeddings", student_BD, teacher_BD, banks.student, banks.teacher)
    log_s, z_student = _log_scores(student_BD, banks.teacher, candidates_BK, temperature, banks.z_student)
    log_t, z_teacher = _log_scores(teacher_BD, banks.student, candidates_BK, temperature, banks.z_teacher)
    n, rows = len(banks.student), candidates_BK[:, 0]
    after = Banks(
        _moved(banks.student, rows, student_BD, momentum),
        _moved(banks.teacher, rows, teacher_BD, momentum),
        z_student,
        z_teacher,
    )
    return Contrast(_contrast(log_s, n), _contrast(log_t, n), after)


def _log_scores(
    embedding_BD: Tensor, bank_ND: Tensor, candidates_BK: Tensor, temperature: float, z: float | None
) -> tuple[Tensor, float]:
    """log x [B, K + 1], and Z."""
    scores = torch.einsum("bkd,bd->bk", bank_ND[candidates_BK], embedding_BD) / temperature
    log_z = math.log(z) if z and z > 0 else None
    if log_z is None:
        log_z = float(scores.detach().flatten().logsumexp(0)) - math.log(scores.numel()) + math.log(len(bank_ND))
    return scores - log_z, z if z and z > 0 else math.exp(min(log_z, 700.0))


def _contrast(log_x: Tensor, n: int) -> Tensor:
    noise = (log_x.shape[1] - 1) / n
    log_noise = math.log(noise + CRD_EPS)
    positive, negative = log_x[:, 0], log_x[:, 1:]
    at_positive = positive - torch.logaddexp(positive, torch.full_like(positive, log_noise))
    total = at_positive.sum()
    if negative.numel():
        total = total + (math.log(noise) - torch.logaddexp(negative, torch.full_like(negative, log_noise))).sum()
    return -total / len(log_x)


@torch.no_grad()
def _moved(bank_ND: Tensor, rows_B: Tensor, embedding_BD: Tensor, momentum: float) -> Tensor:
    bank = bank_ND.clone()
    bank[rows_B] = normalize(momentum * bank[rows_B] + (1.0 - momentum) * embedding_BD)
    return bank
