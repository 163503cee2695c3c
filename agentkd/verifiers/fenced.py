"""The content of a fenced block: models wrap code, SQL and JSON in one, with words around it."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"```[^\n`]*\n(.*?)(?:\n?```|\Z)", re.DOTALL)


def unfence(answer: str) -> str:
    """Return the content of the last fenced block, or the whole answer where it has none.

    >>> unfence("Here it is: ```sql\\nSELECT 1\\n``` Done.")
    'SELECT 1'
    """
    blocks = _BLOCK.findall(answer)
    return (blocks[-1] if blocks else answer).strip()
