"""Prompts are Jinja files in this folder; no prompt text lives in Python. May import: no other room."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent
APART = ("agent_k", "elicit", "verifiers", "sql", "math")
_NO_WIDTH = ("Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn")  # categories of Unicode: controls, formats, marks on a letter
_BLANK = "\u115f\u1160\u3164\uffa0"  # letters without a look
_BRACKET = re.compile("[<\u2039\u2329\u276c\u276e\u27e8\u3008\ufe3f\ufe64\uff1c]")  # and what looks like it
_FENCE = re.compile(rf"{_BRACKET.pattern}\s*[/\u2044\u2215\\]*\s*(?:kb|page)\b", re.IGNORECASE)


def escape_fences(value: Any) -> Any:
    """A value that cannot open or close the <kb> or <page> that fences untrusted text.

    A fence is found as a reader sees it: in full-width letters, and with signs in between that have no width. Only its
    bracket is replaced; the rest of the text stays as it is."""
    if not isinstance(value, str) or not _BRACKET.search(value):
        return value
    text, places = _as_seen(value)
    signs = list(value)
    for match in _FENCE.finditer(text):
        signs[places[match.start()]] = "("
    return "".join(signs)


def _as_seen(text: str) -> tuple[str, list[int]]:
    """A text in plain letters (NFKC) without signs of no width, and the place that each of its letters comes from."""
    seen, places = [], []
    for place, sign in enumerate(text):
        for letter in unicodedata.normalize("NFKC", sign):
            if letter.isspace() or (unicodedata.category(letter) not in _NO_WIDTH and letter not in _BLANK):
                seen.append(letter)
                places.append(place)
    return "".join(seen), places


@cache
def environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # asking the disk for a newer file costs more than rendering
        autoescape=False,  # the output is text for a model, not HTML
        finalize=escape_fences,
    )


def render(name: str, **values: Any) -> str:
    """The text of `name`.jinja with its values filled in; a missing value is an error."""
    return environment().get_template(f"{name}.jinja").render(values).strip()


@cache
def demonstrations(name: str) -> list[dict[str, Any]]:
    """The worked examples in `name`.jsonl."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


@cache
def prompts_hash(agent: str = "") -> str:
    """SHA-256 over the prompt files: a run made with other prompts is another run. A model card is none. Those of the
    folders in APART are counted apart, because no other agent reads them."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*.jinja*")) + sorted(FOLDER.rglob("*.jsonl")):
        own = path.parent.name if path.parent.name in APART else ""
        if path.name.startswith("card") or own != agent:
            continue
        digest.update(path.relative_to(FOLDER).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
