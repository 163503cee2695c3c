"""Which entity of a knowledge base a text means: the exact name, else a looser match that is unique.

In this order: the name; an alias; either of them in another encoding or case; as people write it (`strict_key`);
without accents (`loose_key`). A text that could mean two entities means none of them. Only of names that differ in
case alone the one with the most edges is taken, and the match counts as loose.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from agentkd.matching import clean_name, exact_key, loose_key, strict_key
from agentkd.retrievers.kb_index import Bools, Ints

_SEVERAL = -1
_COMPARED = 2_000  # names that are compared letter by letter to find the nearest


class Match(NamedTuple):
    """An entity, and whether the text is more than another case or encoding of its name or alias."""

    name: str
    loose: bool = False


class Lookup:
    """The names and aliases of a knowledge base, by which texts are looked up. Tables are built at first need."""

    def __init__(self, names: Sequence[str], ids: dict[str, int], named: Bools, edges: Ints) -> None:
        self._names, self._ids, self._named, self._edges = names, ids, named, edges
        self._aliases: dict[str, int] = {}

    def add_aliases(self, pairs: Iterable[tuple[str, int]]) -> None:
        """Add other names of entities; one that several entities have names none of them."""
        for alias, number in pairs:
            if self._aliases.setdefault(alias, number) != number:
                self._aliases[alias] = _SEVERAL
        for table in ("_folded", "_folded_aliases", "_strict", "_loose"):
            self.__dict__.pop(table, None)

    def match(self, text: str) -> Match | None:
        """Find the entity that a user or a model means, or None."""
        name = text if text in self._ids else clean_name(text)
        if name in self._ids:
            return Match(name)
        if name in self._aliases:
            return self._found(self._aliases[name])
        key = exact_key(text)
        if key in self._folded:
            numbers = self._folded[key]
            return Match(self._names[numbers[0]], loose=len(numbers) > 1)
        if key in self._folded_aliases:
            return self._found(self._folded_aliases[key])
        number = self._strict.get(strict_key(text))
        return self._found(self._loose.get(loose_key(text), _SEVERAL) if number is None else number, loose=True)

    def is_ambiguous(self, text: str) -> bool:
        """Whether a text that `match` does not find is a name or an alias of several entities."""
        if self.match(text) is not None:
            return False
        if _SEVERAL in (self._aliases.get(clean_name(text)), self._folded_aliases.get(exact_key(text))):
            return True
        return _SEVERAL in (self._strict.get(strict_key(text)), self._loose.get(loose_key(text)))

    def _found(self, number: int, *, loose: bool = False) -> Match | None:
        return None if number == _SEVERAL else Match(self._names[number], loose)

    def answers(self, text: str) -> bool:
        """Whether some named entity would be a strict hit for this answer."""
        number = self._ids.get(text)
        return (number is not None and bool(self._named[number])) or strict_key(text) in self._answers

    def nearest(self, text: str, count: int = 2) -> list[str]:
        """Return the names most like a text, best first; none where nothing is like it."""
        wanted = text.casefold()
        words = {word for word in wanted.split() if len(word) > 3}
        folded: dict[str, str] = {}
        for name, is_name in zip(self._names, self._named.tolist(), strict=True):
            key = name.casefold()
            if is_name and (key[:3] == wanted[:3] or wanted in key or words.intersection(key.split())):
                folded.setdefault(key, name)
                if len(folded) == _COMPARED:
                    break
        found = difflib.get_close_matches(wanted, folded, n=count, cutoff=0.5)
        return [folded[key] for key in found]

    # ---- tables ------------------------------------------------------------------------------------------------

    def _spelt(self, spell: Callable[[str], str], names: Iterable[tuple[str, int]]) -> dict[str, int]:
        table: dict[str, int] = {}
        for name, number in names:
            key = spell(name)
            if table.setdefault(key, number) != number:
                table[key] = _SEVERAL
        table.pop("", None)
        return table

    def _all_names(self) -> list[tuple[str, int]]:
        return [(name, i) for i, name in enumerate(self._names) if self._named[i]]

    @cached_property
    def _folded(self) -> dict[str, list[int]]:
        """The entities of each key, those with the most edges first."""
        table: dict[str, list[int]] = {}
        for name, number in self._all_names():
            table.setdefault(exact_key(name), []).append(number)
        for numbers in table.values():
            if len(numbers) > 1:
                numbers.sort(key=lambda number: -int(self._edges[number]))
        return table

    @cached_property
    def _folded_aliases(self) -> dict[str, int]:
        return self._spelt(exact_key, self._aliases.items())

    @cached_property
    def _strict(self) -> dict[str, int]:
        return self._spelt(strict_key.__wrapped__, [*self._all_names(), *self._aliases.items()])

    @cached_property
    def _loose(self) -> dict[str, int]:
        return self._spelt(loose_key, [*self._all_names(), *self._aliases.items()])

    @cached_property
    def _answers(self) -> frozenset[str]:
        return frozenset(strict_key.__wrapped__(name) for name, _ in self._all_names())
