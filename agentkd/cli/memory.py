"""`agentkd kaggle memory ls | show | forget | export | import`: what Agent K remembers of earlier competitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd.cli.help import Index, page
from agentkd.cli.options import Json, print_result, print_text, say

memory = typer.Typer(
    cls=Index,
    help="What Agent K remembers of earlier competitions, and what it makes of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Key = Annotated[str, typer.Argument(help="a case's key, as `ls` shows it")]


@memory.command("ls", cls=page(example="agentkd kaggle memory ls"))
def list_cases(as_json: Json = False) -> None:
    """List the cases: competition, shape, what won, and whether later runs bore it out."""
    from agentkd.agents.agent_k.experience.store import Experience, dump_known

    kept = Experience()
    print_result({"file": str(kept.path), "cases": [dump_known(known) for known in kept.all()]}, print_cases, as_json)


def print_cases(result: dict[str, Any]) -> None:
    for case in result["cases"]:
        shape, trials = case["fingerprint"], sorted(case["trials"], key=lambda trial: -trial["share"])
        won = ", ".join(f"{trial['name']} {trial['share']:.2f}" for trial in trials[:3] if trial["share"])
        print_text(
            f"{case['key']}  {case['date']}  {case['status']:<8} {case['title']}: {shape['task']}, {shape['metric']}, "
            f"{shape['rows']:,} rows · {won or 'nothing won'}"
        )
    count = len(result["cases"])
    say(
        f"{count} case{'s' * (count != 1)} in {result['file']}"
        + ("; runs of kaggle run add to it" if not count else "")
    )


@memory.command(cls=page(example="agentkd kaggle memory show 3f2a9c"))
def show(key: Key, as_json: Json = False) -> None:
    """Show a case: its run, date and shape, each candidate, and what later runs said of it."""
    from agentkd.agents.agent_k.experience.store import Experience, dump_known

    print_result(dump_known(Experience().find(key)), print_case, as_json)


def print_case(case: dict[str, Any]) -> None:
    shape = case["fingerprint"]
    print_text(f"{case['title']} · run {case['source']} of {case['date']} · {case['seconds']:.0f} s")
    print_text(
        f"{shape['task']}, {shape['metric']}, {shape['rows']:,} rows, {shape['tab']} tabular, {shape['txt']} text and "
        f"{shape['img']} image columns, {shape['predicted']} outputs"
    )
    print_text(f"{case['status']}: borne out by {case['borne_out']} later runs, refuted by {case['refuted']}")
    for trial in sorted(case["trials"], key=lambda trial: (-trial["share"], -trial["quality"])):
        end = f"failed: {trial['error']}" if trial["error"] else f"quality {trial['quality']:.2f}"
        print_text(f"  {trial['name']:<20} share {trial['share']:.2f} · {trial['seconds']:.0f} s · {end}")


@memory.command(cls=page(example="agentkd kaggle memory forget 3f2a9c"))
def forget(key: Key, as_json: Json = False) -> None:
    """Remove a case for good."""
    from agentkd.agents.agent_k.experience.store import Experience

    kept = Experience()
    found = kept.forget(key)
    print_result({"forgotten": found, "file": str(kept.path)}, lambda result: say(f"forgot {found}"), as_json)


@memory.command("export", cls=page(example="agentkd kaggle memory export cases.jsonl"))
def export_cases(file: Annotated[Path, typer.Argument(help="the file to write")], as_json: Json = False) -> None:
    """Write all cases as JSON lines, for another machine."""
    from agentkd.agents.agent_k.experience.store import Experience

    result = {"cases": Experience().write(file), "out": str(file)}
    print_result(result, lambda result: say(f"wrote {result['out']}: {result['cases']} cases"), as_json)


@memory.command("import", cls=page(example="agentkd kaggle memory import cases.jsonl"))
def import_cases(
    file: Annotated[Path, typer.Argument(help="a file that `export` wrote")], as_json: Json = False
) -> None:
    """Add the cases of a file. They are pending until runs of yours bear them out."""
    from agentkd.agents.agent_k.experience.store import Experience

    kept = Experience()
    result = {"cases": kept.read(file), "file": str(kept.path)}
    print_result(result, lambda result: say(f"added {result['cases']} cases to {result['file']}"), as_json)
