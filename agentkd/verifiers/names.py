"""Verifiers by their names on the command line: `exact`, `numeric:tolerance=0.01`, `sql:geo.db`, `pkg.mod:function`.

A comma begins another verifier where the name of one follows, and else belongs to what stands before it. So options are
separated by commas, and a pattern may hold some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentkd.errors import UserError, unknown_name
from agentkd.verifiers.contract import PASS, Verifier

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_OPTION = re.compile(r"\s*(?P<key>[a-z_]+)\s*=\s*(?P<value>[^,]*)")


@dataclass(frozen=True)
class Kind:
    """A kind of verifier: what it takes after the colon, its options, and where it runs.

    `worker`: in a process of its own, which is ended where it hangs; it may be the user's code, or a pattern that takes
    for ever. `judge`: with a model."""

    make: Callable[..., Any]
    takes: str = ""
    options: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    runs: Literal["here", "worker", "judge"] = "here"


def _exact() -> Verifier:
    from agentkd.verifiers.gold import exact

    return exact


def _set(**options: float) -> Verifier:
    from agentkd.verifiers.gold import Sets

    return Sets(**options)


def _numeric(**options: float) -> Verifier:
    from agentkd.verifiers.numeric import Numeric

    return Numeric(**options)


def _regex(pattern: str) -> Verifier:
    from agentkd.verifiers.pattern import Pattern

    return Pattern(pattern)


def _json_schema(file: str) -> Verifier:
    from agentkd.verifiers.json_schema import JsonSchema

    return JsonSchema.read(Path(file).expanduser())


def _code(**options: Any) -> Verifier:
    from agentkd.verifiers.code import Code

    return Code(**options)


def _sql(database: str, **options: Any) -> Verifier:
    from agentkd.verifiers.sql import Sql

    return Sql(Path(database).expanduser(), **options)


def _arithmetic() -> Verifier:
    from agentkd.verifiers.arithmetic import arithmetic

    return arithmetic


def _citations(**options: int) -> Verifier:
    from agentkd.verifiers.citations import Citations

    return Citations(**options)


def _majority(**options: float) -> Verifier:
    from agentkd.verifiers.majority import Majority

    return Majority(**options)


def _judge(model: Any) -> Verifier:
    from agentkd.verifiers.llm_judge import LlmJudge

    return LlmJudge(model)


def _function(spec: str, at_least: float = PASS) -> Verifier:
    from agentkd.verifiers.functions import Function, import_function

    return Function(import_function(spec), spec, at_least)


KINDS: dict[str, Kind] = {
    "exact": Kind(_exact),
    "set": Kind(_set, options={"at_least": float}),
    "numeric": Kind(_numeric, options={"tolerance": float, "relative": float}),
    "regex": Kind(_regex, "PATTERN", runs="worker"),
    "json-schema": Kind(_json_schema, "FILE", runs="worker"),
    "code": Kind(_code, options={"seconds": float}),
    "sql": Kind(_sql, "DB", {"rows": int, "seconds": float}),
    "arithmetic": Kind(_arithmetic),
    "citations": Kind(_citations, options={"least": int}),
    "majority": Kind(_majority, options={"at_least": float}),
    "judge": Kind(_judge, "MODEL", runs="judge"),
}
FUNCTION = Kind(_function, "FUNCTION", {"at_least": float}, "worker")
NAMES = tuple(KINDS)


@dataclass(frozen=True)
class Spec:
    """A verifier as it is named: its kind, what follows the colon, and its options."""

    text: str
    kind: Kind
    argument: str
    options: Mapping[str, Any]

    def make(self) -> Verifier:
        """Make the verifier; a judge is made with its model instead. Raises UserError for a wrong file or function."""
        values = [self.argument] if self.kind.takes else []
        verifier: Verifier = self.kind.make(*values, **self.options)
        return verifier


def parse_specs(texts: Iterable[str]) -> list[Spec]:
    """Parse what `--verify` was given, several times or with commas. UserError for an unknown name or option."""
    return [parse_spec(piece) for text in texts for piece in split_specs(text)]


def split_specs(text: str) -> list[str]:
    """Split at the commas that begin another verifier.

    >>> split_specs(r"exact,numeric:tolerance=0.1,relative=0.2,regex:^\\d{1,3}$,my.checks:right")
    ['exact', 'numeric:tolerance=0.1,relative=0.2', 'regex:^\\\\d{1,3}$', 'my.checks:right']
    """
    found: list[str] = []
    for piece in text.split(","):
        if not found or piece.strip().partition(":")[0] in KINDS or _FUNCTION.fullmatch(piece.strip()):
            found.append(piece)
        else:
            found[-1] += f",{piece}"
    return [piece.strip() for piece in found if piece.strip()]


def parse_spec(text: str) -> Spec:
    """Parse one verifier. UserError for an unknown name or option, or one that lacks its argument."""
    name, _, rest = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        head = text.partition(",")[0]
        if not _FUNCTION.fullmatch(head):
            raise unknown_name("verifier", text, NAMES, ", or a function as pkg.mod:function")
        name, kind, rest = head, FUNCTION, text
    argument, options = rest, dict[str, Any]()
    if kind.options:
        pieces = rest.split(",") if rest else []
        first = [pieces.pop(0)] if kind.takes and pieces else []
        argument = first[0] if first else ""
        options = dict(_read_option(name, piece, kind) for piece in pieces)
    if kind.takes and not argument:
        raise UserError(f"--verify {text}: {name} needs {kind.takes}: write {name}:{kind.takes}")
    if not kind.takes and not kind.options and rest:
        raise UserError(f"--verify {text}: {name} takes nothing after the colon")
    return Spec(text, kind, argument, options)


def _read_option(name: str, piece: str, kind: Kind) -> tuple[str, Any]:
    match = _OPTION.fullmatch(piece)
    if match is None or match["key"] not in kind.options:
        key = match["key"] if match else piece
        raise unknown_name(f"option of {name}", key, kind.options, " (write option=value)")
    try:
        return match["key"], kind.options[match["key"]](match["value"].strip())
    except ValueError:
        raise UserError(f"{name}: {match['key']}={match['value']!r} is no number") from None
