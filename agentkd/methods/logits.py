"""Objectives on the logits of two classifiers [B, C] that several papers share.

Every function sums over classes and takes the mean over the batch. p is the teacher, q the student; natural logarithms.
The teacher is whatever is passed as `teacher`: detach it, or compute it under `no_grad`.

| objective | source |
|---|---|
| `kd`, `kd_with_labels` | Hinton, Vinyals and Dean 2015, arXiv 1503.02531, section 2 |
| `dkd` | Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, arXiv 2203.08679, equation 7 |
| `dist` | Huang et al., Distillation from a Stronger Teacher, NeurIPS 2022, arXiv 2205.10536, equations 5 to 8 |
| `logit_standardisation` | Sun et al., CVPR 2024, arXiv 2403.01427, algorithm 1 |
| `mutual` | Zhang et al., Deep Mutual Learning, CVPR 2018, arXiv 1706.00384, equations 3 to 6 |
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import cosine_similarity

from agentkd.errors import UserError
from agentkd.methods.divergences import check_shapes, forward_kl, log_probs

MUTUAL_EPS = 1e-8


def kd(student_BC: Tensor, teacher_BC: Tensor, temperature: float = 4.0, *, scale: bool = True) -> Tensor:
    """T² KL(p || q), both at temperature T. `scale=False` leaves T² out, as torchdistill does without a label term.

    T² keeps the size of the gradient about the same when T changes (Hinton et al., section 2)."""
    check_shapes(student_BC, teacher_BC)
    loss = forward_kl(log_probs(teacher_BC, temperature), log_probs(student_BC, temperature)).mean()
    return loss * temperature**2 if scale else loss


def kd_with_labels(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, temperature: float = 4.0, alpha: float = 0.1
) -> Tensor:
    """alpha CE(student at T = 1, labels) + (1 - alpha) T² KL(p || q)."""
    hard = label_loss(student_BC, labels_B)
    return hard if alpha == 1.0 else alpha * hard + (1.0 - alpha) * kd(student_BC, teacher_BC, temperature)


def label_loss(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy with labels [B]; UserError for a label that is no class."""
    check_labels(labels_B, logits_BC.shape[-1])
    return -log_probs(logits_BC).gather(-1, labels_B[:, None]).mean()


def check_labels(labels_B: Tensor, classes: int) -> None:
    """Raise UserError for a label that is no class."""
    if labels_B.numel() and not bool(((labels_B >= 0) & (labels_B < classes)).all()):
        raise UserError(
            f"labels run from {int(labels_B.min())} to {int(labels_B.max())}, but there are {classes} classes: "
            f"give labels from 0 to {classes - 1}"
        )


def dkd(
    student_BC: Tensor,
    teacher_BC: Tensor,
    labels_B: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """T² (alpha TCKD + beta NCKD): the KL of target against the rest, and the KL among the other classes.

    The official code hides the target by lowering its logit by 1000 after the division by T, which fails for logits
    beyond about 1000 T; here it is left out exactly. With two classes NCKD is 0, with one class both are. The official
    training multiplies the loss by min(epoch / 20, 1) and adds the cross-entropy: that is the caller's part."""
    check_shapes(student_BC, teacher_BC)
    check_labels(labels_B, student_BC.shape[-1])
    if student_BC.shape[-1] == 1:
        return student_BC[:0].sum()
    log_p, log_q = log_probs(teacher_BC, temperature), log_probs(student_BC, temperature)
    target = torch.nn.functional.one_hot(labels_B, student_BC.shape[-1]).bool()
    p_rest, q_rest = (log_x.masked_fill(target, -torch.inf) for log_x in (log_p, log_q))
    p_binary, q_binary = (
        torch.stack([log_x[target], rest.logsumexp(-1)], -1) for log_x, rest in ((log_p, p_rest), (log_q, q_rest))
    )
    # Among the others alone: of the logits, because the mass of a sure model's others is lost in rounding.
    among = [
        log_probs(logits.masked_fill(target, -torch.inf), temperature).masked_fill(target, 0.0)
        for logits in (teacher_BC, student_BC)
    ]
    others = (among[0].exp().masked_fill(target, 0.0) * (among[0] - among[1])).sum(-1)
    return (alpha * forward_kl(p_binary, q_binary) + beta * others).mean() * temperature**2


def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    form: str = "official",
) -> Tensor:
    """beta (1 - mean correlation across classes) + gamma (1 - mean correlation across the batch), of probabilities.

    Logits are [B, C], or [B, C, H, W], where every pixel is a sample. `form` says what is done with the temperature
    and with a variance of 0:

    - `official`: no T²; 1e-8 is added to the product of the norms (the authors' class knows no temperature)
    - `scaled`: as `official`, times T² (OFA-KD's copy)
    - `torchdistill`: times T², norms are at least 1e-8
    """
    check_shapes(student, teacher)
    if form not in ("official", "scaled", "torchdistill"):
        raise UserError(f"form is {form!r}: choose official, scaled or torchdistill")
    q, p = (_samples(logits) for logits in (student, teacher))
    q, p = log_probs(q, temperature).exp(), log_probs(p, temperature).exp()

    def correlation(a: Tensor, b: Tensor) -> Tensor:
        a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
        if form == "torchdistill":
            return cosine_similarity(a, b, dim=-1).mean()
        norms: Tensor = vector_norm(a, dim=-1) * vector_norm(b, dim=-1)
        return ((a * b).sum(-1) / (norms + 1e-8)).mean()

    loss = beta * (1.0 - correlation(q, p)) + gamma * (1.0 - correlation(q.T, p.T))
    return loss if form == "official" else loss * temperature**2


