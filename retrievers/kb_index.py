"""The facts of a file as sorted integer arrays: read once, kept on disk, memory-mapped from then on.

Entities and relations are numbered in the order of their first mention. An edge is a row (source, step, target,
triple), sorted; step 2r is relation r forward, 2r + 1 backward. The arrays are kept under `$AGENTKD_HOME/kb`, one
folder per content of a file: processes share their pages, and a second start reads no text but the names.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError
from agentkd.models import agentkd_home
from agentkd.retrievers.files.read import read_content, read_kb
from agentkd.retrievers.files.rows import FORMS, Reading, Row

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

UNNAMED = re.compile(r"(?:[mM]\.0\w+|[gG]\.1\w+|cvt\.\S+|_:\S+)")
_VERSION = 2  # of the arrays' layout and the readers' rules; a folder of another one is not read
_MANY = 20  # facts: fewer say nothing about their columns


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
    alias_entity: Ints
    """(A,): the entities that the aliases name"""
    raw_triple: Ints
    """the triples that the file spells otherwise, sorted"""
    raw_end: Ints
    """where the spelling of each of them ends in `raw_text`"""
    raw_text: Bytes
    entities: list[str]
    relations: list[str]
    aliases: list[str]
    notes: list[str]
    """what a user should know about how the file was read"""


def build_index(reading: Reading, where: str) -> Index:
    """Number and sort the rows of a reading; a direction that any row states counts."""
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    undirected: dict[tuple[int, int, int], bool] = {}
    raw: dict[int, bytes] = {}
    for head, relation, tail, flag, spelt in reading.rows:
        key = (
            entities.setdefault(head, len(entities)),
            relations.setdefault(relation, len(relations)),
            entities.setdefault(tail, len(entities)),
        )
        if spelt and key not in undirected:
            raw[len(undirected)] = spelt.encode()
        undirected[key] = flag and undirected.get(key, True)
    if not undirected:
        raise UserError(f"{where}: holds no triple; give lines of {FORMS}")
    triples: Ints = np.fromiter((number for key in undirected for number in key), np.int64).reshape(-1, 3)
    number = np.arange(len(triples))
    loose = number[np.fromiter(undirected.values(), np.bool_, len(undirected))]
    heads, kinds, tails = triples.T
    source = np.concatenate([heads, tails, tails[loose], heads[loose]])
    target = np.concatenate([tails, heads, heads[loose], tails[loose]])
    step = np.concatenate([2 * kinds, 2 * kinds + 1, 2 * kinds[loose], 2 * kinds[loose] + 1])
    order = np.lexsort((target, step, source))
    aliases = {pair: None for pair in reading.aliases if pair[1] in entities and pair[0] not in ("", pair[1])}
    notes = list(reading.notes)
    starts, ends, kinds_count = len(np.unique(heads)), len(np.unique(tails)), len(relations)
    if len(heads) >= _MANY and (kinds_count > ends or kinds_count > max(starts, len(heads) // 2)):
        notes.append(f"{kinds_count:,} relations are many: is the second column the relation? --kb-columns tells")
    return Index(
        triples=triples,
        named=np.fromiter((UNNAMED.fullmatch(name) is None for name in entities), np.bool_, len(entities)),
        first_edge=np.searchsorted(source[order], np.arange(len(entities) + 1)),
        edge_step=step[order],
        edge_target=target[order],
        edge_triple=np.concatenate([number, number, loose, loose])[order],
        edge_key=source[order] * (2 * len(relations)) + step[order],
        loose=loose,
        alias_entity=np.fromiter((entities[name] for _, name in aliases), np.int64, len(aliases)),
        raw_triple=np.fromiter(raw, np.int64, len(raw)),
        raw_end=np.cumsum(np.fromiter(map(len, raw.values()), np.int64, len(raw))),
        raw_text=np.frombuffer(b"".join(raw.values()), np.uint8),
        entities=list(entities),
        relations=list(relations),
        aliases=[alias for alias, _ in aliases],
        notes=notes,
    )


def index_rows(rows: Iterable[Row]) -> Index:
    """Return the index of rows that come from no file."""
    return build_index(Reading(iter(rows)), "the knowledge base")


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file, or of the tables in a folder. Raises UserError."""
    return read_content(file)[1]


def load_index(file: Path, columns: str | None = None) -> tuple[Index, str]:
    """Return the index of a file or folder of facts, and its SHA-256. Raises UserError with file and line.

    `columns` says which columns of a table are read, as `--kb-columns` does; it is part of the hash."""
    content, sha256 = read_content(file)
    if columns:
        sha256 = hashlib.sha256(f"{sha256} {columns}".encode()).hexdigest()
    folder = agentkd_home() / "kb" / f"{sha256[:32]}-{_VERSION}"
    try:
        return _open(folder), sha256
    except (OSError, ValueError):  # not there, or damaged
        shutil.rmtree(folder, ignore_errors=True)
    index = build_index(read_kb(file, content, columns), str(file))
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
        field.name: _read_lines(folder / f"{field.name}.txt")
        if field.name in ("entities", "relations", "aliases", "notes")
        else np.load(folder / f"{field.name}.npy", mmap_mode="r").view(np.ndarray)
        for field in fields(Index)
    }
    index = Index(**values)
    names = len(index.first_edge) - 1, int(index.edge_step.max()) // 2 + 1, len(index.alias_entity)
    if names != (len(index.entities), len(index.relations), len(index.aliases)):
        raise ValueError(f"{folder} is damaged")
    return index


def _read_lines(file: Path) -> list[str]:
    text = file.read_bytes().decode()
    if text and not text.endswith("\n"):
        raise ValueError(f"{file} is damaged")
    return text.removesuffix("\n").split("\n") if text else []
