"""What may be chosen: the options of a method with their ranges, and candidates drawn from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from agentkd.recommend.table import Candidate, Value


class Span(NamedTuple):
    """Numbers from `low` to `high`; with `log` evenly by their logarithms."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: Random) -> Value:
        if self.log:
            return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return rng.uniform(self.low, self.high)


class Words(NamedTuple):
    """Some words."""

    values: tuple[str, ...]

    def draw(self, rng: Random) -> Value:
        return rng.choice(self.values)


Ranges = Mapping[str, Span | Words]  # by option


class Space(NamedTuple):
    """The ranges of each method's options, without those that the user has fixed, and the defaults of all options."""

    methods: Mapping[str, Ranges]
    defaults: Mapping[str, Value]
    fixed: frozenset[str]

    def free(self, method: str) -> dict[str, Span | Words]:
        """The ranges of a method's options that may be chosen."""
        return {name: span for name, span in self.methods[method].items() if name not in self.fixed}

    def make(self, method: str, options: Mapping[str, Value]) -> Candidate:
        """A candidate with all options of its method: those given where they are free, else the defaults."""
        free = self.free(method)
        own = {name: options[name] if name in free and name in options else self.defaults[name]
               for name in self.methods[method]}  # fmt: skip
        return Candidate(method, own)

    def draw(self, method: str, rng: Random) -> Candidate:
        """A candidate of a method, drawn from its ranges."""
        return self.make(method, {name: span.draw(rng) for name, span in self.free(method).items()})
