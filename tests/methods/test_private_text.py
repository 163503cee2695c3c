"""Private passages by pattern: what has a checksum must pass it, and what only looks like one is left alone."""

from __future__ import annotations

import pytest

from agentkd.methods.private_text import KINDS, find_private

PRIVATE = {
    "e-mail": ["ada.lovelace+kd@mail.example.org", "x@y.de"],
    "key": ["sk-proj-abcdefgh12345678abcd", "AKIAIOSFODNN7EXAMPLE", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"],
    "random key": ["wJalrXUtnFEMI7K7MDENGbPxRfiCYEXAMPLEKEY", "9f86d081884c7d659a2feaa0c55ad015"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "IP address": ["192.168.17.4", "2001:db8::ff00:42:8329"],
    "telephone": ["+44 20 7946 0958", "(030) 901820", "0171 5551234", "555-010-4477", "0049 30 901820"],
}
PUBLIC = [
    "born 1815-12-10, 10.12.1815 or 12/10/1815",
    "GB82 WEST 1234 5698 7654 33",  # one off
    "4111 1111 1111 1112",
    "300.1.2.3 is no address, nor is 12:30:45",
    "m.0d05w3 and Q42, people.person.place_of_birth",
    "12,345,678 inhabitants in 1914-1918, at 52.5200, 13.4050",
    "std::vector<InternationalizationUtilities>",
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_found_whole(kind: str) -> None:
    for secret in PRIVATE[kind]:
        for text in (f"it is {secret}", f"({secret}), or so.", f'"{secret}"<|im_end|>'):
            ((begin, end, found),) = find_private(text)
            assert found == kind and secret.strip() in text[begin:end] and len(text[begin:end]) <= len(secret) + 12


@pytest.mark.parametrize("text", PUBLIC)
def test_look_alikes_are_public(text: str) -> None:
    assert find_private(text) == []


def test_words_and_names_are_whole_and_overlaps_are_joined() -> None:
    text = "Ann wrote to ANN LEE at ann.lee@example.org every annual meeting."
    found = find_private(text, ["ann", "Ann Lee"], [(13, 16)])
    assert [(text[begin:end], kind) for begin, end, kind in found] == [
        ("Ann", "listed"),
        ("ANN LEE", "listed"),
        ("ann.lee@example.org", "e-mail"),
    ]


def test_a_long_line_takes_no_time() -> None:
    for piece in ("1" * 5000, "a.b-" * 5000, "+1 (" * 5000, "AB12 " * 5000, "::1" * 3000, "aB3" * 9000):
        find_private(piece * 4)
