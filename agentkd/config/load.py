"""Recipes, options and `key=value` words merged into a config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from agentkd.config.base import StageConfig
from agentkd.errors import UserError, did_you_mean, unknown_name

Config = TypeVar("Config", bound=StageConfig)


def load_config(
    kind: type[Config], *, recipe: Path | None, options: Mapping[str, Any], overrides: Sequence[str]
) -> Config:
    """Merge a recipe, the options of the command line (None: not given) and `key=value` words into a config.

    Raises UserError with the field, the value and what was expected."""
    values = {} if recipe is None else read_recipe(recipe)
    return _merge(kind, values, options, overrides)


def load_stages(
    kind: type[Config], *, recipe: Path | None, options: Mapping[str, Any], overrides: Sequence[str]
) -> list[Config]:
    """The configs of a recipe's `stages`, in their order; one config where there are none.

    A stage is a group of options, which win over the recipe's own; the command line wins over both, in all stages.
    Raises UserError as `load_config` does, for stages of a command that has none, and for an option of a stage that all
    stages must share."""
    if not kind.SHARED:
        return [load_config(kind, recipe=recipe, options=options, overrides=overrides)]
    common, stages = ({}, []) if recipe is None else read_stages(recipe)
    for number, stage in enumerate(stages, 1):
        if shared := sorted(kind.SHARED & set(stage)):
            raise UserError(f"{recipe}: stage {number} has {shared[0]}, which all stages share: write it above them")
    return [_merge(kind, {**common, **stage}, options, overrides) for stage in stages or [{}]]


def _merge(kind: type[Config], values: dict[str, Any], options: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    values.update({key: value for key, value in options.items() if value is not None})
    for word in overrides:
        key, sign, text = word.partition("=")
        if not sign:
            near = did_you_mean(word, kind.model_fields)
            known = "" if near else f", with one of {', '.join(kind.model_fields)}"
            raise UserError(f"'{word}' is not an option{near or ':'} write key=value{known}")
        values[key.strip().replace("-", "_")] = yaml.safe_load(text)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(part for part in first["loc"] if isinstance(part, str))  # not the place in a list
        if first["type"] == "extra_forbidden":
            if name in kind.CALLED:
                raise UserError(
                    f"option '{name}' is called {kind.CALLED[name]} here: write {kind.CALLED[name]}=…"
                ) from None
            raise unknown_name("option", name, kind.model_fields) from None
        choices = re.findall(r"'([^']+)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
        near = did_you_mean(str(first["input"]), choices)
        raise UserError(f"option '{name}' = {first['input']!r}{near or ':'} {first['msg'].lower()}") from None


def require_options(task: str, *options: tuple[str, Any, str]) -> None:
    """Raise UserError for the first of (option, value, what it takes) that a task needs and does not have."""
    for option, value, takes in options:
        if not value:
            raise UserError(f"--task {task} needs {option}: {takes}")


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a flat YAML mapping. Nested values are refused: a recipe is a command line written down."""
    content, stages = read_stages(path)
    if stages:
        raise UserError(f"{path} has stages, which `distill --task images` takes alone: write key: value lines")
    return content


def read_stages(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a flat YAML mapping, and the list of flat mappings that may stand in it as `stages`."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"no recipe at {path}: give a YAML file of key: value lines") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}") from None
    stages = content.pop("stages", []) if isinstance(content, dict) else []
    if not isinstance(stages, list) or not all(map(_is_flat, stages)):
        raise UserError(f"{path}: stages is no list of key: value lines; begin each stage with a dash")
    if not _is_flat(content):
        raise UserError(f"{path} is not a flat recipe: write key: value lines, without nesting")
    first, *others = (
        {str(key).replace("-", "_"): value for key, value in group.items()} for group in (content, *stages)
    )
    return first, others


def _is_flat(content: Any) -> bool:
    return isinstance(content, dict) and not any(isinstance(value, dict | list) for value in content.values())
