"""`agentkd methods`: the list of distillation methods, advice on them, and golden cases of other implementations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.help import Index, page
from agentkd.cli.options import MODEL, TASK, Data, Json, Overrides, Recipe, Teacher, print_result, print_text, say

methods = typer.Typer(cls=Index, invoke_without_command=True, rich_markup_mode=None)


@methods.callback()
def list_methods(context: typer.Context, as_json: Json = False) -> None:
    """List the distillation methods: paper, claim, and where each plugs in."""
    if context.invoked_subcommand is not None:
        return
    from agentkd.methods import METHODS

    rows = [{"name": name, **method._asdict()} for name, method in METHODS.items()]
    print_result({"methods": rows}, print_methods, as_json)


@methods.command(
    cls=page("DistillConfig", "agentkd methods recommend --traces runs/geo-kd-cot", beside={"images": "ImagesConfig"})
)
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


@methods.command(cls=page(example="agentkd methods check cases/kd.json cases/ofa.json --json"))
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="JSON files of golden cases (docs/methods.md)")],
    as_json: Json = False,
) -> None:
    """Run other implementations' numbers through the library: values and gradients.

    Exit code 0 where all cases are equal, else 1.
    """
    from agentkd.errors import UserError

    try:
        from agentkd.eval.golden.check import check_files
    except ImportError as error:
        raise UserError(f"methods check needs {error.name}: pip install 'agentkd[train]'") from None

    outcomes = [outcome._asdict() for outcome in check_files(files)]
    counts = {status: sum(each["status"] == status for each in outcomes) for status in STATUSES}
    print_result({"cases": outcomes, "counts": counts}, print_outcomes, as_json)
    if counts["equal"] < len(outcomes):
        raise typer.Exit(1)


STATUSES = ("equal", "different", "not ours")


def print_methods(result: dict[str, Any]) -> None:
    """Print one line a method and one for its claim."""
    for row in result["methods"]:
        paper = f" (arXiv {row['arxiv']})" if row["arxiv"] else ""
        ours = ", a reconstruction" if row["reconstruction"] else ""
        print_text(f"{row['name']:<14}{row['title']}{paper}{ours}: {row['plugs_in']}")
        print_text(f"{'':<14}{row['claim']}")
    say("formulas: the docstrings in agentkd/methods; others' numbers: agentkd methods check FILE…")


def print_outcomes(result: dict[str, Any]) -> None:
    """Print what is not equal, or equal for a reason that is worth a word, and the counts."""
    for row in result["cases"]:
        if row["status"] != "equal" or row["detail"]:
            variant = f" [{row['variant']}]" if row["variant"] else ""
            print_text(f"{row['status']}: {row['file']}{variant} {row['name']}: {row['detail']}")
    print_text(", ".join(f"{count} {status}" for status, count in result["counts"].items()))


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
