"""Trajectory-refined distillation: mend a rollout before it teaches (TRD, Jiang et al. 2026, arXiv 2606.08432).

Claim: once a rollout's prefix has failed, no weight on its tokens helps; the teacher should correct the rollout itself,
close to what the student wrote, and the student should learn from that.

This is a reconstruction from the abstract: in the paper the teacher rewrites the whole rollout, prompted with it. Here,
for models without such a prompt, the rollout is kept up to its first token that the teacher gives less than a floor,
and the teacher writes on from there.
"""

from __future__ import annotations

from torch import Tensor


def first_fault(teacher_logp_BL: Tensor, mask_BL: Tensor, *, floor: float = -3.0) -> Tensor:
    """The place [B] of the first token whose log-probability is below the floor, in nats; L where there is none."""
    faulty = (teacher_logp_BL < floor) & mask_BL
    length = faulty.shape[-1]
    return (~faulty).long().cumprod(-1).sum(-1).clamp_max(length)


def splice(rollout: list[int], place: int, continuation: list[int], longest: int) -> list[int]:
    """A rollout up to a place and the continuation from there, at most `longest` tokens."""
    return (rollout[:place] + continuation)[:longest]
