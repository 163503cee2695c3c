"""Parts of a run: its questions on several machines, and one run of all of them again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agentkd.config import slug, task_label
from agentkd.errors import UserError
from agentkd.runs.read import is_complete, read_config, strip_address
from agentkd.runs.untrusted import read_file_lines

Item = TypeVar("Item")
MOST = 100_000  # parts


@dataclass(frozen=True)
class Part:
    """The `number`-th of `total` parts, counted from 1."""

    number: int
    total: int

    @property
    def suffix(self) -> str:
        """The end of the name of its directory."""
        return f"-{self.number}-of-{self.total}"

    def take(self, items: Sequence[Item]) -> list[Item]:
        """Its items: every item is in one part, and the sizes of parts differ by one at most.

        Raises UserError where none is left for it."""
        own = list(items[self.number - 1 :: self.total])
        if not own:
            raise UserError(f"shard={self.number}/{self.total} has no question: {len(items)} make {len(items)} parts")
        return own


def read_part(text: str | None) -> Part | None:
    """The part that `i/n` names; None for all. Raises UserError for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MOST:
        raise UserError(f"shard={text} is no part: write i/n, for example shard=1/4")
    return Part(int(found[1]), int(found[2]))


def name_run(task: str, agent: str, shard: str | None) -> str:
    """The default directory of a run of questions. Raises UserError for a shard that is no part."""
    part = read_part(shard)
    return f"runs/{slug(task_label(task))}-{slug(agent)}{part.suffix if part else ''}"


def take_part(items: list[Item], shard: str | None) -> list[Item]:
    """The items of a part; all without one. Raises the errors of `read_part` and `take`."""
    part = read_part(shard)
    return part.take(items) if part else items


def check_parts(runs: Sequence[Path], free: frozenset[str]) -> dict[str, Any]:
    """The config that all parts of one run have in common, without `shard` and those in `free`.

    Raises UserError unless they are complete, of one run, and all of its parts, each once."""
    configs = {run: read_config(run, ["stage"]) for run in runs}
    parts: dict[int, Path] = {}
    totals = set()
    for run, config in configs.items():
        if config["stage"] != "generate" or not config.get("shard"):
            raise UserError(f"{run} is no part of a run: generate made it without shard=i/n")
        if not is_complete(run):
            raise UserError(f"{run} is not finished: run its command again, then merge")
        part = read_part(str(config["shard"]))
        assert part is not None
        totals.add(part.total)
        if part.number in parts:
            raise UserError(f"{run} and {parts[part.number]} are both part {part.number}: give each part once")
        parts[part.number] = run
    if len(totals) != 1:
        raise UserError(f"parts of {' and '.join(map(str, sorted(totals)))} do not go together: give those of one run")
    if missing := sorted(set(range(1, totals.pop() + 1)) - set(parts)):
        raise UserError(f"part {missing[0]} is missing{f', and {len(missing) - 1} more' * (len(missing) > 1)}")
    return _common(configs, free | {"shard", "out"})


def _common(configs: Mapping[Path, Mapping[str, Any]], free: frozenset[str]) -> dict[str, Any]:
    first, own = next(iter(configs.items()))
    for run, config in configs.items():
        for name in own.keys() | config.keys():
            if name not in free and strip_address(config.get(name)) != strip_address(own.get(name)):
                raise UserError(
                    f"{first} has {name} = {own.get(name)!r} and {run} has {config.get(name)!r}: "
                    f"they are no parts of one run"
                )
    return {name: value for name, value in own.items() if name not in ("shard", "out")}


def read_responses(run: Path) -> list[Path]:
    """The files of a run's cache of responses, which hold what it has paid for."""
    return sorted((run / "cache").glob("responses-*.jsonl"))


def copy_lines(source: Path, target: Path) -> None:
    """Append the whole lines of a file to another; a torn last line stays behind."""
    with target.open("ab") as file:
        for line in read_file_lines(source):
            if line.endswith(b"\n"):
                file.write(line)
