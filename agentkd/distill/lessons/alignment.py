"""Align the tokens of two tokenizers: cut one text into spans whose borders both share.

A span is the shortest stretch of text that begins and ends with a token on both sides, as in Hugging Face's GOLD
(Patiño et al. 2025, section "Cross-tokenizer sequence alignment"), which aligns at characters. Here positions are bytes
of UTF-8, because byte-level BPE and SentencePiece's byte fallback cut within characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # SentencePiece's byte fallback
BLANK = "▁"  # SentencePiece's leading-space marker, U+2581


class Span(NamedTuple):
    """Tokens `a` to `a_end` of one side and `b` to `b_end` of the other, ends excluded, which write the same bytes."""

    a: int
    a_end: int
    b: int
    b_end: int


def align_spans(ends_a: Sequence[int], ends_b: Sequence[int]) -> list[Span]:
    """Find the spans of two tokenisations of one text, given the byte at which each token ends (never decreasing).

    Spans follow one another without a gap, every border is a token's end on both sides, and no span holds another such
    border. A token that writes nothing goes with the one before it; at the start, with the one after it. Raises
    ValueError if the texts differ in length.
    """
    if (ends_a[-1:] or [0])[0] != (ends_b[-1:] or [0])[0]:
        raise ValueError(f"the texts end at byte {ends_a[-1:]} and {ends_b[-1:]}: they are not the same")
    found: list[Span] = []
    a = b = a_end = b_end = 0
    for border in sorted(set(ends_a) & set(ends_b) - {0}):
        while a_end < len(ends_a) and ends_a[a_end] <= border:
            a_end += 1
        while b_end < len(ends_b) and ends_b[b_end] <= border:
            b_end += 1
        found.append(Span(a, a_end, b, b_end))
        a, b = a_end, b_end
    return found


def token_ends(ids: Sequence[int], pieces: Sequence[bytes], text: str) -> list[int] | None:
    """The byte of `text` at which each token ends, or None if the tokens do not write this text: the tokenizer
    normalises it, or has no token for a part of it.

    A leading blank that SentencePiece puts before a text ("add dummy prefix") is not part of it and does not count.
    """
    written = b"".join(pieces[token] for token in ids)
    wanted = text.encode()
    dummy = int(written == b" " + wanted)
    if written[dummy:] != wanted:
        return None
    return [max(end - dummy, 0) for end in accumulate(len(pieces[token]) for token in ids)]


def token_bytes(tokenizer: Any) -> list[bytes]:
    """The bytes of UTF-8 that each token id of a fast tokenizer writes; b"" for ids without a token.

    Byte-level BPE names its tokens in an alphabet of 256 characters that stand for bytes (Radford et al. 2019,
    section 2.2); SentencePiece writes blanks as `▁` and lone bytes as `<0xE2>`. For other kinds (WordPiece) the
    bytes do not add up to the text, which `token_ends` finds out."""
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"]
    alphabet = byte_alphabet() if "ByteLevel" in json.dumps(decoder) else None
    added = tokenizer.get_added_vocab()
    vocabulary = tokenizer.get_vocab()
    pieces = [b""] * (max(vocabulary.values()) + 1)
    for token, number in vocabulary.items():
        if alphabet is not None and token not in added:
            pieces[number] = bytes(alphabet[char] for char in token)
        elif alphabet is None and (byte := BYTE.fullmatch(token)):
            pieces[number] = bytes.fromhex(byte[1])
        else:
            pieces[number] = (token if token in added else token.replace(BLANK, " ")).encode()
    return pieces


def byte_alphabet() -> dict[str, int]:
    """GPT-2's characters for bytes: printable Latin-1 characters stand for themselves, the others are U+0100 and on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def match_tokens(ours: Sequence[bytes], theirs: Sequence[bytes], skip: tuple[set[int], set[int]]) -> dict[int, int]:
    """Map token ids of `theirs` to those of `ours` that write the same bytes, one to one.

    `skip` holds both sides' special tokens, whose text does not tell their meaning."""
    by_bytes = []
    for pieces, special in zip((ours, theirs), skip, strict=True):
        found: dict[bytes, int] = {}
        for number, piece in enumerate(pieces):
            if piece and number not in special:
                found[piece] = number  # the later of two: a SentencePiece vocabulary lists its lone bytes first
        by_bytes.append(found)
    mine, other = by_bytes
    return {number: mine[piece] for piece, number in other.items() if piece in mine}


def place_spans(lengths: Sequence[int], size: int) -> list[int]:
    """Place spans in a row of blocks of `size` tokens so that no block cuts a span; returns where each begins. `size`
    must hold the longest. Places at a block's end may stay free.

    >>> place_spans([2, 1, 3], 4)
    [0, 2, 4]
    """
    found: list[int] = []
    place = 0
    for length in lengths:
        if place % size + length > size:
            place += -place % size
        found.append(place)
        place += length
    return found
