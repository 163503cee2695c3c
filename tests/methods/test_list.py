"""The list of methods: what it names exists, and the docs show it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.methods import METHODS
from tests.support.paths import ROOT

FILES = {name: ROOT / "agentkd/methods" / f"{method.module.replace('.', '/')}.py" for name, method in METHODS.items()}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_file_that_cites_its_paper(name: str) -> None:
    said = ast.get_docstring(ast.parse(FILES[name].read_text(encoding="utf-8"))) or ""
    assert METHODS[name].arxiv in said
    assert METHODS[name].reconstruction == ("reconstruction" in said.lower())


def test_the_docs_show_the_list() -> None:
    text = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (?:–|\[([\d.]+)\]\S+) \| (.+?) \| (.+?) \| `(.+?)` \|$", text, re.M)
    assert shown == [
        (
            name,
            method.title + ", reconstruction" * method.reconstruction,
            method.arxiv,
            method.claim,
            method.plugs_in,
            str(FILES[name].relative_to(ROOT)),
        )
        for name, method in METHODS.items()
    ]


def test_every_file_of_a_paper_is_listed() -> None:
    parts = {"hooks", "divergences", "masked", "pulses", "generator", "__init__"}  # shared by several methods
    parts |= {"private_text", "distiller_recipe"}  # of Swing, and of Distiller
    parts |= {path.stem for path in (ROOT / "agentkd/methods/metrics").glob("*.py")}
    files = {path for path in (ROOT / "agentkd/methods").rglob("*.py") if path.stem not in parts}
    assert files == set(FILES.values())


def test_the_command_lists_without_torch() -> None:
    found = json.loads(CliRunner().invoke(app, ["methods", "--json"]).stdout)
    assert [row["name"] for row in found["methods"]] == list(METHODS)
    code = "import sys, agentkd.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
