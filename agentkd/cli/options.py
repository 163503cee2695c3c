"""Options that several commands have, and how a command gives its result.

Their texts are the descriptions of the config's fields, which `help.Page` fills in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.help import OUTPUT, agent_names, complete_from
from agentkd.errors import UserError

TASK, MODEL, LIMITS = "Task", "Model", "Limits"


def task_names() -> list[str]:
    from agentkd.tasks import NAMES

    return list(NAMES)


def retriever_names() -> list[str]:
    from agentkd.retrievers import NAMES

    return list(NAMES)


Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="any field of the config")]
Recipe = Annotated[
    Path | None,
    typer.Option(help="a flat YAML file of options; the command line wins", rich_help_panel=OUTPUT),
]
Task = Annotated[str | None, typer.Option(autocompletion=complete_from(task_names), rich_help_panel=TASK)]
Data = Annotated[str | None, typer.Option(rich_help_panel=TASK)]
Kb = Annotated[str | None, typer.Option("--kb", rich_help_panel=TASK)]
KbColumns = Annotated[str | None, typer.Option("--kb-columns", rich_help_panel=TASK)]
Aliases = Annotated[str | None, typer.Option(rich_help_panel=TASK)]
Split = Annotated[str | None, typer.Option(rich_help_panel=TASK)]
Limit = Annotated[int | None, typer.Option(rich_help_panel=TASK)]
Agent = Annotated[str | None, typer.Option(autocompletion=complete_from(agent_names), rich_help_panel=MODEL)]
Teacher = Annotated[str | None, typer.Option(rich_help_panel=MODEL)]
Retriever = Annotated[str | None, typer.Option(autocompletion=complete_from(retriever_names), rich_help_panel=MODEL)]
Insecure = Annotated[bool | None, typer.Option("--insecure", rich_help_panel=MODEL)]
Trust = Annotated[bool | None, typer.Option("--trust-remote-code", rich_help_panel=MODEL)]
Otlp = Annotated[str | None, typer.Option("--otlp", rich_help_panel=OUTPUT)]
OtlpContent = Annotated[bool | None, typer.Option("--otlp-content", rich_help_panel=OUTPUT)]
VllmArgs = Annotated[str | None, typer.Option(rich_help_panel=MODEL)]
Concurrency = Annotated[int | None, typer.Option(rich_help_panel=LIMITS)]
MaxTokens = Annotated[int | None, typer.Option(rich_help_panel=LIMITS)]
MaxUsd = Annotated[float | None, typer.Option(rich_help_panel=LIMITS)]
Out = Annotated[str | None, typer.Option(rich_help_panel=OUTPUT)]
Seed = Annotated[int | None, typer.Option(rich_help_panel=OUTPUT)]
Json = Annotated[
    bool, typer.Option("--json", help="one JSON object on stdout, all else on stderr", rich_help_panel=OUTPUT)
]


def pick_options(values: dict[str, Any], fields: Any) -> dict[str, Any]:
    """Pick the options of a command that are fields of its config."""
    return {name: value for name, value in values.items() if name in fields}


def read_hours(duration: str) -> float:
    """The hours of a duration such as `60s`, `10m`, `1.5h` or `1h30m`. Raises UserError for another word."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(h|m|s)[a-z]*", duration.lower())
    rest = re.sub(r"\d+(?:\.\d+)?\s*(?:h|hours?|m|min|minutes?|s|sec|seconds?)(?![a-z])", "", duration.lower())
    hours = sum(float(number) / {"h": 1, "m": 60, "s": 3600}[unit] for number, unit in parts)
    if rest.strip() or hours <= 0:
        raise UserError(f"--time {duration} is no duration: write 60s, 10m, 1.5h or 1h30m")
    return hours


def print_result(result: dict[str, Any], show: Callable[[dict[str, Any]], None], as_json: bool) -> None:
    """Print a command's result as JSON for a program, or with `show` for a reader."""
    if as_json:
        print(json.dumps(result))
    else:
        show(result)


def say(text: str) -> None:
    """Print a line to stderr."""
    from agentkd.runs.progress import say as say_line

    say_line(text)


def print_text(text: str) -> None:
    """Print a line to stdout."""
    from agentkd.runs.terminal import print_line

    print_line(text)
