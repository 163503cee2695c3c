"""A recipe's stages on images: trainings one after another, each from the student that the one before has left.

The last stage's directory is the student's; the others lie in `stages/` inside it, each whole by itself, so that a run
that was stopped goes on in the stage where it was. The baseline goes through the same stages on labels alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkd.config import ImagesConfig
from agentkd.distill.images.plan import plan_images
from agentkd.distill.images.run import distill_images, resolve
from agentkd.errors import UserError
from agentkd.runs.progress import say


def distill_stages(configs: Sequence[ImagesConfig]) -> dict[str, Any]:
    """Run all stages and return the last one's metrics, with what each has reached. Raises UserError for wrong options
    of any stage before the first one begins."""
    stages = resolve_stages(configs)
    results: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        say(f"stage {number + 1} of {len(stages)}: {stage.method}")
        before = Path(str(stages[number - 1].out)) if number else None
        results.append(distill_images(follow(stage, before), before))
    reached = [
        {"method": stage.method, "out": result["out"], "rows": result["rows"], "differences": result["differences"]}
        for stage, result in zip(stages, results, strict=True)
    ]
    return {**results[-1], "stages": reached}


def plan_stages(configs: Sequence[ImagesConfig]) -> dict[str, Any]:
    """Print what each stage would take, with the first student in all of them, as the others do not exist yet."""
    plans = [plan_images(stage) for stage in resolve_stages(configs)]
    return {"out": plans[-1]["out"], "stages": plans, "seconds": round(sum(plan["seconds"] for plan in plans), 1)}


def resolve_stages(configs: Sequence[ImagesConfig]) -> list[ImagesConfig]:
    """The stages with their directories. Raises UserError for what is missing or unknown."""
    if any(config.method == "auto" for config in configs):
        raise UserError("a stage needs a method of its own, not auto: let auto choose alone, without stages")
    *earlier, last = map(resolve, configs)
    folder = Path(str(last.out)) / "stages"
    return [
        stage.model_copy(update={"out": str(folder / f"{number}-{stage.method}")})
        for number, stage in enumerate(earlier, 1)
    ] + [last]


def follow(stage: ImagesConfig, before: Path | None) -> ImagesConfig:
    """The stage with the student of the stage before, and with the teacher that was fitted there."""
    if before is None:
        return stage
    fitted = before / "teacher"
    teacher = str(fitted) if fitted.is_dir() else stage.teacher_model
    return stage.model_copy(update={"student": str(before), "teacher_model": teacher})
