"""`agentkd distill --task images`: an option of `distill` with a config of its own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkd.cli.options import say

NOT_OPTIONS = ("overrides", "recipe", "plan", "as_json")


def is_about_images(task: str | None, recipe: Path | None) -> bool:
    """Whether the command or its recipe names a task, which `distill` of traces has none of."""
    if task is not None or recipe is None:
        return task is not None
    from agentkd.config import read_recipe

    return "task" in read_recipe(recipe)


def distill_pictures(values: Mapping[str, Any], *, plan: bool, as_json: bool) -> None:
    """Run or plan with the values of the command line. Raises UserError for an option that is about traces."""
    from agentkd.config import ImagesConfig, load_config
    from agentkd.distill.images.plan import plan_images
    from agentkd.distill.images.run import distill_images
    from agentkd.errors import UserError

    options = {name: value for name, value in values.items() if name not in NOT_OPTIONS and value is not None}
    for name in options:
        if name not in ImagesConfig.model_fields:
            raise UserError(f"--{name.replace('_', '-')} is about traces: leave it out with --task images")
    config = load_config(ImagesConfig, recipe=values["recipe"], options=options, overrides=values["overrides"] or [])
    result = plan_images(config) if plan else distill_images(config)
    if as_json:
        print(json.dumps(result))
    if as_json or plan:
        return
    for row in result["rows"]:
        say(
            f"{row['name']:<8} {row['accuracy']:5.1f} % [{row['low']:.1f}, {row['high']:.1f}] of {result['held_out']} "
            f"held-out images"
        )
    for row in result["differences"]:
        say(
            f"student minus {row['minus']}: {row['accuracy']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}] "
            f"(paired, 95 %)"
        )
    say(f"wrote {result['out']}; its report: {shlex.quote(result['out'] + '/report.html')}")
