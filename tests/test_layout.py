"""The house: four folders shipped inside the package, and never imported past it."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("agents", "retrievers", "prompts", "eval")
SOURCES = [path for folder in ("agentkd", *FOLDERS, "scripts", "tests") for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_links_are_relative(name: str) -> None:
    assert os.readlink(ROOT / "agentkd" / name) == f"../{name}"


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_bare_imports(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        bare = [name for name in names if name.split(".")[0] in FOLDERS]
        assert not bare, f"{path}:{node.lineno} imports {bare}: a module would exist twice"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.stat().st_size and "tests" not in p.parts], ids=str)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), path
