"""`agentkd select`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agentkd.cli.help import complete_from
from agentkd.cli.options import (
    MODEL,
    TASK,
    Json,
    Out,
    Overrides,
    Recipe,
    Seed,
    Teacher,
    Trust,
    pick_options,
    print_result,
    say,
)


def choices() -> list[str]:
    from typing import get_args

    from agentkd.config import SelectConfig

    return list(get_args(SelectConfig.model_fields["by"].annotation))


def select(
    overrides: Overrides = None,
    recipe: Recipe = None,
    corpus: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    keep: Annotated[float | None, typer.Option(rich_help_panel=TASK)] = None,
    by: Annotated[str | None, typer.Option(autocompletion=complete_from(choices), rich_help_panel=TASK)] = None,
    teacher: Teacher = None,
    reference: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    shard: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    trust_remote_code: Trust = None,
    seed: Seed = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Keep the documents of a corpus that a large model finds likelier than a small one.

    The same command resumes a run that was stopped. Scores are kept, so another share or order needs no new scoring.
    """
    from agentkd.config import SelectConfig, load_config
    from agentkd.corpus.select import select as run

    options = pick_options(locals(), SelectConfig.model_fields)
    config = load_config(SelectConfig, recipe=recipe, options=options, overrides=overrides or [])
    print_result(run(config), print_selection, as_json)


def print_selection(result: dict[str, Any]) -> None:
    """Print what was kept, and what it does to the models' losses."""
    if "kept" not in result:
        return
    losses = result["loss"]
    say(
        f"kept {result['kept']:,} of {result['documents']:,} documents, {result['kept_tokens']:,} of "
        f"{result['tokens']:,} tokens"
        + (f"; {result['left_out']:,} have nothing to score" if result["left_out"] else "")
    )
    say(
        f"nats a {result['unit']}, all → kept: "
        + ", ".join(f"{name} {means['all']:.3f} → {means['kept']:.3f}" for name, means in losses.items())
    )
    say(f"wrote {result['out']}/selected.jsonl")
