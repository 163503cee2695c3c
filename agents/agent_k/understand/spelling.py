"""Find how a submission spells the classes: as the training table, as the sample, or by numbers that something maps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import list_names, show_name
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MAP_ROWS = 5000  # of a table that maps classes: larger ones hold something else
MAP_BYTES = 10**6  # of a JSON file or a list that maps classes
_LISTS = (".json", ".txt", ".names", ".labels")


def spell_like_sample(classes: Sequence[str], shown: Iterable[str]) -> list[str]:
    """Spell the classes like the cells `shown` of the sample: `1.0` may become `1`, or `1` `True`."""
    words = set(shown)
    if words <= set(classes):
        return list(classes)
    for spell in (_whole, _truth, lambda name: _truth(name).lower(), _decimal):
        spelt = [spell(name) for name in classes]
        if words <= set(spelt):
            return spelt
    return list(classes)


def _whole(name: str) -> str:
    return name.removesuffix(".0")


def _decimal(name: str) -> str:
    return name if "." in name else f"{name}.0"


def _truth(name: str) -> str:
    return {"0": "False", "1": "True", "0.0": "False", "1.0": "True"}.get(name, name)


def find_spelling(
    classes: tuple[str, ...],
    shown: Sequence[str],
    maps: Sequence[tuple[str, dict[str, str]]],
    order: tuple[str, ...],
    doubts: list[str],
) -> tuple[str, ...]:
    """The classes as a submission spells them, in the order of `classes`; () where `spell_like_sample` does it.

    `shown` are the words of the sample's cells, `maps` what maps the classes (see `list_maps`), `order` the user's
    order of them. What is used is a line in `doubts`; of two classes, `read_classes` says which is the positive one."""
    words = set(shown)
    if not words or words <= set(spell_like_sample(classes, shown)):
        return ()
    for source, found in maps if not order else ():
        if words <= set(found.values()):
            doubts.append(f"the submission's {_show_map(found)} are from {source}")
            return tuple(found[name] for name in classes)
    first = 1 if "0" not in words and str(len(classes)) in words else 0
    numbered = all(word.isdigit() for word in words) and not any(name.isdigit() for name in classes)
    if not numbered or max(map(int, words)) >= first + len(classes):
        odd = show_name(sorted(words - set(classes))[0])
        doubts.append(
            f"the sample submission holds {odd}, which is no class of the training table: its words are sent "
            f"({list_names(classes)}); add a table that maps both, a column each"
        )
        return ()
    found = {name: str(first + place) for place, name in enumerate(order or classes)}
    if not order and len(classes) > 2:
        doubts.append(
            f"classes are numbered in this order, which is a guess: {_show_map(found)}; set classes=A,B,C in the order "
            f"of their numbers, or add a table that maps them"
        )
    return tuple(found[name] for name in classes)


def _show_map(found: dict[str, str]) -> str:
    ordered = sorted(found.items(), key=lambda pair: (len(pair[1]), pair[1]))
    return list_names(f"{name}={number}" for name, number in ordered)


def list_maps(
    files: DataFiles, others: Sequence[Path], train: pd.DataFrame, target: str, classes: Sequence[str], text: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Whatever maps all classes one to one: (source, class → its other name).

    Tables of the data other than the main ones, the training table itself, JSON files and lists, then the pages."""
    for path in others:
        try:
            frame = read_table(files.data / path, rows=MAP_ROWS + 1, text=True)
        except UserError:
            continue
        if len(frame) <= MAP_ROWS:
            for name in frame.columns:
                yield from _pair_columns(frame, name, classes, str(path))
    yield from _pair_columns(train, target, classes, "the training table")
    for path in files.all:
        if path.suffix.lower() in _LISTS and (files.data / path).stat().st_size <= MAP_BYTES:
            content = (files.data / path).read_text(errors="replace")
            found = _read_json_map(content, classes) or find_in_text(content, classes)
            if found:
                yield str(path), found
    if found := find_in_text(text, classes):
        yield "the pages", found


def _pair_columns(
    frame: pd.DataFrame, name: str, classes: Sequence[str], source: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """The columns of a table that name each class of column `name` in one other way."""
    wanted = {_plain(item): item for item in classes}
    here = frame[name].map(_plain)
    if len(wanted) < len(classes) or not set(wanted) <= set(here.head(MAP_ROWS)):
        return
    rows = frame[here.isin(wanted)]
    for other in frame.columns:
        if other == name:
            continue
        pairs = rows[[name, other]].drop_duplicates()
        if len(pairs) == len(classes) and pairs[other].is_unique and (pairs[other] != "").all():
            found = {wanted[_plain(item)]: str(to).strip() for item, to in pairs.itertuples(index=False)}
            if len(found) == len(classes):
                yield f"column '{other}' of {source}", found


def _plain(text: object) -> str:
    return " ".join(str(text).split()).casefold()


def _read_json_map(content: str, classes: Sequence[str]) -> dict[str, str]:
    """A JSON object that maps classes to numbers or numbers to classes, or a JSON list of the classes; {} for none."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if isinstance(said, list):
        said = dict(enumerate(said))
    if not isinstance(said, dict):
        return {}
    pairs = [(str(key), str(value)) for key, value in said.items() if isinstance(value, str | int)]
    for way in (pairs, [(value, key) for key, value in pairs]):
        found = {name: number for name, number in way if name in set(classes)}
        if len(found) == len(classes) == len(set(found.values())):
            return found
    return {}


def find_in_text(text: str, classes: Sequence[str]) -> dict[str, str]:
    """A list that numbers all classes, such as `0 = scab, 1 = healthy` or `| scab | 0 |`; {} for none."""
    names = {name.lower(): name for name in classes}
    if len(names) < len(classes):
        return {}
    one = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    mark = r"(?:[=:→|()\-–—>.\"'`* \t]|\b(?:is|as|for|means|stands for|denotes)\b){1,9}?"
    low = text.lower()
    numbers_first = [(name, number) for number, name in re.findall(rf"(?<![\w.])(\d+){mark}({one})(?!\w)", low)]
    names_first = re.findall(rf"(?<!\w)({one}){mark}(\d+)(?![\w%]|\.\d)", low)
    ways = []
    for pairs in (numbers_first, names_first):
        found: dict[str, set[str]] = {}
        for name, number in pairs:
            if int(number) <= len(classes):
                found.setdefault(names[name], set()).add(str(int(number)))
        single = {name: next(iter(numbers)) for name, numbers in found.items() if len(numbers) == 1}
        if len(single) == len(classes) == len(set(single.values())):
            ways.append(single)
    return ways[0] if ways and all(way == ways[0] for way in ways) else {}
