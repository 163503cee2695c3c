"""A file of triples as sorted integer arrays: read once, kept on disk, memory-mapped from then on.

Entities and relations are numbered in the order of their first mention. An edge is a row (source, step, target,
triple), sorted; step 2r is relation r forward, 2r + 1 backward. The arrays are kept under `$AGENTKD_HOME/kb`, one
folder per content of a file: processes share their pages, and a second start reads no text but the names.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError
from agentkd.models import agentkd_home

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Row = tuple[str, str, str, bool]

UNNAMED = re.compile(r"(?:[mM]\.0\w+|[gG]\.1\w+|cvt\.\S+|_:\S+)")
_FORMATS = "head<TAB>relation<TAB>tail[<TAB>provenance], or head|relation|tail"
_VERSION = 1  # of the arrays' layout; a folder of another one is not read


@dataclass(frozen=True)
class Index:
    """E entities, R relations, T triples and at least 2 T edges."""

    triples: Ints
    """(T, 3): head, relation, tail"""
    named: Bools
    """(E,): whether it is a name, not a compound value"""
    first_edge: Ints
    """(E + 1,): where the edges of each entity begin"""
    edge_step: Ints
    edge_target: Ints
    edge_triple: Ints
    edge_key: Ints
    """source x 2 R + step: sorted"""
    loose: Ints
    """the triples of unknown direction"""
    entities: list[str]
    relations: list[str]


def build_index(rows: Iterable[Row], where: str) -> Index:
    """Number and sort (head, relation, tail, undirected) rows; a direction that any row states counts."""
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    undirected: dict[tuple[int, int, int], bool] = {}
    for head, relation, tail, flag in rows:
        key = (
            entities.setdefault(head, len(entities)),
            relations.setdefault(relation, len(relations)),
            entities.setdefault(tail, len(entities)),
        )
        undirected[key] = flag and undirected.get(key, True)
    if not undirected:
        raise UserError(f"{where}: holds no triple; give lines of {_FORMATS}")
    triples: Ints = np.fromiter((number for key in undirected for number in key), np.int64).reshape(-1, 3)
    number = np.arange(len(triples))
    loose = number[np.fromiter(undirected.values(), np.bool_, len(undirected))]
    heads, kinds, tails = triples.T
    source = np.concatenate([heads, tails, tails[loose], heads[loose]])
    target = np.concatenate([tails, heads, heads[loose], tails[loose]])
    step = np.concatenate([2 * kinds, 2 * kinds + 1, 2 * kinds[loose], 2 * kinds[loose] + 1])
    order = np.lexsort((target, step, source))
    return Index(
        triples=triples,
        named=np.fromiter((UNNAMED.fullmatch(name) is None for name in entities), np.bool_, len(entities)),
        first_edge=np.searchsorted(source[order], np.arange(len(entities) + 1)),
        edge_step=step[order],
        edge_target=target[order],
        edge_triple=np.concatenate([number, number, loose, loose])[order],
        edge_key=source[order] * (2 * len(relations)) + step[order],
        loose=loose,
        entities=list(entities),
        relations=list(relations),
    )


def load_index(file: Path) -> tuple[Index, str]:
    """Return the index of a file of triples, and the file's SHA-256. Raises UserError with file and line."""
    data = read_bytes(file)
    sha256 = hashlib.sha256(data).hexdigest()
    folder = agentkd_home() / "kb" / f"{sha256[:32]}-{_VERSION}"
    try:
        return _open(folder), sha256
    except (OSError, ValueError):  # not there, or damaged
        shutil.rmtree(folder, ignore_errors=True)
    index = build_index(read_rows(file, data), str(file))
    with contextlib.suppress(OSError):  # it only saves time
        _save(index, folder)
    return index, sha256


def _save(index: Index, folder: Path) -> None:
    """Written beside its place and moved there whole: a folder that exists is complete."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        for field in fields(index):
            value = getattr(index, field.name)
            if isinstance(value, list):
                (beside / f"{field.name}.txt").write_text(
                    "".join(f"{name}\n" for name in value), encoding="utf-8", newline=""
                )
            else:
                np.save(beside / f"{field.name}.npy", value)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _open(folder: Path) -> Index:
    # Views, since a memmap pays for its class at each slice.
    values: dict[str, Any] = {
        field.name: (folder / f"{field.name}.txt").read_bytes().decode().removesuffix("\n").split("\n")
        if field.name in ("entities", "relations")
        else np.load(folder / f"{field.name}.npy", mmap_mode="r").view(np.ndarray)
        for field in fields(Index)
    }
    index = Index(**values)
    names = len(index.first_edge) - 1, int(index.edge_step.max()) // 2 + 1
    ends = {(folder / f"{kind}.txt").read_bytes()[-1:] for kind in ("entities", "relations")}
    if names != (len(index.entities), len(index.relations)) or ends != {b"\n"}:
        raise ValueError(f"{folder} is damaged")
    return index


def read_rows(file: Path, data: bytes) -> Iterator[Row]:
    """Yield (head, relation, tail, undirected) per line; the first line decides between tabs and MetaQA's bars."""
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as (gzipped) UTF-8 text ({error}); save it again as UTF-8") from error
    separator = ""
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        if not separator:
            separator = "\t" if "\t" in line else "|"
            if line.lower().split(separator)[:3] == ["head", "relation", "tail"]:
                continue
        fields = line.split(separator)
        if len(fields) < 3 or not (fields[0] and fields[1] and fields[2]) or (separator == "|" and len(fields) > 3):
            raise UserError(f"{file}:{number}: not a triple: {line[:60]!r}; write a line as {_FORMATS}")
        yield fields[0], fields[1], fields[2], len(fields) > 3 and ";undirected" in fields[3]


def read_bytes(file: Path) -> bytes:
    """Read a file. Raises UserError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); check the path") from error
