"""Swing distillation: a student that does not learn secrets (Li et al. 2022, arXiv 2212.08349). A reconstruction.

Claim: a temperature for each token, high where private data may stand, and noise there, cut the exposure of secrets at
no cost to the task.

With s_t in [0, 1] how private token t is, z the teacher's logits and n standard normal noise:

    tau_t = 1 + s_t (tau_max - 1)
    target_t = softmax(z_t / tau_t + s_t sigma n_t)
    loss = mean over tokens of KL(target_t || q_t), T = 1 for the student, without T²

No public code was found; the form is our reading of the abstract. The noise has to come AFTER the temperature, which
alone keeps the teacher's order, and it has to be the same whenever a secret comes back (it is drawn from its text),
because fresh noise averages out. Leaving private tokens out of the loss (`s_t` as a mask) is the simpler control. Any
hard-label term learns the secret again. What is private is found by `private_text.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import check_shapes, forward_kl, log_probs
from agentkd.methods.tokens.masked import token_mean

Span = tuple[int, int]


def token_seeds(text: str, spans: Sequence[Span], offsets: Sequence[Span], salt: int = 0, behind: int = 1) -> list[int]:
    """A seed of noise for each token that shares a character with a private span, and 0 for the others.

    `offsets` say where in the text each token begins and ends. The token `behind` a span counts, too, if it writes
    something: a student that is sure of what follows the true secret, and unsure behind others, confirms a guess. A
    seed comes from what the span says and the token's place in it: the same secret has the same noise in whatever text
    it stands. Whoever knows the salt can compute the noise of a guess."""
    seeds = [0] * len(offsets)
    for begin, end in spans:
        private = [place for place, (start, stop) in enumerate(offsets) if begin < stop and start < end]
        follow = range(private[-1] + 1, min(private[-1] + 1 + behind, len(offsets))) if private else ()
        private += [place for place in follow if offsets[place][0] < offsets[place][1]]
        for number, place in enumerate(private):
            named = f"{salt} {number} {text[begin:end]}".encode()
            seeds[place] = 1 + int.from_bytes(hashlib.blake2b(named, digest_size=7).digest())
    return seeds


def seeded_noise(seeds: Sequence[int], vocabulary: int) -> Tensor:
    """Standard normal noise [tokens, V], drawn from each token's own seed."""
    drawn = [torch.randn(vocabulary, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn) if drawn else torch.empty(0, vocabulary)


def token_temperatures(privacy: Tensor, tau_max: float) -> Tensor:
    """tau of each token."""
    if tau_max < 1.0:
        raise UserError(f"the temperature of private tokens is {tau_max}: give 1 (as elsewhere) or more")
    return 1.0 + privacy * (tau_max - 1.0)


def soften(
    teacher_LV: Tensor, privacy_L: Tensor, *, tau_max: float, sigma: float = 0.0, noise_LV: Tensor | None = None
) -> Tensor:
    """The log of the targets [..., L, V]. `sigma` needs the noise of `seeded_noise`."""
    if sigma and noise_LV is None:
        raise UserError(f"sigma is {sigma} without noise: give the noise of each secret, for it has to come back")
    cool = token_temperatures(privacy_L, tau_max)[..., None]
    logits = teacher_LV / cool
    if sigma and noise_LV is not None:
        logits = logits + sigma * privacy_L[..., None] * noise_LV.to(logits)
    return log_probs(logits)


def swing_loss(student_BLV: Tensor, log_target_BLV: Tensor, mask_BL: Tensor) -> Tensor:
    """KL(target || q), mean over the batch's tokens that count."""
    check_shapes(student_BLV, log_target_BLV)
    return token_mean(forward_kl(log_target_BLV, log_probs(student_BLV)), mask_BL)
