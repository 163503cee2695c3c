"""Writes docs/reference.md from signatures, docstrings and descriptions of options; a test holds the page to the code.

usage: python scripts/reference.py [--check]
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

PAGE = Path(__file__).parents[1] / "docs/reference.md"
CONFIGS = (
    "GenerateConfig",
    "DistillConfig",
    "EvalConfig",
    "ImagesConfig",
    "TextsConfig",
    "VisionLanguageConfig",
    "ClientsConfig",
)
ASKED = ("agentkd.ask.student", "agentkd.ask.answer")
HEAD = """# Reference

Made from the code by `python scripts/reference.py`; do not edit it by hand. [api.md](api.md) shows how to use it.
"""


def write_page() -> str:
    """The whole page."""
    parts = [HEAD, "## The functions\n"]
    parts += [describe_function(f"agentkd.{name}", member) for name, member in own_functions("agentkd.api")]
    parts += [describe_class("agentkd", member) for member in own_classes("agentkd.api")]
    parts.append("## Asking a student\n")
    parts += [describe_class(name, member) for name in ASKED for member in own_classes(name)]
    parts.append("## Verifiers\n\nCallables of an item and an answer ([verification.md](verification.md)).\n")
    parts += [describe_class(kind.__module__, kind) for kind in verifiers()]
    parts.append("## The records of traces\n")
    parts += [describe_class("agentkd.trace", member) for member in own_classes("agentkd.trace")]
    parts.append("## Options\n\nThe keywords of a function are the fields of its config, `agentkd.config`.\n")
    parts += [describe_options(name) for name in CONFIGS]
    parts.append("## Methods\n\nPure functions of tensors, `agentkd.methods`: one paper a module.\n")
    parts += [describe_module(module) for module in submodules("agentkd.methods")]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def verifiers() -> list[type]:
    """The classes whose objects verify, and the ladder of them, by module."""
    package = import_module("agentkd.verifiers")
    names = [info.name for info in pkgutil.iter_modules(package.__path__, "agentkd.verifiers.")]
    return [kind for name in names for kind in own_classes(name) if {"__call__", "climb"} & vars(kind).keys()]


def own_functions(module: str) -> list[tuple[str, Any]]:
    """The functions of the API, in the order of `agentkd.__all__`."""
    names = import_module("agentkd").__all__
    return [(name, getattr(import_module(module), name)) for name in names if name[0].islower()]


def own_classes(module: str) -> list[type]:
    """The public classes that a module defines, in the order of its lines."""
    source = import_module(module)
    found = [member for name, member in vars(source).items() if inspect.isclass(member) and name[0] != "_"]
    return [member for member in found if member.__module__ == module]


def submodules(package: str) -> Iterator[ModuleType]:
    """All modules below a package that define public functions, by name."""
    for info in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        module = import_module(info.name)
        if public_functions(module):
            yield module


def public_functions(module: ModuleType) -> list[tuple[str, Any]]:
    return [
        (name, member)
        for name, member in vars(module).items()
        if inspect.isfunction(member) and member.__module__ == module.__name__ and name[0] != "_"
    ]


def describe_function(name: str, function: Any) -> str:
    """Its signature and docstring."""
    return f"### {name}\n\n```python\n{signature(name, function)}\n```\n\n{prose(function)}\n"


def describe_class(module: str, kind: type) -> str:
    """Its docstring, fields and methods."""
    lines = [f"### {module}.{kind.__name__}\n"]
    if "__init__" in vars(kind) and not (fields(kind) or issubclass(kind, BaseModel)):
        lines.append(f"```python\n{signature(kind.__name__, kind)}\n```\n")
    lines += [prose(kind), ""]
    for name, text in fields(kind):
        lines.append(f"- `{name}: {text}`")
    for name, member in vars(kind).items():
        target = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name[0] == "_" or not inspect.isfunction(target) or not target.__doc__:
            continue
        shown = name if isinstance(member, property) else signature(name, target)
        lines.append(f"- `{shown}`: {first_line(target)}")
    return "\n".join(lines) + "\n"


def fields(kind: type) -> list[tuple[str, str]]:
    """The names of a record's fields with their types as they are written."""
    notes = {name: str(note) for name, note in vars(kind).get("__annotations__", {}).items() if name != "model_config"}
    known = set(kind.model_fields) if issubclass(kind, BaseModel) else set()
    if dataclasses.is_dataclass(kind):
        known = {entry.name for entry in dataclasses.fields(kind)}
    return [(name, note) for name, note in notes.items() if name in known]


def describe_options(name: str) -> str:
    """The fields of a config as a table."""
    from agentkd.cli.help import config_fields

    kind = getattr(import_module("agentkd.config"), name)
    rows = [f"### agentkd.config.{name}\n", f"{first_line(kind)}\n", "| option | what |", "|---|---|"]
    for field, text in config_fields(name).items():
        rows.append(f"| `{field}` | {escape(text)} |")
    return "\n".join(rows) + "\n"


def describe_module(module: ModuleType) -> str:
    """Its first line, and its functions with theirs."""
    lines = [f"### {module.__name__}\n", f"{first_line(module)}\n"]
    lines += [f"- `{signature(name, member)}`: {first_line(member)}" for name, member in public_functions(module)]
    return "\n".join(lines) + "\n"


def signature(name: str, function: Any) -> str:
    """Name and parameters; without `self`, and without the quotes of types."""
    text = str(inspect.signature(function)).replace("(self, ", "(").replace("(self)", "()").replace("'", "")
    return f"{name}{text}"


def prose(member: Any) -> str:
    return inspect.cleandoc(member.__doc__ or "")


def first_line(member: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return re.sub(r"\s+", " ", prose(member).split("\n\n")[0])


def escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    page = write_page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page else f"{PAGE.name} is not what the code says: run scripts/reference.py")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
