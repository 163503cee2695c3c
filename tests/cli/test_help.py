"""Help pages as a user reads them in a terminal of 80 columns, and what the shell completes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from agentkd import config
from agentkd.cli.help import Page
from agentkd.cli.main import app
from tests.support.paths import ROOT

CONFIGS = [
    config.GenerateConfig, config.DistillConfig, config.FeedbackConfig, config.EvalConfig, config.KaggleConfig,
    config.ReproduceConfig, config.ImagesConfig, config.SelectConfig, config.TextsConfig, config.ClientsConfig,
    config.VerifyConfig,
    config.GateConfig, config.ImportConfig,
]  # fmt: skip


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        yield from commands(command, (*path, name)) if hasattr(command, "commands") else ()


PAGES = {" ".join(path): command for path, command in commands(get_command(app))}


def page(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def flat(text: str) -> str:
    """The page without line breaks, hyphenated words joined."""
    return re.sub(r"\s+", " ", re.sub(r"-\n\s+", "-", text))


def test_commands_stand_in_groups_and_none_is_cut_short() -> None:
    top = page()
    assert [line[:-1] for line in top.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        "Options", "The road", "Students", "This machine", "Competitions and benchmarks",
    ]  # fmt: skip
    assert "..." not in top.partition("The road:")[2]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_the_terminal(name: str) -> None:
    text = page(*name.split())
    assert max(map(len, text.splitlines())) <= 80
    assert flat(PAGES[name].help.splitlines()[0]) in flat(text)


@pytest.mark.parametrize("name", [name for name, command in PAGES.items() if isinstance(command, Page)])
def test_a_command_shows_an_example_that_parses(name: str) -> None:
    text = page(*name.split())
    example = re.search(r"Example:\n  agentkd (.+)\n", text)
    assert example, text
    words = example[1].split()
    assert words[: len(name.split())] == name.split()
    command = PAGES[name]
    command.make_context(name, words[len(name.split()) :], resilient_parsing=False)


@pytest.mark.parametrize("name", [name for name, command in PAGES.items() if isinstance(command, Page)])
def test_every_option_and_field_is_explained(name: str) -> None:
    text = flat(page(*name.split()))
    for param in PAGES[name].params:
        if param.param_type_name == "option":
            found = re.search(rf" {max(param.opts, key=len)} (<[^>]+> )?(\S+)", text)
            assert found and not found[2].startswith("--"), param.opts
    if PAGES[name].config and PAGES[name].takes_fields:
        options = {param.name for param in PAGES[name].params}
        for field in getattr(config, PAGES[name].config).model_fields:
            assert field in options or f" {field}= " in text


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_field_tells_its_choices_and_its_default(kind: type[config.StageConfig]) -> None:
    for name, field in kind.model_fields.items():
        assert field.description, name
        literals = [field.annotation, *get_args(field.annotation)]
        choices = [choice for kind in literals if get_origin(kind) is Literal for choice in get_args(kind)]
        assert all(choice in field.description for choice in choices), (name, choices)
        assert field.description.count("[") <= 1


def test_facts_of_a_competition_have_a_section_of_their_own() -> None:
    text = page("kaggle", "run")
    section = text.partition("Facts that files and pages may leave open, as key=value:\n")[2].partition("\n\n")[0]
    assert [line.split("=")[0].strip() for line in section.splitlines()] == list(config.KaggleConfig.FACTS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gen", {"generate"}),
        ("generate --age", {"--agent", "--agent-timeout", "--agent-calls"}),
        ("generate --agent kd", {"kd-cot"}),
        ("eval --agent cot,ra", {"cot,rag"}),
        ("distill --method sft,on", {"sft,on-policy"}),
        ("distill --form one", {"one-call"}),
        ("reproduce har", {"hard", "hard-mnist"}),
        ("bench lo", {"losses"}),
    ],
)
def test_the_shell_completes(words: str, expected: set[str]) -> None:
    typed = ["agentkd", *words.split()]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "_AGENTKD_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1),
    }  # fmt: skip
    code = "import sys; sys.argv = ['agentkd']; from agentkd.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert set(done.stdout.split()) == expected, done.stderr
