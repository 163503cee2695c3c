"""`agentkd gate`: a student's quality beside its teacher's as a yes or no, for CI."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agentkd.cli.options import TASK, Json, Limit, Out, Overrides, Recipe, Seed, Split, print_text


def gate(
    overrides: Overrides = None,
    recipe: Recipe = None,
    student: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    teacher: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    metric: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    at_least: Annotated[float | None, typer.Option(rich_help_panel=TASK)] = None,
    matcher: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    split: Split = None,
    limit: Limit = None,
    seed: Seed = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Say whether a student is nearly as good as its teacher: exit code 0 or 1.

    1 is also the answer where the questions do not tell.
    """
    from agentkd.cli.options import pick_options
    from agentkd.config import GateConfig, load_config
    from agentkd.eval.gate import describe_gate
    from agentkd.eval.gate import gate as run

    options = pick_options(locals(), GateConfig.model_fields)
    result = run(load_config(GateConfig, recipe=recipe, options=options, overrides=overrides or []))
    print(json.dumps(result)) if as_json else print_text(describe_gate(result))
    return 0 if result["passes"] else 1
