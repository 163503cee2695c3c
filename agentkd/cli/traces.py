"""`agentkd import` and `agentkd export-traces`: traces in the formats of others."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.help import OUTPUT, complete_from
from agentkd.cli.options import TASK, Json, Limit, Out, pick_options, print_result, say


def format_names() -> list[str]:
    from agentkd.interchange.formats import FORMATS

    return list(FORMATS)


def import_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="files of traces, or folders of them")],
    format: Annotated[
        str | None, typer.Option("--format", autocompletion=complete_from(format_names), rich_help_panel=TASK)
    ] = None,
    task: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    limit: Limit = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Import traces that other programs have recorded into a run.

    Rows that cannot be read are named, and kept in OUT/rejects.jsonl.
    The same command resumes an import that was stopped.
    """
    from agentkd.config import ImportConfig, load_config
    from agentkd.interchange.import_run import import_traces as run

    options = pick_options(locals(), ImportConfig.model_fields)
    print_result(run(load_config(ImportConfig, recipe=None, options=options, overrides=[])), _say_import, as_json)


def _say_import(result: dict[str, Any]) -> None:
    say(
        f"{result['traces']:,} sessions of {result['questions']:,} ids: {result['turns']:,} replies, "
        f"{result['tool_calls']:,} tool calls, {result['total_tokens']:,} tokens · {result['rejected']:,} rows rejected"
    )
    say(f"wrote {result['out']}; nothing of it is verified yet")
    say(f"next: agentkd verify {shlex.quote(result['out'])} --verify VERIFIER")


def export_traces(
    run: Annotated[Path, typer.Argument(help="the directory of a run with traces")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            autocompletion=complete_from(format_names),
            help="openai, sts, otlp, langsmith, langfuse or adp",
        ),
    ] = "openai",
    verified: Annotated[bool, typer.Option("--verified", help="only traces that are verified")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="a file, or for sts a folder [default: RUN/FORMAT.jsonl]", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export the traces of a run in a format of others.

    What was imported is the same again.
    """
    from agentkd.interchange.export_run import export_traces as export

    def show(result: dict[str, Any]) -> None:
        say(f"wrote {result['out']} ({result['traces']:,} traces as {result['format']})")

    print_result(export(run, format, out=out, verified=verified), show, as_json)
