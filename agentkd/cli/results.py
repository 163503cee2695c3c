"""Prints what a run of questions found: how many are proven, who has checked them, and what they look like."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from agentkd.cli.options import say


def print_generation(result: dict[str, Any]) -> None:
    """Print the figures of a run, its traces by path where no gold has checked them, and the next command."""
    from agentkd.doubts.check import describe_proven
    from agentkd.runs.progress import format_usd

    say(
        f"{result['traces']} traces of {result['questions']} questions, {describe_proven(result)} · "
        f"{result['calls']:.1f} calls and {result['tokens']:.0f} tokens a trace"
        + (f" · {format_usd(result['usd'])} in all" if result["usd"] else "")
    )
    if result["rationalised"]:
        say(f"{result['rationalised']} more questions are proven with a hint from gold (flagged as rationalised)")
    if result["unchecked"]:
        print_groups(result)
    if result["verified"] + result["rationalised"]:
        say(f"wrote {result['out']}; next: agentkd distill --traces {shlex.quote(result['out'])}")
    else:
        say(f"wrote {result['out']}; nothing is proven, so there is nothing to learn: see {result['out']}/report.html")


def print_groups(result: dict[str, Any]) -> None:
    """Print the proven traces of a run by path, so that a person sees a wrong group at once."""
    from agentkd.doubts.check import SHOWN, describe_groups
    from agentkd.doubts.groups import read_groups

    say("by path, each with an example:")
    for line in describe_groups(read_groups(Path(result["out"])), SHOWN):
        say(line)
    if result["doubtful"]:
        say(
            f"warning: {result['doubtful']} of {result['unchecked']} proven traces may answer something else than was "
            f"asked (above); distill leaves them out"
            + (
                f", and learns {result['second_choices']} second choice{'s' * (result['second_choices'] != 1)}"
                if result["second_choices"]
                else ""
            )
        )
    say(f"proven is not right: say of twenty traces whether they are, with agentkd review {shlex.quote(result['out'])}")
