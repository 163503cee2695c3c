"""Modulated signals in noise: I/Q samples of twelve modulations through a channel, made from a seed.

In the manner of RadioML (O'Shea, Corgan and Clancy 2016, arXiv 1602.04105), which no package ships. A signal is random
symbols, shaped by a pulse, at a random time within a symbol; the channel turns it (phase and frequency offset), adds
echoes, and adds white noise at a given ratio. Its power without noise is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError, unknown_name
from agentkd.methods.signals.pulses import Floats, Points, gaussian, pam, psk, qam, root_raised_cosine

LINEAR: dict[str, Points] = {
    "bpsk": psk(2),
    "qpsk": psk(4),
    "8psk": psk(8),
    "16psk": psk(16),
    "pam4": pam(4),
    "pam8": pam(8),
    "ook": np.array([0.0, 1.0], np.complex128),
    "16qam": qam(16),
    "64qam": qam(64),
}
PHASE = {"cpfsk": 0, "gfsk": 1, "msk4": 2}
MODULATIONS = (*LINEAR, *PHASE)
TAIL = 8  # symbols on each side of the window, so that pulses have no edge in it


class Channel(NamedTuple):
    """What happens on the way. `offset`: the largest frequency offset in cycles a sample; `echoes`: their number, each
    of a random delay up to `delay` samples and of a mean amplitude of `strength`."""

    offset: float = 0.005
    echoes: int = 1
    delay: int = 8
    strength: float = 0.2
    turn: bool = True


class Signals(NamedTuple):
    """I and Q [n, 2, samples] in float32, the number of the modulation [n], and the ratio in dB [n]."""

    iq: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    snr_db: Floats


def make_signals(
    count: int,
    *,
    modulations: Sequence[str] = MODULATIONS,
    snr_db: Sequence[float] = (0.0, 6.0, 12.0, 18.0),
    samples: int = 128,
    per_symbol: int = 8,
    channel: Channel = Channel(),  # noqa: B008
    seed: int = 0,
) -> Signals:
    """Make `count` signals, modulations and ratios in turn, so that all are alike in number."""
    for name in modulations:
        if name not in MODULATIONS:
            raise unknown_name("modulation", name, MODULATIONS)
    if count < 1 or samples < per_symbol or per_symbol < 2 or not modulations or not snr_db:
        raise UserError(
            f"{count} signals of {samples} samples, {per_symbol} a symbol: give at least one signal, one ratio and one "
            "modulation, two samples a symbol, and a symbol"
        )
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(modulations)
    ratios = np.asarray(snr_db, np.float64)[np.arange(count) // len(modulations) % len(snr_db)]
    made = np.empty((count, 2, samples), np.float32)
    for place, (label, ratio) in enumerate(zip(labels, ratios, strict=True)):
        clean = modulate(modulations[int(label)], samples, per_symbol, rng)
        noisy = add_noise(pass_channel(clean, channel, rng), float(ratio), rng)
        made[place] = noisy.real, noisy.imag
    return Signals(made, labels, ratios)


def modulate(name: str, samples: int, per_symbol: int, rng: np.random.Generator) -> Points:
    """Random symbols of one modulation, at a random time within a symbol; the mean power is 1."""
    symbols = samples // per_symbol + 2 * TAIL
    start = TAIL * per_symbol + int(rng.integers(per_symbol))
    wave = _linear(name, symbols, per_symbol, rng) if name in LINEAR else _phase(name, symbols, per_symbol, rng)
    window: Points = wave[start : start + samples]
    power = float((np.abs(window) ** 2).mean())
    return window / np.sqrt(power) if power > 0 else window


def _linear(name: str, symbols: int, per_symbol: int, rng: np.random.Generator) -> Points:
    points = LINEAR[name]
    impulses = np.zeros(symbols * per_symbol, np.complex128)
    impulses[::per_symbol] = points[rng.integers(len(points), size=symbols)]
    taps = root_raised_cosine(TAIL * per_symbol, 0.35, 1.0, per_symbol)
    return np.convolve(impulses, taps, mode="same")


def _phase(name: str, symbols: int, per_symbol: int, rng: np.random.Generator) -> Points:
    """A phase that runs up or down: cpfsk by half a turn a symbol, gfsk smoothed, msk4 at four speeds."""
    speeds = np.array([-3.0, -1.0, 1.0, 3.0]) if name == "msk4" else np.array([-1.0, 1.0])
    course = np.repeat(speeds[rng.integers(len(speeds), size=symbols)], per_symbol)
    if name == "gfsk":
        taps = gaussian(3 * per_symbol, 2.0, 1.0, per_symbol)
        course = np.convolve(course, taps / taps.sum(), mode="same")
    index = 0.25 if name == "msk4" else 0.5
    turned: Points = np.exp(1j * np.pi * index * np.cumsum(course) / per_symbol)
    return turned


def pass_channel(signal: Points, channel: Channel, rng: np.random.Generator) -> Points:
    """Echoes, then a random phase and a frequency offset; the mean power stays 1."""
    heard = signal.copy()
    for _ in range(channel.echoes):
        delay = int(rng.integers(1, channel.delay + 1))
        gain = channel.strength * (rng.normal() + 1j * rng.normal()) / np.sqrt(2.0)
        heard[delay:] += gain * signal[:-delay]
    if channel.turn:
        drift = rng.uniform(-channel.offset, channel.offset) * np.arange(len(signal))
        heard = heard * np.exp(2j * np.pi * (drift + rng.uniform()))
    power = float((np.abs(heard) ** 2).mean())
    return heard / np.sqrt(power) if power > 0 else heard


def add_noise(signal: Points, snr_db: float, rng: np.random.Generator) -> Points:
    """White Gaussian noise, `snr_db` decibel below a signal of power 1."""
    scale = np.sqrt(10.0 ** (-snr_db / 10.0) / 2.0)
    noise = rng.normal(size=len(signal)) + 1j * rng.normal(size=len(signal))
    noisy: Points = signal + scale * noise
    return noisy
