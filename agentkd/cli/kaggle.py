"""`agentkd kaggle run | predict | export | hold-out | grade`: Agent K on the command line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.help import OUTPUT, Index, page
from agentkd.cli.memory import memory
from agentkd.cli.options import (
    LIMITS,
    MODEL,
    Insecure,
    Json,
    MaxTokens,
    MaxUsd,
    Otlp,
    OtlpContent,
    Out,
    Overrides,
    Recipe,
    Seed,
    Teacher,
    VllmArgs,
    print_result,
    read_hours,
    say,
)
from agentkd.errors import UserError

kaggle = typer.Typer(
    cls=Index,
    help="Agent K: from a competition to a submission.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
kaggle.add_typer(memory, name="memory")


@kaggle.command(cls=page("KaggleConfig", "agentkd kaggle run titanic/ target=Survived metric=accuracy --teacher none"))
def run(
    competition: Annotated[str, typer.Argument(help="a Kaggle URL or name, or a folder with the same files")],
    overrides: Overrides = None,
    recipe: Recipe = None,
    teacher: Teacher = None,
    submit: Annotated[str | None, typer.Option(rich_help_panel=OUTPUT)] = None,
    max_hours: Annotated[float | None, typer.Option(rich_help_panel=LIMITS)] = None,
    duration: Annotated[
        str | None,
        typer.Option("--time", metavar="<str>", help="the same in words: 60s, 10m or 1.5h", rich_help_panel=LIMITS),
    ] = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    max_submissions: Annotated[int | None, typer.Option(rich_help_panel=LIMITS)] = None,
    sandbox: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    seed: Seed = None,
    insecure: Insecure = None,
    vllm_args: VllmArgs = None,
    otlp: Otlp = None,
    otlp_content: OtlpContent = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Work on a competition, from its files and pages to a submission.

    The same command resumes a run that was stopped.
    """
    started = time.monotonic() - time.process_time()  # Python's start is on the clock
    from agentkd.agents.agent_k.run import run as start
    from agentkd.config import KaggleConfig, load_config
    from agentkd.teacher.open import check_teacher

    options = {name: value for name, value in locals().items() if name in KaggleConfig.model_fields}
    if duration is not None and max_hours is not None:
        raise UserError(f"--time {duration} and --max-hours {max_hours:g} both limit the run: give one of them")
    options |= {} if duration is None else {"max_hours": read_hours(duration)}
    config = load_config(KaggleConfig, recipe=recipe, options=options, overrides=overrides or [])
    if config.teacher is not None:
        check_teacher(config.teacher)
    print_result(start(config, started), print_run, as_json)


def print_run(result: dict[str, Any]) -> None:
    say(
        f"{result['best']}: {result['metric']} {result['score']:.5f} by cross-validation, of "
        f"{len(result['candidates'])} candidates in {result['seconds']:.0f} s · {result['tokens']} tokens of the model"
    )
    for sent in result["submissions"]:
        public = "hidden or not there yet" if sent["public"] is None else sent["public"]
        say(f"submitted {sent['file']} as {sent['ref']}: {sent['status']}, public score {public}")
    say(f"wrote {result['out']}/submission.csv and report.html")


@kaggle.command(cls=page(example="agentkd kaggle predict runs/titanic-agent-k new-passengers.csv"))
def predict(
    run: Annotated[Path, typer.Argument(help="the directory of a finished run")],
    rows: Annotated[Path, typer.Argument(help="a table like the test table, with new rows, or a folder of files")],
    out: Annotated[Path | None, typer.Option(help="the file to write [default: RUN/predictions-ROWS.csv]")] = None,
    as_json: Json = False,
) -> None:
    """Predict new rows with the solution of a finished run.

    The chosen candidates are trained again, as a run keeps no models.
    """
    from agentkd.agents.agent_k.predict import predict as predict_rows

    print_result(predict_rows(run, rows, out, say), print_predict, as_json)


def print_predict(result: dict[str, Any]) -> None:
    say(f"wrote {result['out']}: {result['rows']} rows in {result['seconds']:.0f} s")


@kaggle.command(cls=page(example="agentkd kaggle export runs/titanic-agent-k"))
def export(
    run: Annotated[Path, typer.Argument(help="the directory of a finished run")],
    out: Annotated[Path | None, typer.Option(help="the script to write [default: RUN/solution.py]")] = None,
    as_json: Json = False,
) -> None:
    """Write the solution of a finished run as one script that needs no agentkd."""
    from agentkd.agents.agent_k.export import export as export_script

    print_result(export_script(run, out), print_export, as_json)


def print_export(result: dict[str, Any]) -> None:
    say(f"wrote {result['out']}: {', '.join(result['candidates'])}, {result['lines']} lines")


@kaggle.command(
    "hold-out", cls=page(example="agentkd kaggle hold-out homes.csv --target price --metric rmsle --out homes")
)
def hold_out(
    table: Annotated[Path, typer.Argument(help="a CSV with a header, whose rows have the target")],
    target: Annotated[str, typer.Option(help="the column to predict; several with commas")],
    metric: Annotated[str, typer.Option(help="a metric's name, such as auc, accuracy, rmse")],
    out: Annotated[Path, typer.Option(help="the folder to make", rich_help_panel=OUTPUT)],
    share: Annotated[float, typer.Option(min=0.01, max=0.9, help="share of the rows that is held out")] = 0.25,
    group: Annotated[str, typer.Option(help="a column whose equal values stay on one side")] = "",
    later: Annotated[str, typer.Option(help="a column of time: its last rows are held out")] = "",
    seed: Annotated[int, typer.Option(help="seed of the random choice")] = 0,
    as_json: Json = False,
) -> None:
    """Make a competition of a table, with a hidden part that `grade` scores on."""
    from agentkd.eval.hold_out import Split
    from agentkd.eval.hold_out import hold_out as make

    print_result(make(table, target, metric, Split(share, group, later, seed), out), print_hold_out, as_json)


def print_hold_out(result: dict[str, Any]) -> None:
    out = result["out"]
    say(
        f"wrote {out}: {result['task']}, {result['metric']}, {result['train']} training rows, {result['test']} held out"
    )
    say(f"next: agentkd kaggle run {out}, then agentkd kaggle grade RUN/submission.csv {out}")


@kaggle.command(cls=page(example="agentkd kaggle grade runs/titanic/submission.csv competitions/titanic"))
def grade(
    submission: Annotated[Path, typer.Argument(help="a submission's CSV")],
    competition: Annotated[
        Path, typer.Argument(help="a folder with competition.json and private/solution.csv, or a CSV of true answers")
    ],
    metric: Annotated[str, typer.Option(help="the metric's name, for a CSV of true answers")] = "",
    log: Annotated[Path | None, typer.Option(help="where gradings are counted [default: runs/gradings.jsonl]")] = None,
    as_json: Json = False,
) -> None:
    """Score a submission against a competition's private labels.

    Prints public and private score, percentile and medal. Every grading is logged.
    """
    from dataclasses import asdict

    from agentkd.eval.competition import grade as run_grade

    result = asdict(run_grade(competition, submission, log or Path("runs/gradings.jsonl"), metric))
    print_result(result, print_grade, as_json)


def print_grade(result: dict[str, Any]) -> None:
    say(" · ".join(f"{name} {value}" for name, value in result.items() if value not in (None, "")))
