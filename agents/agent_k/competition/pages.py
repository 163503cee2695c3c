"""The pages of a competition as one text.

Kaggle's pages are other people's text: tags are stripped, links are not followed, and prompts show them in a fence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html.parser import HTMLParser

MAX_TEXT = 60_000  # characters of a competition's text that are kept, about 15,000 tokens
TAG = 2000  # characters of a tag
_ORDER = ("overview", "abstract", "description", "evaluation", "metric")  # pages by how much a stage needs them
_LEFT_OUT = ("rules", "prizes")  # long, and of no use for a solution


def join_pages(pages: Iterable[tuple[str, str]], limit: int = MAX_TEXT) -> str:
    """Join pages into one text, the useful ones first, cut at `limit` characters.

    A text that was cut has a last line that says so."""
    kept = [(name, strip_tags(text).strip()) for name, text in pages if name.lower() not in _LEFT_OUT]
    kept.sort(key=lambda page: _page_rank(page[0].lower()))
    text = "\n\n".join(f"# {name}\n\n{body}" for name, body in kept if body)
    if len(text) <= limit:
        return text
    note = "\n\n[cut here: {} more characters]"
    kept_length = max(0, limit - len(note) - 10)
    return text[:kept_length] + note.format(f"{len(text) - kept_length:,}")


def _page_rank(name: str) -> int:
    if "data" in name:  # "data description" does not describe the task
        return len(_ORDER)
    return next((rank for rank, word in enumerate(_ORDER) if word in name), len(_ORDER) + 1)


_BLOCKS = set(
    re.findall(r"\w+", "p div section article table tr ul ol dl dt dd pre blockquote br hr h1 h2 h3 h4 h5 h6")
)
_INLINE = set(
    re.findall(
        r"\w+",
        "a b i u s em strong span code kbd sub sup small big font img picture figure source video iframe center tbody "
        "thead tfoot caption col colgroup figcaption html head body title template noscript meta link label input "
        "button main header footer nav summary details mark del ins abbr cite q var samp time svg path g",
    )
)
_HIDDEN = ("script", "style")


def strip_tags(text: str) -> str:
    """Turn HTML, or markdown with HTML in it, into text: lines for blocks, bars between cells.

    Text that only looks like a tag (`<image_id>`, `a <b and c> d`) stays."""
    parser = _TagStripper()
    parser.feed(_OPEN.sub("&lt;", _drop_comments(text)))
    parser.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(parser.parts))


# A bracket that no other closes is text, since the parser would look for its end again and again, for hours where there
# are many. So is a section of XML, which the parser does not know.
_OPEN = re.compile(rf"<(?![^<>]{{0,{TAG}}}>)|<(?=!\[)")


def _drop_comments(text: str) -> str:
    kept, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start)) >= 0:
        kept.append(text[at:start])
        at = end + len("-->")
    return "".join(kept) + text[at:]


class _TagStripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self.hidden += 1
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in ("td", "th"):
            self.parts.append(" | ")
        elif tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.parts.append(f"\n\n{'#' * (int(tag[1]) + 1)} ")
        elif tag in _BLOCKS:
            self.parts.append("\n")
        elif tag not in _INLINE or (len(tag) == 1 and any(value is None for _, value in attrs)):
            self.parts.append(self.get_starttag_text() or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        elif tag in _BLOCKS:
            self.parts.append("\n")
        elif tag not in _INLINE and tag not in ("li", "td", "th"):
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)
