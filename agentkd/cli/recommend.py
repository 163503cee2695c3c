"""`agentkd methods recommend`: the method to expect most of, by the table of earlier distillations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agentkd.cli.options import MODEL, TASK, Data, Json, Overrides, Recipe, print_result, print_text, say


def recommend(
    overrides: Overrides = None,
    recipe: Recipe = None,
    task: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    data: Data = None,
    teacher_model: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    student: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    as_json: Json = False,
) -> None:
    """Recommend a method for new data, by what earlier distillations scored.

    Every `agentkd distill` and `agentkd eval` of a student adds to the table
    that it rests on.
    """
    from agentkd.config import ImagesConfig, load_config
    from agentkd.distill.auto.images import recommend_images

    values = locals()
    options = {name: values[name] for name in ImagesConfig.model_fields if values.get(name) is not None}
    config = load_config(ImagesConfig, recipe=recipe, options=options, overrides=overrides or [])
    print_result(recommend_images(config), print_recommendation, as_json)


def print_recommendation(result: dict[str, Any]) -> None:
    """Print a line for each method, and what it rests on."""
    for row in result["recommended"]:
        options = " ".join(f"{name}={value:.4g}" for name, value in row["options"].items())
        print_text(
            f"{row['method']:<10} {row['above_default']:+5.1f} points expected beside the default (spread "
            f"{row['spread']:.1f}, {row['rows']} earlier runs): {options}"
        )
    basis, regret = result["basis"], result["regret"]
    say(f"rests on {basis['rows']} distillations of {basis['tasks']} tasks in {result['table']}")
    if regret is None:
        say("too few tasks to say how good such advice has been")
    else:
        say(
            f"on each of {regret['tasks']} tasks in turn, left out: {regret['recommended']:.1f} points below its best; "
            f"the usual best {regret['average']:.1f}, a random one {regret['random']:.1f}"
        )
