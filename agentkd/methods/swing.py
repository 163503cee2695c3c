"""Swing distillation: a student that does not learn secrets (Li et al. 2022, arXiv 2212.08349). A reconstruction.

Claim: a temperature for each token, high where private data may stand, and noise there, cut the exposure of secrets at
no cost to the task.

With s_t in [0, 1] how private token t is, z the teacher's logits and n standard normal noise:

    tau_t = 1 + s_t (tau_max - 1)
    target_t = softmax(z_t / tau_t + s_t sigma n_t)
    loss = mean over tokens of KL(target_t || q_t), T = 1 for the student, without T²

No public code was found; the form is our reading of the abstract. The noise has to come AFTER the temperature, which
alone keeps the teacher's order, and it has to be the same whenever a text comes back (it is drawn from the text),
because fresh noise averages out. Leaving private tokens out of the loss (`s_t` as a mask) is the simpler control. Any
hard-label term learns the secret again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import check_shapes, forward_kl, log_probs
from agentkd.methods.tokens.masked import token_mean

PATTERNS = (
    r"[\w.+-]+@[\w-]+\.[\w.-]+",  # an address of e-mail
    r"\+?\d(?:[ ().-]?\d){6,}",  # a telephone, card or account number
    r"\b\d{4,}\b",  # a code
    r"\b(?:[A-Za-z]+\d|\d+[A-Za-z])[A-Za-z\d]{6,}\b",  # a key of letters and digits
)


def private_spans(text: str, patterns: Iterable[str] = PATTERNS, words: Iterable[str] = ()) -> list[tuple[int, int]]:
    """Find private places by patterns and by a user's words, whatever their case: sorted, joined where they overlap."""
    try:
        found = [match.span() for pattern in patterns for match in re.finditer(pattern, text)]
    except re.error as error:
        raise UserError(f"a pattern of private text is no regular expression ({error}): correct it") from None
    for word in words:
        if word:
            found += [match.span() for match in re.finditer(re.escape(word), text, flags=re.IGNORECASE)]
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(span for span in found if span[0] < span[1]):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def token_privacy(spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> Tensor:
    """s [L]: 1 for a token that shares a character with a span, given where each token begins and ends, else 0."""
    shares = [any(begin < end_ and begin_ < end for begin_, end_ in spans) for begin, end in offsets]
    return torch.tensor(shares, dtype=torch.float32)


def token_temperatures(privacy: Tensor, tau_max: float) -> Tensor:
    """tau of each token."""
    if tau_max < 1.0:
        raise UserError(f"the temperature of private tokens is {tau_max}: give 1 (as elsewhere) or more")
    return 1.0 + privacy * (tau_max - 1.0)


def text_noise(text: str, tokens: int, vocabulary: int) -> Tensor:
    """Standard normal noise [tokens, V] that is the same whenever the text comes back."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())
    return torch.randn(tokens, vocabulary, generator=torch.Generator().manual_seed(seed))


def soften(
    teacher_LV: Tensor, privacy_L: Tensor, *, tau_max: float, sigma: float = 0.0, noise_LV: Tensor | None = None
) -> Tensor:
    """The log of the targets [..., L, V]. `sigma` needs the noise of `text_noise`."""
    if sigma and noise_LV is None:
        raise UserError(f"sigma is {sigma} without noise: give the noise of each text, so that it comes back the same")
    cool = token_temperatures(privacy_L, tau_max)[..., None]
    logits = teacher_LV / cool
    if sigma and noise_LV is not None:
        logits = logits + sigma * privacy_L[..., None] * noise_LV.to(logits)
    return log_probs(logits)


def swing_loss(student_BLV: Tensor, log_target_BLV: Tensor, mask_BL: Tensor) -> Tensor:
    """KL(target || q), mean over the batch's tokens that count."""
    check_shapes(student_BLV, log_target_BLV)
    return token_mean(forward_kl(log_target_BLV, log_probs(student_BLV)), mask_BL)
