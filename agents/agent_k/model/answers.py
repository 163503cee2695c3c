"""Read a model's answers, and ask for their form by a JSON schema."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from agentkd.teacher.thoughts import split_thoughts

BLOCK = re.compile(r"(?<![^\s:])(```+|~~~+)[^`\n]*\n(.*?)(?:\1|\Z)", re.DOTALL)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def parse_json(text: str) -> dict[str, Any] | None:
    """Return the first JSON object after the thoughts, also in a code fence; None without one."""
    _, text = split_thoughts(text)
    for match in re.finditer(r"\{", text):
        with suppress(ValueError, RecursionError):
            value, _ = json.JSONDecoder().raw_decode(text[match.start() :])
            if isinstance(value, dict):
                return value
    return None


def parse_code(text: str) -> str:
    """Return the code after the thoughts, "" if there is none.

    Of the fenced blocks, an unclosed one included, it is the last that compiles and has a `def`, else the
    longest; without blocks it is the text itself if it has a `def`."""
    _, text = split_thoughts(text.replace("\r\n", "\n"))
    blocks = [found[2].strip() for found in BLOCK.finditer(text)]
    if blocks:
        return next((block for block in reversed(blocks) if defines_function(block)), max(blocks, key=len)) + "\n"
    return text.strip() + "\n" if "def " in text else ""


def defines_function(code: str) -> bool:
    """Whether it is Python with a function. It is parsed and never run."""
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
