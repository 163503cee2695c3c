"""`agentkd distill --task images`, `vision-language` and `texts`: what `distill` does beside traces, with configs of
their own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from agentkd.cli.options import say

HELD_OUT = {"images": "images", "vision-language": "questions", "clients": "images of all clients"}
OTHER_OPTIONS = ("name", "overrides", "recipe", "plan", "as_json")


def distill_task(task: str, values: Mapping[str, Any], *, plan: bool, as_json: bool) -> None:
    """Run or plan with the values of the command line. Raises UserError for an option that is about traces."""
    from agentkd import config as configs
    from agentkd.api import TASKS, run_stages
    from agentkd.errors import UserError

    kind = getattr(configs, TASKS[task])
    options = {name: value for name, value in values.items() if name not in OTHER_OPTIONS and value is not None}
    for name in options:
        if name not in kind.model_fields:
            raise UserError(f"--{name.replace('_', '-')} does not go with --task {task}: leave it out")
    stages = configs.load_stages(kind, recipe=values["recipe"], options=options, overrides=values["overrides"] or [])
    result = run_stages(stages, plan=plan)
    if as_json:
        print(json.dumps(result))
    if as_json or plan:
        return
    (say_texts if task == "texts" else say_pictures)(task, result)
    say(f"wrote {result['out']}; its report: {shlex.quote(result['out'] + '/report.html')}")


def say_texts(_: str, result: Mapping[str, Any]) -> None:
    """Print speed and held-out losses of a student of texts."""
    byte = result["bytes_per_token"]
    say(
        f"{result['tokens']:,} tokens, {result['steps']} steps in {result['seconds']:.0f} s "
        f"({result['tokens_per_second']:.0f} tokens/s)"
    )
    say(
        f"loss on {result['held_out']:,} held-out documents: {result['held_out_before']:.3f} → "
        f"{result['held_out_after']:.3f} nats/token, {result['held_out_before'] / byte:.3f} → "
        f"{result['held_out_after'] / byte:.3f} nats/byte"
    )


def say_pictures(task: str, result: Mapping[str, Any]) -> None:
    """Print accuracies of teacher and students, and their differences."""
    for row in result["rows"]:
        say(
            f"{row['name']:<8} {row['accuracy']:5.1f} % [{row['low']:.1f}, {row['high']:.1f}] of {result['held_out']} "
            f"held-out {HELD_OUT[task]}"
        )
    for row in result["differences"]:
        say(
            f"student minus {row['minus']}: {row['accuracy']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}] "
            f"(paired, 95 %)"
        )
