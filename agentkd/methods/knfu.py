"""KnFu: effective knowledge fusion between clients (Seyedmohammadi et al. 2024, arXiv 2403.11892). A reconstruction.

Claim: each client should learn from those whose knowledge fits its own data, not from the mean of all.

Clients predict on a shared transfer set; for client k the fused target is sum over m of w_km p_m(x), with

    w_km proportional to exp(-beta · KL(P_k || P_m))

where P are estimated label distributions, or (`by_sample`) the predictions for x themselves; beta = 10 (equation 8).
The client then minimises CE + weight · KL(fused || q). No public code was found; the weights are our reading of the
abstract and page.

FedMD (Li and Wang 2019, arXiv 1910.03581) is the baseline: the consensus is the plain mean of logits, and each party
regresses its logits on it with the mean absolute error (as in the published code, without a temperature).
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import check_features, check_finite, log_probs


def fusion_weights(log_p_KC: Tensor, beta: float = 10.0) -> Tensor:
    """w [K, K], rows sum to 1: row k has the weight of each client's knowledge for client k.

    `log_p_KC` are log-probabilities of the clients' label distributions; [N, K, C] gives weights for each sample."""
    if beta < 0.0:
        raise UserError(f"beta is {beta}: give 0 (the plain mean) or more")
    p = log_p_KC.exp()
    cross = p @ log_p_KC.mT  # sum over classes of p_k log p_m
    divergence = cross.diagonal(dim1=-2, dim2=-1)[..., :, None] - cross
    return (-beta * divergence).softmax(-1)


def label_distributions(logits_KNC: Tensor) -> Tensor:
    """The log of each client's mean prediction over the transfer set [K, C]: an estimate of its labels."""
    return log_probs(logits_KNC).logsumexp(1) - torch.log(torch.tensor(float(logits_KNC.shape[1])))


def fuse(logits_KNC: Tensor, beta: float = 10.0, *, by_sample: bool = True) -> Tensor:
    """The fused target distribution of each client on the transfer set [K, N, C]."""
    log_p = log_probs(logits_KNC)
    p_NKC = log_p.exp().transpose(0, 1)
    if by_sample:
        return (fusion_weights(log_p.transpose(0, 1), beta) @ p_NKC).transpose(0, 1)
    return (fusion_weights(label_distributions(logits_KNC), beta) @ p_NKC).transpose(0, 1)


def knowledge_loss(student_NC: Tensor, fused_NC: Tensor) -> Tensor:
    """KL(fused || q), mean over samples."""
    check_features(student_NC, fused_NC, "logits and fused targets")
    return (torch.xlogy(fused_NC, fused_NC) - fused_NC * log_probs(student_NC)).sum(-1).mean()


def fedmd_consensus(logits_KNC: Tensor) -> Tensor:
    """The plain mean over parties of logits on the public set [N, C]."""
    check_finite("logits", logits_KNC)
    return logits_KNC.mean(0)


def fedmd_digest_loss(student_NC: Tensor, consensus_NC: Tensor) -> Tensor:
    """The mean absolute difference of logits."""
    check_features(student_NC, consensus_NC, "logits")
    return (student_NC - consensus_NC).abs().mean()


def accuracy(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """The share of rows whose largest logit is the label."""
    return (logits_NC.argmax(-1) == labels_N).double().mean()
