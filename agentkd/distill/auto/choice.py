"""What both roads of `--method auto` share: the budget, and the line about what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkd.config import DistillConfig, ImagesConfig
from agentkd.distill.auto.search import Budget
from agentkd.errors import UserError
from agentkd.runs.progress import say


def require_budget(config: DistillConfig | ImagesConfig) -> None:
    """Raise UserError without a budget."""
    if config.budget_hours is None and config.budget_passes is None:
        raise UserError("--method auto needs --budget-hours: how long it may try, for example 0.5")


def budget_of(config: DistillConfig | ImagesConfig) -> Budget:
    """The budget that a config names."""
    return Budget(None if config.budget_hours is None else 3600 * config.budget_hours, config.budget_passes)


def say_choice(found: Mapping[str, Any]) -> None:
    """Print what was chosen, and what it earned beside the default."""
    chosen = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in found["options"].items()
    )
    say(
        f"chosen after {found['trainings']} trainings of {len(found['candidates'])} candidates: {found['method']}, "
        f"{chosen} ({found['source']}) · {found['reward']:.1f} % on held-out parts of the training data, the default "
        f"{found['default_reward']:.1f} %"
    )
