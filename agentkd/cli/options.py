"""Options that several commands have, spelt and explained once, and how a command gives its result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="any config field")]
Recipe = Annotated[Path | None, typer.Option(help="a flat YAML file of options; the command line wins")]
Task = Annotated[str | None, typer.Option(help="geo, webqsp, cwq, metaqa, pathquestion, or a JSONL file [geo]")]
Data = Annotated[str | None, typer.Option(help="folder with the task's files [hub, or the package for geo]")]
Kb = Annotated[
    str | None, typer.Option("--kb", help="knowledge base: a TSV of head, relation, tail; a SPARQL URL; wikidata")
]
Split = Annotated[str | None, typer.Option(help="[generate: train, eval: test, else dev]")]
Limit = Annotated[int | None, typer.Option(help="a seeded subset of this many questions [all]")]
Seed = Annotated[int | None, typer.Option(help="[0]")]
Teacher = Annotated[
    str | None,
    typer.Option(help="local, vllm:MODEL, openai:MODEL or URL#MODEL [$AGENTKD_TEACHER, else by the machine]"),
]
Retriever = Annotated[
    str | None,
    typer.Option(help="bm25, dense, hybrid or a folder made by feedback [hybrid where installed]"),
]
Concurrency = Annotated[int | None, typer.Option(help="questions in flight [4 local, 32 served]")]
MaxTokens = Annotated[int | None, typer.Option(help="stop before so many tokens, prompt and completion")]
MaxUsd = Annotated[float | None, typer.Option(help="stop before so many US dollars (docs/teachers.md)")]
VllmArgs = Annotated[str | None, typer.Option(help="passed to the vLLM server that agentkd starts")]
Out = Annotated[str | None, typer.Option(help="the directory to write and to resume [runs/… or students/…]")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on stdout, all else on stderr")]


def give(result: dict[str, Any], show: Callable[[dict[str, Any]], None], as_json: bool) -> None:
    """A command's result, for a program or for a reader."""
    if as_json:
        print(json.dumps(result))
    else:
        show(result)


def say(text: str) -> None:
    from agentkd.runs.progress import say as print_line

    print_line(text)
