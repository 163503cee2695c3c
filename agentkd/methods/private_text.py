"""Private passages of a text, by pattern: e-mail addresses, keys, IBANs, card numbers, IP addresses, telephone numbers.

Where a kind has a checksum (cards: Luhn, ISO/IEC 7812-1; IBAN: ISO 13616, modulo 97) or a grammar of its own (IP
addresses), a passage counts only if it holds. Patterns see form, not meaning: a name, an address or a secret in plain
words needs a list of words, or a model of names. Nothing here is a guarantee.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

LISTED, NAME = "listed", "name"
DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")
BITS_A_CHARACTER = 3.5  # a random key has more, words and numbers have less


class Passage(NamedTuple):
    """A private place of a text: from character `begin` to before `end`, and its kind."""

    begin: int
    end: int
    kind: str


def find_private(text: str, words: Sequence[str] = (), names: Iterable[tuple[int, int]] = ()) -> list[Passage]:
    """Find the private passages of a text: sorted, and joined where they overlap.

    `words` are a user's own, found whole and whatever their case; `names` are places that a model of names has found.
    Joined passages have the kind that comes first in `KINDS`, then listed, then name."""
    found = [
        Passage(*match.span(), kind)
        for kind, (pattern, holds) in KINDS.items()
        for match in pattern.finditer(text)
        if holds(match[0])
    ]
    if words:
        found += [Passage(*match.span(), LISTED) for match in _listed(tuple(words)).finditer(text)]
    found += [Passage(begin, end, NAME) for begin, end in names]
    joined: list[Passage] = []
    for passage in sorted(each for each in found if each.begin < each.end):
        if joined and passage.begin < joined[-1].end:
            last = joined[-1]
            kind = min(last.kind, passage.kind, key=_ORDER.index)
            joined[-1] = Passage(last.begin, max(last.end, passage.end), kind)
        else:
            joined.append(passage)
    return joined


@cache
def _listed(words: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(filter(None, words), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)", re.IGNORECASE)


def passes_luhn(text: str) -> bool:
    """Whether 13 to 19 digits, blanks and dashes aside, end with their Luhn digit."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def passes_iban(text: str) -> bool:
    """Whether an account number, blanks aside, is 1 modulo 97, with letters read as 10 to 35."""
    number = text.replace(" ", "")
    return 15 <= len(number) <= 34 and int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


def is_address(text: str) -> bool:
    """Whether a text is an IP address, of version 4 or 6."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) > 3


def is_telephone(text: str) -> bool:
    """Whether a text that looks like a telephone number has 7 to 15 digits (ITU-T E.164) and is no date."""
    return 7 <= sum(map(str.isdigit, text)) <= 15 and not DATE.fullmatch(text)


def is_random(text: str) -> bool:
    """Whether a long word looks drawn: digits, capitals and small letters, or hexadecimal, of high entropy."""
    mixed = any(map(str.isdigit, text)) and any(map(str.isupper, text)) and any(map(str.islower, text))
    hexadecimal = len(text) >= 32 and re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", text) is not None
    counts = Counter(text)
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
    return (mixed and bits >= BITS_A_CHARACTER) or (hexadecimal and len(counts) > 8)


def _anything(text: str) -> bool:
    return True


KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "e-mail": (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), _anything),
    "key": (
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,20000}?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
            r"|\b(?:sk|pk|rk)[-_](?:[A-Za-z]{2,12}[-_])?[\w-]{16,}|\bAKIA[0-9A-Z]{16}\b|\bgh[opsur]_\w{20,}"
            r"|\bhf_\w{20,}|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{30,}|\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]{5,}"
        ),
        _anything,
    ),
    "random key": (re.compile(r"(?<![\w/+=])[A-Za-z0-9+/_]{20,}={0,2}(?![\w/+=])"), is_random),
    "IBAN": (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), passes_iban),
    "card": (re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-])"), passes_luhn),
    "IP address": (
        re.compile(
            r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)|(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"
        ),
        is_address,
    ),
    "telephone": (
        re.compile(
            r"(?<![\w.+-])(?:(?:\+|00)\d(?:[ ()./-]{0,3}\d){6,14}|\(\d{2,5}\)[ -]?\d(?:[ ./-]?\d){4,9}"
            r"|0\d{1,4}[ ./-]\d(?:[ ./-]?\d){4,9}|\d{3}[ .-]\d{3}[ .-]\d{4})(?!\w)"
        ),
        is_telephone,
    ),
}
_ORDER = (*KINDS, LISTED, NAME)
