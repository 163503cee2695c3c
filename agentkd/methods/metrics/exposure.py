"""Exposure: how far a model prefers a secret that it has seen to secrets that it could have seen.

Carlini et al., The Secret Sharer, USENIX Security 2019, arXiv 1802.08232, definitions 5 and 6. With R reference
sequences that the model never saw, exposure = log2 |R| - log2 rank, in bits: at most log2 |R|, and 1 bit less means
that twice as many references are as likely.

As in TensorFlow Privacy the canary is not in R (Carlini counts it inside, which makes |R| one larger and the least
exposure 0), other canaries do not count, and a reference of the same perplexity counts as better than the canary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError

Floats = npt.NDArray[np.float64]
GRID = 4000  # points of the tail's integral


def exposure_by_rank(perplexities: Sequence[float], references: Sequence[float]) -> Floats:
    """The exposure of each canary, in the order given, from its exact rank among the references."""
    canaries, others = _numbers(perplexities, "canaries"), np.sort(_numbers(references, "references"))
    if not len(others):
        raise UserError("exposure compares with references: give perplexities of sequences that were not trained on")
    rank = 1 + np.searchsorted(others, canaries, side="right")
    bits: Floats = np.log2(len(others)) - np.log2(rank)
    return bits


def exposure_by_fit(perplexities: Sequence[float], references: Sequence[float]) -> Floats:
    """The exposure of each canary from a skew-normal distribution fitted to the references: -log2 cdf(perplexity).

    For more bits than references could show. Needs scipy; UserError where the references do not vary."""
    try:
        from scipy.stats import skewnorm
    except ImportError:
        raise UserError("exposure by extrapolation fits with scipy: pip install scipy") from None
    canaries, others = _numbers(perplexities, "canaries"), _numbers(references, "references")
    if not np.isfinite(others).all():
        raise UserError("a perplexity of the references is infinite: no distribution fits it, so take the exact rank")
    if len(np.unique(others)) < 3:
        raise UserError(f"{len(np.unique(others))} different references: a skew-normal fit needs at least 3")
    shape, place, width = skewnorm.fit(others)
    bits = []
    for value in canaries:
        mass = float(skewnorm.cdf(value, shape, place, width))
        if mass == 0.0:  # it underflows: integrate the logarithm of the density instead
            grid = value - width * np.geomspace(1e-9, 60.0, GRID)[::-1]
            log_mass = np.logaddexp.reduce(skewnorm.logpdf(grid, shape, place, width) + np.log(np.gradient(grid)))
            bits.append(-float(log_mass) / np.log(2.0))
        else:
            bits.append(-np.log2(mass))
    return np.array(bits)


def _numbers(values: Sequence[float], what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if np.isnan(array).any():
        raise UserError(f"perplexities of {what} are NaN: look for an overflow in the model's losses")
    return array
