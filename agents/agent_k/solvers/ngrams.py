"""Count word and character n-grams by hashing in numpy, several times faster than in Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
COLUMNS = 2**22  # of the hash: so many that n-grams rarely share one
LIMIT = 40_000_000  # n-grams at once, about 1 GB; longer texts are cut off
_PRIME = np.uint64(0x9E3779B97F4A7C15)


def count_character_ngrams(texts: Sequence[str], low: int, high: int, *, least: int = 2) -> Any:
    """CSR counts `(N, columns)` of character n-grams of length `low` to `high`, of `least` texts or more."""
    length = max(50, LIMIT // (max(1, len(texts)) * (high - low + 1)))
    cut = [f" {text[:length]} " for text in texts]
    flat = np.frombuffer("".join(cut).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    return _count(flat, np.repeat(np.arange(len(cut)), [len(text) for text in cut]), len(cut), low, high, least)


def count_word_ngrams(texts: Sequence[str], low: int, high: int, *, lower: bool = True, least: int = 2) -> Any:
    """CSR counts `(N, columns)` of n-grams of words and punctuation marks."""
    ids: dict[str, int] = {}
    flat: list[int] = []
    lengths = []
    for text in texts:
        found = re.findall(r"\w+|[^\w\s]", text.lower() if lower else text)
        flat += [ids.setdefault(word, len(ids)) for word in found]
        lengths.append(len(found))
    return _count(
        np.array(flat, dtype=np.uint64), np.repeat(np.arange(len(texts)), lengths), len(texts), low, high, least
    )


def _count(flat: Array, row: Array, rows: int, low: int, high: int, least: int) -> Any:
    from scipy.sparse import csr_matrix

    places, owners = [], []
    key = np.zeros(len(flat), dtype=np.uint64)
    for n in range(1, high + 1):
        size = len(flat) - n + 1
        if size <= 0:
            break
        key = (key[:size] + flat[n - 1 :] + np.uint64(1)) * _PRIME
        key ^= key >> np.uint64(29)
        if n >= low:
            whole = row[:size] == row[n - 1 :]  # no n-gram across two texts
            places.append(((key[whole] + np.uint64(n)) * _PRIME >> np.uint64(42)).astype(np.int32))  # 22 bits
            owners.append(row[:size][whole].astype(np.int32))
    if not places:
        return csr_matrix((rows, 1))
    place, owner = np.concatenate(places), np.concatenate(owners)
    x = csr_matrix((np.ones(len(place), dtype=np.float32), (owner, place)), shape=(rows, COLUMNS))
    kept = np.flatnonzero(np.bincount(x.indices, minlength=COLUMNS) >= least)
    return x[:, kept] if len(kept) else csr_matrix((rows, 1))


def mark_present(x: Any) -> Any:
    """Replace counts by ones."""
    out = x.copy()
    out.data[:] = 1
    return out


def weigh_tf_idf(x: Any) -> Any:
    """TF-IDF weights: (1 + log count) · inverse document frequency, with rows of length one."""
    from scipy.sparse import diags
    from sklearn.preprocessing import normalize

    seen = np.bincount(x.indices, minlength=x.shape[1])
    out = x.copy()
    out.data = 1 + np.log(out.data)
    return normalize(out @ diags((np.log((1 + x.shape[0]) / (1 + seen)) + 1).astype(np.float32))).tocsr()
