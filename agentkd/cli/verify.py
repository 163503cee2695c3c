"""`agentkd verify`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.options import (
    LIMITS,
    MODEL,
    TASK,
    Concurrency,
    Json,
    MaxTokens,
    MaxUsd,
    Out,
    Overrides,
    Recipe,
    pick_options,
    print_result,
    say,
)

Run = Annotated[Path, typer.Argument(help="a run directory of traces", metavar="RUN")]
Verify = Annotated[list[str] | None, typer.Option(rich_help_panel=MODEL)]


def verify(
    run: Run,
    overrides: Overrides = None,
    recipe: Recipe = None,
    verify: Verify = None,
    items: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    labelled: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    verify_timeout: Annotated[float | None, typer.Option(rich_help_panel=LIMITS)] = None,
    concurrency: Concurrency = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Verify the traces of a run with verifiers of your choice, into a run of their own.

    The same command resumes a run that was stopped.
    """
    from agentkd.config import VerifyConfig, load_config
    from agentkd.verify_run import verify_run

    options = pick_options({**locals(), "run": str(run)}, VerifyConfig.model_fields)
    config = load_config(VerifyConfig, recipe=recipe, options=options, overrides=overrides or [])
    print_result(verify_run(config), print_verification, as_json)


def print_verification(result: dict[str, Any]) -> None:
    """Print how many traces passed, and where the others stopped."""
    from agentkd.verify_run import describe_rungs

    say(f"{result['verified']} of {result['traces']} traces are verified; by the highest rung that was passed:")
    for line in describe_rungs(result):
        say(line)
    if result["failed"]:
        say(f"a verifier raised or hung on {result['failed']} traces, which are not verified: see {result['out']}")
    following = f"; next: agentkd distill --traces {shlex.quote(result['out'])}" if result["verified"] else ""
    say(f"wrote {result['out']}{following}")
