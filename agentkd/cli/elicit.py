"""`agentkd elicit`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agentkd.cli.help import complete_from
from agentkd.cli.options import (
    MODEL,
    TASK,
    Agent,
    Aliases,
    Concurrency,
    Data,
    Insecure,
    Json,
    Kb,
    KbColumns,
    Limit,
    MaxTokens,
    MaxUsd,
    Out,
    Overrides,
    Recipe,
    Retriever,
    Seed,
    Split,
    Task,
    Teacher,
    Trust,
    VllmArgs,
    pick_options,
    print_result,
    say,
)


def kinds() -> list[str]:
    from typing import get_args

    from agentkd.config import ElicitConfig

    return list(get_args(ElicitConfig.model_fields["kind"].annotation))


def elicit(
    kind: Annotated[str, typer.Argument(autocompletion=complete_from(kinds))],
    overrides: Overrides = None,
    recipe: Recipe = None,
    task: Task = None,
    data: Data = None,
    kb: Kb = None,
    kb_columns: KbColumns = None,
    aliases: Aliases = None,
    split: Split = None,
    limit: Limit = None,
    count: Annotated[int | None, typer.Option(rich_help_panel=TASK)] = None,
    seed: Seed = None,
    teacher: Teacher = None,
    student: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    agent: Agent = None,
    retriever: Retriever = None,
    samples: Annotated[int | None, typer.Option(rich_help_panel=MODEL)] = None,
    concurrency: Concurrency = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    trust_remote_code: Trust = None,
    insecure: Insecure = None,
    vllm_args: VllmArgs = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Make training data with a teacher, in one of six ways; verify and store it.

    The same command resumes a run that was stopped.
    """
    from agentkd.config import ElicitConfig, load_config
    from agentkd.elicit.run import elicit as run

    options = pick_options(locals(), ElicitConfig.model_fields)
    config = load_config(ElicitConfig, recipe=recipe, options=options, overrides=overrides or [])
    print_result(run(config), print_elicited, as_json)


def print_elicited(result: dict[str, Any]) -> None:
    """Print what was left out and why, then the figures of the run."""
    from agentkd.cli.results import print_generation

    for reason, count in result["left_out"].items():
        say(f"left out: {count} × {reason}")
    print_generation(result)
