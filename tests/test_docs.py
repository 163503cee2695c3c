"""The docs name only existing commands, options, files, links and figures. test_layout.py checks architecture.md."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agentkd.cli.main import app
from agentkd.config import (
    ClientsConfig,
    DistillConfig,
    ElicitConfig,
    EvalConfig,
    FeedbackConfig,
    GateConfig,
    GenerateConfig,
    ImagesConfig,
    ImportConfig,
    KaggleConfig,
    ReproduceConfig,
    SelectConfig,
    TextsConfig,
    VerifyConfig,
    VisionLanguageConfig,
)
from tests.support.paths import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for page in DOCS if page.name != "reference.md"),
]  # which is made of the code
ARCHITECTURE = ROOT / "docs/architecture.md"
CONFIGS = (
    GenerateConfig,
    DistillConfig,
    ElicitConfig,
    EvalConfig,
    FeedbackConfig,
    GateConfig,
    ImagesConfig,
    ImportConfig,
    KaggleConfig,
    ReproduceConfig,
    SelectConfig,
    ClientsConfig,
    TextsConfig,
    VerifyConfig,
    VisionLanguageConfig,
)
FIELDS = {name for config in CONFIGS for name in config.model_fields}
FOREIGN = {
    "--help",
    "--folder",
    "--max-num-seqs",
    "--enable-lora",
    "--max-lora-rank",
    "--max-model-len",
    "--enable-prefix-caching",
    "--default-chat-template-kwargs",
    "--reasoning-parser",
}


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_lines(text: str) -> Iterator[str]:
    """Lines of indented code, with continued lines joined."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("    "):
            yield " ".join(line.split())


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `agentkd …` command in a page, in code blocks and in running text."""
    text = read(page)
    for line in [*code_lines(text), *re.findall(r"`(agentkd [^`]*)`", " ".join(text.split()))]:
        if line.startswith("agentkd "):
            yield shlex.split(line.split(" # ")[0].split(" · ")[0], posix=True)[1:]


def options(command: Any) -> set[str]:
    """All options of a command and of the commands below it."""
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return names.union(*(options(child) for child in getattr(command, "commands", {}).values()))


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", read(page), flags=re.MULTILINE)}


def test_the_readme_shows_the_commands_of_the_demo() -> None:
    script = read(ROOT / "scripts/demo.sh").replace("\\\n", " ")
    steps = re.findall(r"^step (.*)$", script, flags=re.MULTILINE)
    shown = set(code_lines(read(ROOT / "README.md")))
    for step in steps:
        command = " ".join(step.replace("$seed", "0").replace("$name", "demo").replace('"', "").split())
        assert command in shown, "README.md and scripts/demo.sh show different commands"
    assert len(steps) == 3


def test_the_readme_is_one_page() -> None:
    assert len(read(ROOT / "README.md").splitlines()) <= 150


@pytest.mark.parametrize("file", sorted((ROOT / "docs/results").glob("*.json")), ids=lambda file: file.name)
def test_figures_are_those_of_the_raw_results(file: Path) -> None:
    """Each file is linked, and each strict F1 in it stands in the docs with its interval."""
    text = "".join(read(ROOT / f"docs/{page}.md") for page in ("results", "benchmarks", "methods"))
    assert f"](results/{file.name})" in text
    rows = [row for row in json.loads(read(file)).get("rows", []) if row.get("matcher", "strict") == "strict"]
    shown = {f"{row['f1']:.1f} [{row['f1_low']:.1f}, {row['f1_high']:.1f}]" for row in rows if "f1_low" in row}
    assert not {figure for figure in shown if figure not in text}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(page):
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        placeholder = not words or words[0].startswith("-") or words[0].isupper()
        assert placeholder or not hasattr(command, "commands"), f"{page.name} names agentkd {words[0]}"
        named = {word.split("=")[0] for word in words if word.startswith("--")}
        unknown = sorted(named - options(command) - {"--help"})
        fields = [match[1] for word in words if (match := re.match(r"([a-z_]+)=", word))]
        unknown += [field for field in fields if field not in FIELDS]
        assert not unknown, f"agentkd {command.name} {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_running_text_exist(page: Path) -> None:
    inline = " ".join(re.findall(r"`([^`\n]+)`", read(page)))
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", inline))
    known = options(typer.main.get_command(app))
    assert not named - known - FOREIGN
    keywords = {name.removeprefix("--").replace("-", "_") for name in known}  # of the Python API
    assert not set(re.findall(r"(?<![\w.-])([a-z_]+)=", inline)) - FIELDS - keywords - {"key"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", read(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links {target}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    folders = "agentkd|agents|retrievers|prompts|eval|tests|scripts|recipes|docs"
    for name in re.findall(rf"`((?:{folders})/[\w/.-]+)`", read(page)):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", read(ROOT / "docs/index.md")))
    assert {page.name for page in DOCS} - {"index.md"} == listed


def test_names_are_in_the_files_that_are_said_to_hold_them() -> None:
    """`METHODS` in `agentkd/distill/method.py`, or `Chat` (`agentkd/teacher/chat.py`)."""
    claims = re.findall(r"`(\w+)`(?: and `(\w+)`)? (?:in |\()`([\w/]+\.py)`", read(ARCHITECTURE))
    wrong = [
        (name, file) for *names, file in claims for name in names if not re.search(rf"\b{name}\b", read(ROOT / file))
    ]
    assert len(claims) > 5 and not wrong


@pytest.mark.whole
def test_the_reference_is_what_the_code_says() -> None:
    """It imports the whole library: scripts/reference.py writes the page again."""
    words = [sys.executable, str(ROOT / "scripts/reference.py"), "--check"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
