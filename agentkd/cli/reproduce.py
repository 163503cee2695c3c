"""`agentkd reproduce NAME|all`: a founding paper's claim, measured here."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agentkd.cli.help import complete_from
from agentkd.cli.options import LIMITS, Concurrency, Json, Out, Seed, print_result, print_text, say


def experiment_names() -> list[str]:
    from agentkd.reproduce import EXPERIMENTS

    return ["all", *EXPERIMENTS]


def reproduce(
    name: Annotated[
        str, typer.Argument(help="an experiment, or all of them", autocompletion=complete_from(experiment_names))
    ],
    quick: Annotated[bool | None, typer.Option("--quick", rich_help_panel=LIMITS)] = None,
    seeds: Annotated[int | None, typer.Option(rich_help_panel=LIMITS)] = None,
    concurrency: Concurrency = None,
    seed: Seed = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure what a founding paper claims, beside its control.

    The verdict follows from the 95 % interval of the paired difference over
    seeds. The same command resumes a run that was stopped.
    """
    from agentkd.config import ReproduceConfig, load_config
    from agentkd.reproduce.everything import run_all
    from agentkd.reproduce.run import run_experiment

    given = {"quick": quick, "seeds": seeds, "concurrency": concurrency, "seed": seed, "out": out}
    options = {key: value for key, value in given.items() if value is not None}
    config = load_config(ReproduceConfig, recipe=None, options=options, overrides=[])
    if name == "all":
        print_result(run_all(config), print_all, as_json)
    else:
        print_result(run_experiment(name, config), print_experiment, as_json)


def print_experiment(result: dict[str, Any]) -> None:
    """Print the table of arms, the comparisons, and the verdict."""
    from agentkd.reproduce.table import describe_comparison, describe_cost, draw_table

    print_text(f"{result['title']}: {result['claim']}\n{result['bed']}\n")
    print_text(draw_table(result))
    for comparison in result["comparisons"]:
        print_text(describe_comparison(comparison))
    print_text(f"verdict: {result['verdict']}" + (" (quick: its figures mean little)" if result["quick"] else ""))
    say(f"wrote {result['out']} ({describe_cost(result)}): report.html and metrics.json; next: agentkd reproduce all")


def print_all(result: dict[str, Any]) -> None:
    """Print one line per experiment."""
    from agentkd.reproduce.table import describe_comparison

    for found in result["experiments"].values():
        print_text(f"{found['title']}: {found['verdict']} · {describe_comparison(found['comparisons'][0])}")
    say(f"wrote {', '.join(result['wrote'])}")
