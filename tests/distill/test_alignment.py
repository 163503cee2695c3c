"""Spans of text that two tokenizers agree on, for any text and both families of tokenizers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkd.distill.lessons.alignment import (
    align_spans,
    byte_alphabet,
    match_tokens,
    place_spans,
    token_bytes,
    token_ends,
)
from tests.support.lazy import require
from tests.support.vocabularies import pair, pieces, sentencepiece

require("tokenizers")


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.integers(0, 3), st.integers(0, 3))
def test_spans_cover_the_text_and_cannot_be_split(one: set[int], other: set[int], empty_a: int, empty_b: int) -> None:
    sides = [sorted([*cuts, 31, *[7] * empty]) for cuts, empty in ((one, empty_a), (other, empty_b))]
    found = align_spans(*sides)
    assert [(span.a, span.b) for span in found] == [(0, 0), *((span.a_end, span.b_end) for span in found[:-1])]
    assert (found[-1].a_end, found[-1].b_end) == (len(sides[0]), len(sides[1]))
    borders = [0, *(sides[0][span.a_end - 1] for span in found)]
    assert borders == [0, *(sides[1][span.b_end - 1] for span in found)]
    for span, (start, end) in zip(found, pairwise(borders), strict=True):
        inside = [{x for x in side[i:j] if start < x < end} for side, i, j in zip(sides, span[::2], span[1::2], strict=True)]  # fmt: skip  # noqa: E501
        assert start < end and not inside[0] & inside[1]


@given(st.text())
def test_any_text_is_cut_at_bytes(text: str) -> None:
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for tokenizer in pair()]
    sides = [token_ends(each, pieces, text) for each, pieces in zip(ids, pieces(), strict=True)]
    if "▁" in text:  # SentencePiece takes it for a blank
        assert sides[0] is not None and sides[1] is None
        return
    assert sides[0] is not None and sides[1] is not None
    for span in align_spans(*sides):
        ours = b"".join(pieces()[0][token] for token in ids[0][span.a : span.a_end])
        assert ours == b"".join(pieces()[1][token] for token in ids[1][span.b : span.b_end]) != b""


def test_characters_in_several_tokens_are_cut_where_both_do() -> None:
    """One side writes `ó` in bytes that the other merges."""
    text = "Łódź 日本 🎉"
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for tokenizer in pair()]
    sides = [token_ends(each, pieces, text) for each, pieces in zip(ids, pieces(), strict=True)]
    assert sides[0] is not None and sides[1] is not None
    assert "<0xC3>" in pair()[1].convert_ids_to_tokens(ids[1])
    assert len(ids[0]) != len(ids[1]) and 1 < len(align_spans(*sides)) <= min(map(len, ids))
    with pytest.raises(ValueError, match="they are not the same"):
        align_spans(sides[0], sides[1][:-1])


def test_a_dummy_blank_is_not_of_the_text() -> None:
    tokenizer = sentencepiece(dummy=True)
    ids = tokenizer("path: capital", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids)[0].startswith("▁")
    found = token_ends(ids, token_bytes(tokenizer), "path: capital")
    assert found is not None and found[-1] == 13
    assert token_ends(ids, token_bytes(tokenizer), "path: capitals") is None


def test_the_alphabet_is_the_tokenizers_own() -> None:
    from tokenizers import pre_tokenizers

    assert set(byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(byte_alphabet().values()) == list(range(256))


def test_equal_tokens_are_one_to_one_and_mean_the_same() -> None:
    """`A` is there twice in SentencePiece, as itself and as a lone byte."""
    same = match_tokens(*pieces(), tuple(set(tokenizer.all_special_ids) for tokenizer in pair()))
    assert len(same) > 50 and len(set(same.values())) == len(same)
    assert all(pieces()[1][theirs] == pieces()[0][ours] for theirs, ours in same.items())
    capital = pair()[1].convert_tokens_to_ids("▁capital")
    assert same[capital] == pair()[0].convert_tokens_to_ids("Ġcapital")
    assert pair()[1].convert_tokens_to_ids("C") in same and pair()[1].convert_tokens_to_ids("<0x43>") not in same
    assert pair()[1].eos_token_id not in same


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(9, 12))
def test_no_block_cuts_a_span(lengths: list[int], size: int) -> None:
    found = place_spans(lengths, size)
    assert all(place // size == (place + length - 1) // size for place, length in zip(found, lengths, strict=True))
    assert all(place + length <= after for (place, after), length in zip(pairwise(found), lengths, strict=False))
