"""Read a model's answers, and ask for their form by a JSON schema."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from agentkd.teacher.thoughts import split_thoughts

MOST_CODE = 100_000  # characters of code that are looked at
MOST_WORK = 10_000_000  # characters that are looked at in search of JSON, over all places where it may begin
BLOCK = re.compile(r"(?<![^\s:])(```+|~~~+)[^`\n]*\n(.*?)(?:\1|\Z)", re.DOTALL)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def parse_json(text: str) -> dict[str, Any] | None:
    """Return the first JSON object after the thoughts, also in a code fence; None without one.

    One that is nested too deeply for the parser is none. Halves of surrogate pairs, which JSON can hold and no file,
    are replaced."""
    _, text = split_thoughts(text)
    work = 0
    for match in re.finditer(r"\{", text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, match.start())
        except RecursionError:
            return None
        except ValueError as error:
            work += getattr(error, "pos", len(text))  # from the beginning: the error counts the lines before it
            if work > MOST_WORK:
                return None
            continue
        if isinstance(value, dict):
            whole: dict[str, Any] = json.loads(replace_surrogates(json.dumps(value, ensure_ascii=False)))
            return whole
    return None


def replace_surrogates(text: str) -> str:
    """A text that can be written as UTF-8."""
    return text.encode(errors="replace").decode()


def parse_code(text: str) -> str:
    """Return the code after the thoughts, "" if there is none.

    Of the fenced blocks, an unclosed one included, it is the last that compiles and has a `def`, else the
    longest; without blocks it is the text itself if it has a `def`. Code of more than MOST_CODE characters is not
    compiled."""
    _, text = split_thoughts(replace_surrogates(text).replace("\r\n", "\n"))
    blocks = [found[2].strip() for found in BLOCK.finditer(text)]
    if blocks:
        return next((block for block in reversed(blocks) if defines_function(block)), max(blocks, key=len)) + "\n"
    return text.strip() + "\n" if "def " in text else ""


def defines_function(code: str) -> bool:
    """Whether it is Python with a function. It is parsed and never run."""
    if len(code) > MOST_CODE:
        return False
    try:
        with warnings.catch_warnings(action="ignore"):
            return any(isinstance(node, FUNCTIONS) for node in ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these properties."""
    required = list(properties)
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


def enum_schema(values: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of one of these strings."""
    return {"type": "string", "enum": list(values)}
