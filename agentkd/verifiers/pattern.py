"""An answer against a regular expression."""

from __future__ import annotations

import re

from agentkd.errors import UserError
from agentkd.trace import Check
from agentkd.verifiers.contract import Item


class Pattern:
    """Check that a regular expression is found in the answer; `^` and `$` tie it to the ends."""

    name = "regex"

    def __init__(self, pattern: str) -> None:
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"regex:{pattern}: {error}; escape what is meant as it stands") from None

    def __call__(self, item: Item, answer: str) -> Check:
        passed = self.pattern.search(answer) is not None
        return Check(name=self.name, passed=passed, detail="" if passed else f"{answer[:60]!r} does not match")
