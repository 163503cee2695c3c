"""SKD: distillation for modulation recognition (Hou et al., TWC 2024, arXiv 2312.17446, section IV).

Claim: small networks keep the accuracy of a large signal transformer with a fraction of its parameters and operations.

    loss = alpha T² KL(p || q) + (1 - alpha) CE

It is Hinton's; the novelty is the teacher (`networks.py`). alpha is on the TEACHER's term here, and on the labels' in
`logits.kd_with_labels`. A reconstruction: no public code was found.
"""

from __future__ import annotations

from torch import Tensor

from agentkd.methods.logits import kd_with_labels


def skd_loss(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, alpha: float = 0.5, temperature: float = 4.0
) -> Tensor:
    """The loss of a batch, mean over samples."""
    return kd_with_labels(student_BC, teacher_BC, labels_B, temperature, 1.0 - alpha)


def accuracy_by_ratio(logits_NC: Tensor, labels_N: Tensor, snr_db_N: Tensor) -> dict[float, float]:
    """The share of right answers at each ratio of signal to noise, ascending."""
    right = logits_NC.argmax(-1) == labels_N
    return {float(ratio): float(right[snr_db_N == ratio].double().mean()) for ratio in sorted(set(snr_db_N.tolist()))}
