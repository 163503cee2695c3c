"""`agentkd methods`: the list of distillation methods, and golden cases of other implementations run through them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.help import Index, page
from agentkd.cli.options import Json, print_result, print_text, say
from agentkd.cli.recommend import recommend

methods = typer.Typer(cls=Index, invoke_without_command=True, rich_markup_mode=None)


@methods.callback()
def list_methods(context: typer.Context, as_json: Json = False) -> None:
    """List the distillation methods: paper, claim, and where each plugs in."""
    if context.invoked_subcommand is not None:
        return
    from agentkd.methods import METHODS

    rows = [{"name": name, **method._asdict()} for name, method in METHODS.items()]
    print_result({"methods": rows}, print_methods, as_json)


methods.command(
    cls=page("DistillConfig", "agentkd methods recommend --traces runs/geo-kd-cot", beside={"images": "ImagesConfig"})
)(recommend)


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