def _samples(logits: Tensor) -> Tensor:
    """[B, C, H, W] as [B H W, C]."""
    return logits if logits.dim() == 2 else logits.movedim(1, -1).reshape(-1, logits.shape[1])


def standardise(logits_BC: Tensor, eps: float = 1e-7) -> Tensor:
    """(z - mean) / (std + eps) of each row, with the unbiased standard deviation (n - 1); of one class: 0."""
    if logits_BC.shape[-1] == 1:
        return logits_BC - logits_BC  # its standard deviation is 0 / 0, and its softmax is 1 whatever it is
    return (logits_BC - logits_BC.mean(-1, keepdim=True)) / (eps + logits_BC.std(-1, keepdim=True))


def logit_standardisation(
    student_BC: Tensor, teacher_BC: Tensor, temperature: float = 2.0, *, scale: bool = False
) -> Tensor:
    """KL(p || q) of standardised logits at temperature T; `scale` multiplies by T².

    The official code multiplies by T² and by a weight (9 in its scripts); torchdistill leaves T² out without labels."""
    check_shapes(student_BC, teacher_BC)
    return kd(standardise(student_BC), standardise(teacher_BC), temperature, scale=scale)


def logit_standardisation_with_labels(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, temperature: float = 2.0, alpha: float = 0.5
) -> Tensor:
    """alpha CE(raw student logits, labels) + (1 - alpha) T² KL of standardised logits."""
    soft = logit_standardisation(student_BC, teacher_BC, temperature, scale=True)
    return alpha * label_loss(student_BC, labels_B) + (1.0 - alpha) * soft


def mutual(own_BC: Tensor, peers_BC: Sequence[Tensor], *, average: bool = False) -> Tensor:
    """The mimicry term of one of several students that learn together: the sum over peers j of KL(p_j || p_own), T = 1.

    Peers are constant here (each network has its own optimiser). The official code adds 1e-8 inside the logarithm,
    and so does this: equal predictions give about 1e-8, not 0. `average` divides by the number of peers, as the paper
    does for more than two students and the code does not. Add the cross-entropy."""
    own = log_probs(own_BC).exp()
    total = own.new_zeros(())
    for peer_BC in peers_BC:
        check_shapes(own_BC, peer_BC)
        peer = log_probs(peer_BC.detach()).exp()
        total = total + (peer * (MUTUAL_EPS + peer / (own + MUTUAL_EPS)).log()).sum(-1).mean()
    return total / len(peers_BC) if average and peers_BC else total


def soft_label_loss(logits_BC: Tensor, targets_BC: Tensor) -> Tensor:
    """- sum over classes of y log q with soft labels y [B, C], mean over the batch."""
    check_shapes(logits_BC, targets_BC, "logits and targets")
    return -(targets_BC * log_probs(logits_BC)).sum(-1).mean()
