"""Pulses and constellations of digital modulations, with the conventions of scikit-commpy.

Time is (k - n / 2) / rate: with n even, t = 0 is at n / 2; with n odd no tap is. Taps are not normalised.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError

Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.complex128]


def root_raised_cosine(n: int, roll_off: float, symbol: float, rate: float) -> Floats:
    """n taps of a root-raised-cosine pulse with a symbol period in seconds; the peak is 1 - a + 4 a / pi.

    Proakis, Digital Communications, section 9.2. The roll-off is in [0, 1]; at 0 it is a sinc."""
    if not 0.0 <= roll_off <= 1.0:
        raise UserError(f"the roll-off is {roll_off}: give a number from 0 to 1")
    t = _times(n, symbol, rate) / symbol
    taps = np.empty_like(t)
    peak = np.isclose(t, 0.0, atol=1e-12)
    edge = np.isclose(np.abs(4.0 * roll_off * t), 1.0, atol=1e-12) & ~peak
    rest = ~peak & ~edge
    x = t[rest]
    above = np.sin(np.pi * x * (1 - roll_off)) + 4 * roll_off * x * np.cos(np.pi * x * (1 + roll_off))
    taps[rest] = above / (np.pi * x * (1 - (4 * roll_off * x) ** 2))
    taps[peak] = 1.0 - roll_off + 4.0 * roll_off / np.pi
    if edge.any():
        quarter = np.pi / (4.0 * roll_off)
        sides = (1 + 2 / np.pi) * np.sin(quarter) + (1 - 2 / np.pi) * np.cos(quarter)
        taps[edge] = roll_off / np.sqrt(2.0) * sides
    return taps


def raised_cosine(n: int, roll_off: float, symbol: float, rate: float) -> Floats:
    """n taps of a raised-cosine pulse: 1 at t = 0, and 0 at all other symbols."""
    if not 0.0 <= roll_off <= 1.0:
        raise UserError(f"the roll-off is {roll_off}: give a number from 0 to 1")
    t = _times(n, symbol, rate) / symbol
    edge = np.isclose(np.abs(2.0 * roll_off * t), 1.0, atol=1e-12)
    below = np.where(edge, 1.0, 1.0 - (2.0 * roll_off * t) ** 2)
    taps = np.sinc(t) * np.cos(np.pi * roll_off * t) / below
    if edge.any():
        taps[edge] = np.pi / 4.0 * np.sinc(1.0 / (2.0 * roll_off))
    return np.asarray(taps, np.float64)


def gaussian(n: int, width: float, symbol: float, rate: float) -> Floats:
    """n taps of a Gaussian pulse, sqrt(pi) / width · exp(-(pi t / width)²)."""
    if width <= 0.0:
        raise UserError(f"the width is {width}: give a number above 0")
    t = _times(n, symbol, rate)
    taps: Floats = np.sqrt(np.pi) / width * np.exp(-((np.pi * t / width) ** 2))
    return taps


def _times(n: int, symbol: float, rate: float) -> Floats:
    if n < 1 or symbol <= 0.0 or rate <= 0.0:
        raise UserError(f"{n} taps of a symbol of {symbol} s at {rate} per second: give numbers above 0")
    return np.asarray((np.arange(n) - n / 2.0) / rate, np.float64)


def psk(order: int) -> Points:
    """The points of phase-shift keying on the unit circle; point i has the bits of i, neighbours differ in one bit."""
    _bits(order)
    points: Points = np.exp(2j * np.pi * _place_of_gray(order) / order)
    return points


def qam(order: int) -> Points:
    """The points of square QAM on odd integers; the first half of the bits is the real part, each Gray-coded."""
    bits = _bits(order)
    if bits % 2:
        raise UserError(f"QAM of {order} points is no square: give 4, 16, 64 or 256")
    side = 1 << (bits // 2)
    levels = 2.0 * _place_of_gray(side) - (side - 1)
    return (levels[:, None] + 1j * levels[None]).ravel()


def pam(order: int) -> Points:
    """The points of amplitude modulation on odd integers of the real axis, Gray-coded."""
    _bits(order)
    points: Points = (2.0 * _place_of_gray(order) - (order - 1)).astype(np.complex128)
    return points


def bit_table(order: int) -> npt.NDArray[np.int64]:
    """The bits of each point [order, log2 order], the most significant first."""
    bits = _bits(order)
    return (np.arange(order)[:, None] >> np.arange(bits)[::-1]) & 1


def energy(points: Points) -> float:
    """The mean squared magnitude."""
    return float((np.abs(points) ** 2).mean())


def _bits(order: int) -> int:
    bits = int(order).bit_length() - 1
    if order < 2 or order != 1 << bits:
        raise UserError(f"a constellation of {order} points carries no whole bits: give 2, 4, 8, …")
    return bits


def _place_of_gray(order: int) -> Floats:
    """For each label the place along the line (or circle) at which it stands: the inverse of k xor (k >> 1)."""
    places = np.arange(order)
    found = np.empty(order)
    found[places ^ (places >> 1)] = places
    return found
