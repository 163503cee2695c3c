"""`agentkd methods recommend`: the method to expect most of, by the table of earlier distillations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.options import MODEL, TASK, Data, Json, Overrides, Recipe, Teacher, print_result, print_text, say


def recommend(
    overrides: Overrides = None,
    recipe: Recipe = None,
    traces: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    task: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    data: Data = None,
    teacher_model: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    student: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    form: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    teacher: Teacher = None,
    as_json: Json = False,
) -> None:
    """Recommend a method for new data, by what earlier distillations scored.

    Every `agentkd distill` and `agentkd eval` of a student adds to the table
    that it rests on.
    """
    values = {name: value for name, value in locals().items() if value is not None}
    given = {name: values[name] for name in values if name not in ("overrides", "recipe", "as_json")}
    print_result(find_advice(given, recipe, overrides or []), print_recommendation, as_json)


def find_advice(given: dict[str, Any], recipe: Path | None, overrides: list[str]) -> dict[str, Any]:
    """What is recommended for images, or for traces where no task is named."""
    from agentkd.config import DistillConfig, ImagesConfig, load_config

    if "task" in given:
        from agentkd.distill.auto.images import recommend_images

        return recommend_images(load_config(ImagesConfig, recipe=recipe, options=given, overrides=overrides))
    from agentkd.distill.auto.questions import recommend_questions

    return recommend_questions(load_config(DistillConfig, recipe=recipe, options=given, overrides=overrides))


def print_recommendation(result: dict[str, Any]) -> None:
    """Print a line for each method, and what it rests on."""
    from agentkd.recommend.table import Candidate, name_candidate

    for row in result["recommended"]:
        options = name_candidate(Candidate("", row["options"])).strip()
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
