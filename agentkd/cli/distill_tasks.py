"""`agentkd distill --task images`, `vision-language` and `texts`: what `distill` does beside traces, with configs of
their own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agentkd.cli.options import say

TASKS = {
    "images": "ImagesConfig",
    "vision-language": "VisionLanguageConfig",
    "texts": "TextsConfig",
    "clients": "ClientsConfig",
}
METHODS = {"llava-kd": "vision-language", "knfu": "clients", "fedmd": "clients"}  # methods that tell the task
HELD_OUT = {"images": "images", "vision-language": "questions", "clients": "images of all clients"}
OTHER_OPTIONS = ("name", "overrides", "recipe", "plan", "as_json")


def find_task(task: str | None, method: str | None, corpus: str | None, recipe: Path | None) -> str | None:
    """The task that the command or its recipe names, or its method or corpus tells; None for the traces of agents."""
    from agentkd.config import read_recipe
    from agentkd.errors import unknown_name

    written = read_recipe(recipe) if recipe is not None else {}
    found = task or written.get("task") or METHODS.get(str(method or written.get("method")))
    if found is None and (corpus or written.get("corpus")):
        found = "texts"
    if found is not None and found not in TASKS:
        raise unknown_name("task of distill", str(found), TASKS)
    return found


def distill_task(task: str, values: Mapping[str, Any], *, plan: bool, as_json: bool) -> None:
    """Run or plan with the values of the command line. Raises UserError for an option that is about traces."""
    from agentkd import config as configs
    from agentkd.errors import UserError

    kind = getattr(configs, TASKS[task])
    options = {name: value for name, value in values.items() if name not in OTHER_OPTIONS and value is not None}
    for name in options:
        if name not in kind.model_fields:
            raise UserError(f"--{name.replace('_', '-')} does not go with --task {task}: leave it out")
    config = configs.load_config(kind, recipe=values["recipe"], options=options, overrides=values["overrides"] or [])
    name = "auto" if getattr(config, "method", None) == "auto" else task
    result = find_function(name, plan=plan)(config)
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


def find_function(task: str, *, plan: bool) -> Callable[[Any], dict[str, Any]]:
    """What runs or plans a task, from its config; `auto` chooses the method for images."""
    if task == "auto":
        from agentkd.distill.auto.images import distill_images_auto, plan_images_auto

        return plan_images_auto if plan else distill_images_auto
    if task == "clients":
        from agentkd.distill.clients.run import distill_clients
        from agentkd.errors import UserError

        if plan:
            raise UserError("--task clients has no --plan: give rounds=1 to see how long a round takes")
        return distill_clients
    if task == "images":
        from agentkd.distill.images.plan import plan_images
        from agentkd.distill.images.run import distill_images

        return plan_images if plan else distill_images
    if task == "texts":
        from agentkd.distill.texts.plan import plan_texts
        from agentkd.distill.texts.run import distill_texts

        return plan_texts if plan else distill_texts
    from agentkd.distill.vision_language.plan import plan_vision_language
    from agentkd.distill.vision_language.run import distill_vision_language

    return plan_vision_language if plan else distill_vision_language
