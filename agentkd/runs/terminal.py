"""The terminal: text from models, servers and files is shown as it is, and cannot command the terminal.

An escape sequence can retitle a window, hide lines or answer in the user's name; a bidirectional control can show a
line in another order. Such characters are written as escapes, like \\x1b, in all that agentkd prints.
"""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

from rich.console import Console

_JOINERS = "\u200c\u200d"  # they shape letters and emoji, and hide nothing
_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories: controls, format, half characters, line ends


def escape_controls(text: str) -> str:
    """Replace control characters by escapes; line breaks and tabs stay.

    >>> escape_controls("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _CONTROLS and char not in "\n\t" and char not in _JOINERS
        else char
        for char in text
    )


class Terminal(Console):
    """A rich console whose strings are plain text: no markup, no emoji names, no control characters."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Any:
        """Make a `rich.text.Text`; all strings that are printed, also those in tables, go through here."""
        return super().render_str(escape_controls(text), **options)


def print_line(text: str) -> None:
    """Print a line on stdout, as a command's result."""
    Terminal().print(text, soft_wrap=True)
    sys.stdout.flush()
