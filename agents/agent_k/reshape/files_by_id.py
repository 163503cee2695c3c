"""A file for each id (.csv, .npy, .wav): its numbers become columns."""

from __future__ import annotations

import wave
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.reshape.tables import Tables
from agentkd.errors import UserError

Array = npt.NDArray[Any]
ENDINGS = (".csv", ".npy", ".wav")
BANDS = 12  # of the spectrum
CHANNELS = 24  # at most
LONGEST = 2_000_000  # values of a channel that are read
PARTS = 4  # of the time, whose means and spreads are features


def list_by_id(data_files: Iterable[Path], ids: Iterable[str]) -> dict[str, list[Path]]:
    """The files of each id, by name with or without its ending."""
    wanted = set(ids)
    found: dict[str, list[Path]] = {}
    for path in data_files:
        if path.suffix.lower() in ENDINGS and len(path.parts) > 1:
            for name in (path.stem, path.name):
                if name in wanted:
                    found.setdefault(name, []).append(path)
                    break
    return found


def read_files(tables: Tables) -> None:
    """Add columns of the files that are named by the ids of training and test rows."""
    import pandas as pd

    train, key = tables.train, tables.key
    if train is None:
        return
    test = tables.test if tables.test is not None else tables.sample[[key]]
    if key not in test.columns:
        return
    own = key if key in train.columns else str(train.columns[0])
    made = []
    for split, rows, name in (("train", train, own), ("test", test, key)):
        by_id = list_by_id(tables.files.all, rows[name])
        if len(by_id) < 0.5 * rows[name].nunique():
            return
        other = "test" if split == "train" else "train"
        chosen = {
            row: next((path for path in paths if other not in str(path.parent).lower()), paths[0])
            for row, paths in by_id.items()
        }
        made.append((rows, name, chosen))
    frames = []
    for rows, name, chosen in made:
        features = {row: measure(tables.files.data / path) for row, path in chosen.items()}
        frame = pd.DataFrame.from_dict(features, orient="index").map(lambda value: f"{value:.6g}")
        frames.append(rows.merge(frame, left_on=name, right_index=True, how="left").fillna(""))
    count = sum(len(chosen) for _, _, chosen in made)
    ending = next(iter(made[0][2].values())).suffix
    tables.train, tables.test = frames
    if own != key:
        tables.train = tables.train.rename(columns={own: key})
    tables.used |= {path for _, _, chosen in made for path in chosen.values()}
    tables.notes.append(
        f"{count:,} {ending} files, one an id, become {len(tables.test.columns) - len(test.columns)} columns: moments, "
        f"quantiles, changes and spectrum of each channel"
    )
    tables.changed = True


def measure(path: Path) -> dict[str, float]:
    """The features of a file. Raises UserError for a file that cannot be read."""
    try:
        values = load(path)
    except (OSError, ValueError, EOFError, wave.Error) as error:
        raise UserError(f"{path} cannot be read ({str(error)[:100]}): download it again") from None
    out: dict[str, float] = {"length": float(len(values))}
    for place in range(min(values.shape[1], CHANNELS)):
        out |= {f"channel {place + 1} {name}": value for name, value in _describe(values[:, place]).items()}
    return out


def load(path: Path) -> Array:
    """The numbers of a file, `(time, channels)`; the longer one of two axes is time."""
    import pandas as pd

    if path.suffix.lower() == ".npy":
        values = np.load(path, allow_pickle=False).astype(np.float64)
    elif path.suffix.lower() == ".wav":
        values = _load_wav(path)
    else:
        values = pd.read_csv(path).apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
        return values[:LONGEST]
    values = values.reshape(len(values), -1) if values.ndim != 1 else values[:, None]
    return (values if values.shape[0] >= values.shape[1] else values.T)[:LONGEST]


def _load_wav(path: Path) -> Array:
    with wave.open(str(path)) as file:
        width, channels = file.getsampwidth(), file.getnchannels()
        raw = file.readframes(min(file.getnframes(), LONGEST))
    if width == 3:  # the upper two bytes of each
        values = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3)[:, 1:].copy().view("<i2").ravel()
    else:
        values = np.frombuffer(raw, dtype={1: "u1", 2: "<i2", 4: "<i4"}[width])
    middle = 128 if width == 1 else 0
    return (values.astype(np.float64) - middle).reshape(-1, channels)


def _describe(column: Array) -> dict[str, float]:
    """Moments, quantiles, changes, parts and spectrum of one channel; gaps are left out."""
    x = column[np.isfinite(column)]
    if len(x) < 2:
        return {"gaps": float(len(column) - len(x))}
    names = ("q05", "q25", "q50", "q75", "q95")
    quantiles = np.quantile(x, [0.05, 0.25, 0.5, 0.75, 0.95])
    middle, spread = float(x.mean()), float(x.std())
    changes = np.diff(x)
    z = (x - middle) / max(spread, 1e-12)
    out = {
        "mean": middle,
        "std": spread,
        "min": float(x.min()),
        "max": float(x.max()),
        "skew": float((z**3).mean()),
        "tails": float((z**4).mean()),
        "change": float(np.abs(changes).mean()),
        "crossings": float((np.diff(np.signbit(z)) != 0).mean()),
        "echo": float((z[1:] * z[:-1]).mean()),
        "first": float(x[0]),
        "last": float(x[-1]),
        "gaps": float(len(column) - len(x)),
        **dict(zip(names, map(float, quantiles), strict=True)),
    }
    for place, part in enumerate(np.array_split(x, PARTS)):
        if len(part):
            out |= {f"mean of part {place + 1}": float(part.mean()), f"std of part {place + 1}": float(part.std())}
    power = np.abs(np.fft.rfft(x - middle)) ** 2
    edges = np.unique(np.geomspace(1, len(power), BANDS + 1).astype(int)) if len(power) > 2 else np.array([])
    for place, (low, high) in enumerate(pairwise(edges)):
        out[f"band {place + 1}"] = float(np.log10(power[low:high].sum() + 1e-12))
    if power.sum() > 0:
        out["centre"] = float((power * np.arange(len(power))).sum() / power.sum() / len(power))
        place = int(power.argmax())
        near = power[max(place - 1, 0) : place + 2]
        out["peak"] = float(
            (near * np.arange(max(place - 1, 0), place + 2)[: len(near)]).sum() / near.sum() / len(power)
        )
    return out
