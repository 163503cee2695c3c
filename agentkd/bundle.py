"""One script out of functions of this package: their own source and that of all that they need, without agentkd.

Definitions keep their text, with comments and docstrings, in the order of the modules. What nothing reaches is left
out.
Two different definitions of one name in two modules are told apart by the module's name.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

PACKAGE = "agentkd"
Name = tuple[str, str]
"""A module and a name that it defines."""


@dataclass(frozen=True)
class Definition:
    """A top-level statement that defines names, with the lines of its source and the comments right above them."""

    node: ast.stmt
    first: int
    last: int  # lines, from 1
    names: tuple[str, ...]


@dataclass
class Source:
    """A module's source, taken apart."""

    module: str
    text: str
    definitions: dict[str, Definition] = field(default_factory=dict)
    inner: dict[str, Name] = field(default_factory=dict)  # local name → what it names in this package; "" for a module
    outer: dict[str, str] = field(default_factory=dict)  # local name → the line that imports it

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def read_source(module: str) -> Source:
    """Take a module's source apart."""
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    source = Source(module, Path(spec.origin).read_text(encoding="utf-8"))
    for node in _statements(ast.parse(source.text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _read_import(node, source.inner, source.outer)
            continue
        names = tuple(_defined(node))
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        while first > 1 and source.lines[first - 2].startswith("#"):
            first -= 1
        for name in names:
            source.definitions[name] = Definition(node, first, node.end_lineno or node.lineno, names)
    return source


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The top-level statements, those that only type checkers read too."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (each for each in node.body if isinstance(each, ast.Import | ast.ImportFrom))
        else:
            yield node


def _read_import(node: ast.Import | ast.ImportFrom, inner: dict[str, Name], outer: dict[str, str]) -> None:
    for alias in node.names:
        local = alias.asname or alias.name.split(".")[0]
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            outer[local] = f"import {alias.name}{renamed}"
        elif (node.module or "").split(".")[0] == PACKAGE:
            is_module = importlib.util.find_spec(f"{node.module}.{alias.name}") if _is_room(str(node.module)) else None
            inner[local] = (f"{node.module}.{alias.name}", "") if is_module else (str(node.module), alias.name)
        elif node.module != "__future__":
            outer[local] = f"from {node.module} import {alias.name}{renamed}"


def _is_room(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return bool(spec and spec.submodule_search_locations)


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


@dataclass
class Bundle:
    """The definitions that some names reach, module by module, and the lines that import the rest."""

    sources: dict[str, Source] = field(default_factory=dict)
    reached: set[Name] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)  # modules, each after those that it imports

    def source(self, module: str) -> Source:
        if module not in self.sources:
            self.sources[module] = read_source(module)
        return self.sources[module]

    def reach(self, name: Name) -> None:
        """Add a definition and all that it needs."""
        waiting = [name]
        while waiting:
            module, local = found = waiting.pop()
            source = self.source(module)
            if local in source.inner:  # a name that the module itself imports
                waiting.append(source.inner[local])
                continue
            if found in self.reached or local not in source.definitions:
                continue
            self.reached |= {(module, each) for each in source.definitions[local].names}
            for use in uses_of(source, source.definitions[local].node):
                if isinstance(use.what, str):
                    self.imports.add(use.what)
                else:
                    waiting.append(use.what)

    def text(self, names: dict[Name, str]) -> str:
        """The reached definitions, each module under a line with its name."""
        modules = {module for module, _ in self.reached}
        parts = []
        for module in self._sorted(modules):
            source = self.sources[module]
            wanted = {d.first: d for local, d in source.definitions.items() if (module, local) in self.reached}
            texts = [rewrite(source, definition, names) for _, definition in sorted(wanted.items())]
            parts.append(f"# {'-' * 10} {module}\n\n\n" + "\n\n\n".join(filter(None, texts)))
        return "\n\n\n".join(parts) + "\n"

    def _sorted(self, modules: set[str]) -> list[str]:
        """The modules, each after those whose definitions it uses."""
        needs: dict[str, set[str]] = defaultdict(set)
        for module, local in self.reached:
            source = self.sources[module]
            for use in uses_of(source, source.definitions[local].node):
                if isinstance(use.what, tuple):
                    needs[module].add(self._home(use.what)[0])
        done: list[str] = []

        def visit(module: str) -> None:
            if module not in done and module in modules:
                for other in sorted(needs[module] - {module}):
                    visit(other)
                if module not in done:
                    done.append(module)

        for module in sorted(modules):
            visit(module)
        return done

    def _home(self, name: Name) -> Name:
        """Where a name is defined, however often it is imported on."""
        while name[1] in self.source(name[0]).inner:
            name = self.source(name[0]).inner[name[1]]
        return name

    def rename(self) -> dict[Name, str]:
        """A name for each reached definition: its own, unless another one has it already."""
        taken: dict[str, str] = {}
        names: dict[Name, str] = {}
        for module, local in sorted(self.reached):
            source = self.sources[module]
            text = "\n".join(source.lines[source.definitions[local].first - 1 : source.definitions[local].last])
            name = local
            if taken.get(local, text) != text:
                name = f"{local}_{module.rpartition('.')[2]}"
            taken[name] = text
            names[module, local] = name
        return names


@dataclass(frozen=True)
class Use:
    """A place in a source that names something: `what` of this package, or the line that imports it."""

    node: ast.expr | ast.stmt
    what: Name | str


def uses_of(source: Source, node: ast.stmt) -> list[Use]:
    """The names that a definition uses.

    Of those in the annotations of functions, which nobody evaluates, only what other packages define."""
    inner, outer = dict(source.inner), dict(source.outer)
    found: list[Use] = []
    hidden: set[int] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.ImportFrom) and (each.module or "").split(".")[0] == PACKAGE:
            _read_import(each, inner, {})
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = [each.returns, *(a.annotation for a in ast.walk(each.args) if isinstance(a, ast.arg))]
            hidden |= {id(inside) for part in parts if part is not None for inside in ast.walk(part)}
    for each in ast.walk(node):
        if id(each) in hidden:
            if isinstance(each, ast.Name) and each.id in outer and each.id not in source.definitions:
                found.append(Use(each, outer[each.id]))
            continue
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            module, name = inner.get(each.value.id, ("", "-"))
            if not name:  # a function of a module: it is called without the module's name
                found.append(Use(each, (module, each.attr)))
                hidden.add(id(each.value))
        elif isinstance(each, ast.Name):
            if each.id in inner:
                found.append(Use(each, inner[each.id]))
            elif each.id in source.definitions:
                found.append(Use(each, (source.module, each.id)))
            elif each.id in outer:
                found.append(Use(each, outer[each.id]))
    return found


def rewrite(source: Source, definition: Definition, names: dict[Name, str]) -> str:
    """A definition's text under its new names, without the imports of this package within it."""
    lines = source.lines[definition.first - 1 : definition.last]
    edits: list[tuple[int, int, int, str]] = []
    for use in uses_of(source, definition.node):
        if isinstance(use.what, tuple) and isinstance(use.node, ast.Name | ast.Attribute):
            new = names.get(use.what, use.what[1])
            if ast.unparse(use.node) != new and use.node.end_col_offset is not None:
                edits.append((use.node.lineno, use.node.col_offset, use.node.end_col_offset, new))
    for name in definition.names:
        new = names.get((source.module, name), name)
        if new != name:
            place = definition.node.lineno
            match = re.search(rf"\b{re.escape(name)}\b", source.lines[place - 1])
            assert match
            if not any(edit[:2] == (place, match.start()) for edit in edits):
                edits.append((place, match.start(), match.end(), new))
    for line, start, end, new in sorted(edits, reverse=True):
        raw = lines[line - definition.first].encode()  # offsets are of bytes
        lines[line - definition.first] = (raw[:start] + new.encode() + raw[end:]).decode()
    for each in ast.walk(definition.node):
        if isinstance(each, ast.ImportFrom) and (each.module or "").split(".")[0] == PACKAGE:
            for number in range(each.lineno, (each.end_lineno or each.lineno) + 1):
                lines[number - definition.first] = "\0"
    return "\n".join(line for line in lines if line != "\0")


def bundle(entries: Iterable[Name]) -> str:
    """The source of some definitions with all that they need, ready to be followed by a script."""
    made = Bundle()
    for entry in entries:
        made.reach(entry)
    text = made.text(made.rename())
    return "\n".join(sorted(made.imports)) + "\n\n\n" + text
