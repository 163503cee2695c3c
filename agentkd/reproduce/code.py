"""What an experiment's code is: its arms, read without running it, and a hash that tells rows of other code apart."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("agentkd.reproduce.", "agentkd.methods.")  # whose code decides a row


def read_code(module: str) -> tuple[dict[str, str], str]:
    """The arms of an experiment's module, and the hash of what it and the modules of ROOMS that it imports do.

    Docstrings and comments are free: they change no row."""
    trees: dict[str, ast.Module] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in trees:
            trees[name] = _read(name)
            waiting += _imports(trees[name])
    parts = sorted(f"{name if name != module else ''} {ast.dump(tree)}" for name, tree in trees.items())
    return _arms(trees[module]), hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(module: str) -> ast.Module:
    """The syntax tree of a module, without docstrings."""
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


def _imports(tree: ast.Module) -> Iterator[str]:
    """The modules of ROOMS that are imported by name, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(ROOMS):
            spec = importlib.util.find_spec(node.module)
            assert spec
            if spec.submodule_search_locations is None:
                yield node.module


def _arms(tree: ast.Module) -> dict[str, str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ARMS":
            arms: dict[str, str] = ast.literal_eval(node.value)
            return arms
    return {}
