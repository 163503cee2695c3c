"""`agentkd review`: show a person some traces of a run, and ask of each whether it is right."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentkd.cli.help import OUTPUT
from agentkd.cli.options import TASK, Json, say

if TYPE_CHECKING:
    from agentkd.doubts.groups import Group
    from agentkd.doubts.review import Answer
    from agentkd.trace import Trace

SHOWN = 12  # answers
FACTS = 3

Run = Annotated[Path, typer.Argument(help="the directory of a run of `agentkd generate`")]
Count = Annotated[int, typer.Option(min=1, help="traces to look at", rich_help_panel=TASK)]
Seed = Annotated[int, typer.Option(help="seed of the choice of traces", rich_help_panel=OUTPUT)]


def review(run: Run, count: Count = 20, seed: Seed = 0, as_json: Json = False) -> None:
    """Say of some traces whether they are right; the error rate goes into the cards.

    The same command goes on where it was left. It needs a terminal.
    """
    from agentkd.doubts.review import describe_review, review_run
    from agentkd.report.write import write_report

    result = review_run(run, count=count, seed=seed, ask=ask_person)
    write_report(run)
    if as_json:
        print(json.dumps({"out": str(run), **result}))
        return
    if result["error_rate"] is not None:
        say(describe_review(result))
    say(
        f"{result['left']} are left: the same command goes on"
        if result["left"]
        else f"wrote {run}/review.json; next: agentkd distill --traces {shlex.quote(str(run))}"
    )


def ask_person(trace: Trace, group: Group, place: int, total: int) -> Answer | None:
    """Show a trace and read y, n, s or q. Raises UserError where there is no terminal to ask at."""
    from agentkd.errors import UserError

    if not sys.stdin.isatty():
        raise UserError("review asks a person: run it in a terminal (nothing was written)")
    say("")
    say(f"{place}/{total}  {trace.question}")
    more = len(trace.answers) - SHOWN
    say(f"  → {'; '.join(trace.answers[:SHOWN])}{f' … and {more} more' if more > 0 else ''}")
    say(f"  path: {group.path}")
    for fact in trace.triples[:FACTS]:
        say(f"  fact: {fact.head} | {fact.relation} | {fact.tail}")
    if group.doubt:
        say(f"  doubtful: {group.doubt}")
    answers: dict[str, Any] = {"y": "right", "n": "wrong", "s": "skip", "q": None}
    while True:
        say("  right? y: yes · n: no · s: skip · q: quit")
        line = sys.stdin.readline()
        word = line.strip().lower()[:1]
        if word in answers or not line:  # the end of the input is a `q`
            found: Answer | None = answers.get(word)
            return found
