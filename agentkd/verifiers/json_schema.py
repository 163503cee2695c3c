"""An answer that is JSON against a JSON schema (the package `jsonschema`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentkd.errors import UserError, near_file
from agentkd.trace import Check
from agentkd.verifiers.contract import Item
from agentkd.verifiers.fenced import unfence


class JsonSchema:
    """Check that the answer is JSON, alone or in a fenced block, and fits the schema.

    The draft is the one that the schema names, else 2020-12. References lead to the schema itself, never to the net."""

    name = "json-schema"

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        try:
            import jsonschema
            import referencing
        except ImportError:
            raise UserError("json-schema needs jsonschema: pip install 'agentkd[verify]'") from None
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise UserError(f"json-schema: the schema is none ({error.message[:120]}, at {error.json_path})") from None
        self.validator = kind(schema, registry=referencing.Registry())

    @classmethod
    def read(cls, file: Path) -> JsonSchema:
        """Read the schema from a file. Raises UserError where that is not JSON."""
        try:
            schema = json.loads(file.read_text(encoding="utf-8"))
        except OSError:
            raise UserError(f"json-schema:{file}: no such file{near_file(file)}; give a schema as JSON") from None
        except ValueError as error:
            raise UserError(f"json-schema:{file}: not JSON ({error})") from None
        if not isinstance(schema, dict | bool):
            raise UserError(f"json-schema:{file}: a schema is an object, this is a {type(schema).__name__}")
        return cls(schema)

    def __call__(self, item: Item, answer: str) -> Check:
        try:
            value = json.loads(unfence(answer))
        except (ValueError, RecursionError) as error:
            return Check(name=self.name, passed=False, detail=f"not JSON: {str(error)[:120]}")
        first = next(iter(self.validator.iter_errors(value)), None)
        detail = "" if first is None else f"{first.message[:160]} at {first.json_path[:60]}"
        return Check(name=self.name, passed=first is None, detail=detail)
