"""Costs of the two kinds of wrong labels, as pages give them in words."""

from __future__ import annotations

import re

_MISS = r"\b(?:miss(?:ed|es|ing)?|false negatives?|undetected|overlooked|unnoticed|not (?:found|detected|caught))\b"
_ALARM = (
    r"\b(?:needless(?:ly)?|unnecessar(?:y|ily)|false (?:positive|alarm)s?|superfluous|wrongly (?:flagged|checked))\b"
)
_NUMBER = r"(?<![\w.,@])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\d%])(?! ?%)"
_APART = 60  # characters between a word and its number


def find_costs(text: str) -> tuple[float, float] | None:
    """The cost of a missed positive row and of a needless positive label; None where the pages do not give both.

    The number stands after its word ("a miss costs 500"), or else before it ("500 for a miss"), for both alike."""
    plain = " ".join(re.sub(r"[*_`$€£]", "", text.lower()).replace("false-", "false ").split())
    if not re.search(r"\bcosts?(?![a-z])|\bpenalt(?:y|ies)\b", plain):
        return None
    for before in (False, True):
        miss, alarm = (_find_number(plain, word, other, before) for word, other in ((_MISS, _ALARM), (_ALARM, _MISS)))
        if miss and alarm:
            return miss, alarm
    return None


def _find_number(text: str, word: str, other: str, before: bool) -> float | None:
    """The number beside the first `word` that has one, with neither digits nor the other word between them."""
    between = rf"(?:(?!{other})[^\d]){{0,{_APART}}}?"
    found = re.search(_NUMBER + between + word if before else word + between + _NUMBER, text)
    return float(found[1].replace(",", "")) if found else None
