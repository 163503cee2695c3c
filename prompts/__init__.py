"""Prompts are Jinja files in this folder; no prompt text lives in Python. May import: no other room."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent


def escape_fences(value: Any) -> Any:
    """A value that cannot open or close the <kb> or <page> that fences untrusted text."""
    return re.sub(r"<(?=\s*/?\s*(?:kb|page)\b)", "(", value, flags=re.IGNORECASE) if isinstance(value, str) else value


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
    """SHA-256 over the prompt files: a run made with other prompts is another run. A model card is none; Agent K's
    (`agent_k`) are counted apart, because no other agent reads them."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*.jinja*")) + sorted(FOLDER.rglob("*.jsonl")):
        if path.name.startswith("card") or (path.parent.name == "agent_k") != (agent == "agent_k"):
            continue
        digest.update(path.relative_to(FOLDER).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
