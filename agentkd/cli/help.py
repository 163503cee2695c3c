"""Help pages: options by group, defaults and texts from the config's fields, an example per command.

A stage's options have one description, that of the field in `agentkd.config`. It is read when a help page is printed
and not before, so that parsing a command stays fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, get_args

from typer.core import TyperCommand, TyperGroup

NAME_COLUMN = 22  # characters; a longer name has a line of its own
ARGUMENTS, OPTIONS, OUTPUT = "Arguments", "Options", "Output"
FACTS = "Facts that files and pages may leave open, as key=value"
KEY_VALUE = "More, as key=value"
BESIDE = "With --task {task}, as key=value"
FIRST, LAST = (ARGUMENTS, FACTS), (OUTPUT, OPTIONS, KEY_VALUE)  # sections; those that commands name come between


class Page(TyperCommand):
    """A command whose help page shows an example, and its options by `rich_help_panel`."""

    config: ClassVar[str] = ""  # the class in agentkd.config that describes the options
    takes_fields: ClassVar[bool] = True  # whether all its fields can be given as key=value
    example: ClassVar[str] = ""
    beside: ClassVar[dict[str, str]] = {}  # further configs of the same command, by the --task that takes them

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        fields = config_fields(self.config)
        param: Any
        beside = {task: config_fields(name) for task, name in self.beside.items()}
        for param in self.get_params(ctx):
            texts = [others[param.name] for others in beside.values() if param.name in others]
            if texts and param.name not in fields and not param.help:
                param.help, param.show_default = "; ".join(dict.fromkeys(texts)), False
            if param.name in fields and not param.help:
                param.help, param.show_default = fields[param.name], False
            record = param.get_help_record(ctx)
            if record is not None and param.name != "overrides":  # they have sections of their own
                title = getattr(param, "rich_help_panel", None) or (OUTPUT if fields else OPTIONS)
                groups.setdefault(ARGUMENTS if param.param_type_name == "argument" else title, []).append(record)
        shown = {param.name for param in self.get_params(ctx)}
        for name in (name for name in fields if self.takes_fields and name not in shown):
            title = FACTS if name in fact_fields(self.config) else KEY_VALUE
            groups.setdefault(title, []).append((f"{name}=", fields[name]))
        for task, others in beside.items():
            for name in (name for name in others if name not in shown):
                groups.setdefault(BESIDE.format(task=task), []).append((f"{name}=", others[name]))
        if self.example:
            formatter.write_paragraph()
            formatter.write(f"Example:\n  {self.example}\n")
        for title in sorted(groups, key=order_of):
            with formatter.section(title):
                formatter.write_dl(groups[title], col_max=NAME_COLUMN)


class Index(TyperGroup):
    """A group of commands whose help page lists them by `rich_help_panel`, each on one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                title = panel if isinstance(panel, str) else "Commands"
                groups.setdefault(title, []).append((name, command.get_short_help_str(120)))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def order_of(title: str) -> int:
    """The place of a section on the page; sections of the same place keep the order of their options."""
    return (LAST.index(title) + 1) if title in LAST else (FIRST.index(title) - len(FIRST)) if title in FIRST else 0


def page(
    config: str = "", example: str = "", *, takes_fields: bool = True, beside: dict[str, str] | None = None
) -> type[Page]:
    """The class of a command: `cls=page("GenerateConfig", "agentkd generate --task geo")`."""
    values = {"config": config, "example": example, "takes_fields": takes_fields, "beside": beside or {}}
    return type("CommandPage", (Page,), values)


def config_fields(name: str) -> dict[str, str]:
    """The help text of each field of a config: its description with the default at the end."""
    if not name:
        return {}
    from agentkd import config

    return {
        field: describe_field(info.description or "", info.default)
        for field, info in getattr(config, name).model_fields.items()
    }


def fact_fields(name: str) -> tuple[str, ...]:
    """The fields with which the user settles facts that cannot be read off the data."""
    from agentkd import config

    return tuple(getattr(getattr(config, name), "FACTS", ()))


def describe_field(description: str, default: Any) -> str:
    """A description with names filled in and, where it tells none, the default."""
    for word, names in NAMES.items():
        if word in description:
            description = description.replace(word, ", ".join(names()))
    if default is None or default == "" or default is False or "[default:" in description:
        return description
    return f"{description} [default: {'yes' if default is True else format_number(default)}]"


def format_number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def agent_names() -> list[str]:
    from agentkd.agents import NAMES as names
    from agentkd.agents import WITH_TOOLS

    return [*names, *WITH_TOOLS]


def method_names() -> list[str]:
    from agentkd.distill.method import METHODS

    return list(METHODS)


def form_names() -> list[str]:
    from agentkd.config import DistillConfig

    literal, _ = get_args(DistillConfig.model_fields["form"].annotation)  # or None
    return list(get_args(literal))


def image_method_names() -> list[str]:
    from agentkd.distill.images.methods import IMAGE_METHODS

    return list(IMAGE_METHODS)


def verifier_names() -> list[str]:
    from agentkd.verifiers.names import NAMES as names

    return list(names)


NAMES: dict[str, Callable[[], list[str]]] = {
    "{agents}": agent_names, "{methods}": method_names, "{image_methods}": image_method_names,
    "{verifiers}": verifier_names,
}  # fmt: skip


def complete_from(names: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """Shell completion of an option that takes one of these names, or several, comma-separated."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]

    return complete
