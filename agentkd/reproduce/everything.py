"""All experiments in a row, and the two files that show them: methods.json and the results part of methods.md."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkd.config import ReproduceConfig
from agentkd.errors import UserError
from agentkd.reproduce import EXPERIMENTS
from agentkd.reproduce.page import FILE, write_page
from agentkd.reproduce.run import default_out, run_experiment
from agentkd.reproduce.survey import draw_map
from agentkd.reproduce.table import (
    describe_comparison,
    describe_cost,
    draw_lines,
    draw_table,
    format_interval,
    format_minutes,
    format_spread,
)
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say

DOCS = Path("docs")  # of a checkout
BEGIN, END = "<!-- results: written by `agentkd reproduce all` -->", "<!-- end of results -->"
MAP, END_OF_MAP = "<!-- map: written by `agentkd reproduce all` -->", "<!-- end of map -->"


def run_all(config: ReproduceConfig) -> dict[str, Any]:
    """Run every experiment in a folder of its own below `config.out`, and write methods.json, methods.md and
    report.html there.

    In a checkout, a run that is not quick writes docs/results/methods.json and the results part of docs/methods.md
    instead of the first two."""
    root = Path(config.out or Path(default_out("all", quick=False)).parent)
    found: dict[str, Any] = {}
    for place, name in enumerate(EXPERIMENTS, 1):
        say(f"{place} of {len(EXPERIMENTS)}: {name}")
        folder = root / Path(default_out(name, quick=config.quick)).name
        found[name] = run_experiment(name, config.model_copy(update={"out": str(folder)}))
    wrote = [*publish(found, root, quick=config.quick), write_page(found, root / FILE, quick=config.quick)]
    return {"quick": config.quick, "experiments": found, "wrote": [str(path) for path in wrote]}


def publish(found: Mapping[str, Any], root: Path, *, quick: bool) -> list[Path]:
    """Write reports by name as methods.json and methods.md, and return the paths."""
    published = {"date": time.strftime("%Y-%m-%d"), "quick": quick, "experiments": found}
    raw = json.dumps(published, indent=1, ensure_ascii=False) + "\n"
    page = DOCS / "methods.md"
    if not quick and page.exists():
        files = {DOCS / "results/methods.json": raw, page: replace_parts(page.read_text(encoding="utf-8"), found)}
    else:
        files = {root / "methods.json": raw, root / "methods.md": describe_all(found)}
    for path, text in files.items():
        write_atomically(path, text)
    return list(files)


def replace_parts(page: str, found: Mapping[str, Any]) -> str:
    """Put the map and the results between their marks of a page. Raises UserError where it lacks them."""
    raw = "Raw figures, with the values of every seed: [methods.json](results/methods.json)."
    page = replace_part(page, (MAP, END_OF_MAP), f"\n{draw_map()}\n")
    return replace_part(page, (BEGIN, END), f"\n{raw}\n\n{describe_all(found)}")


def replace_part(page: str, marks: tuple[str, str], text: str) -> str:
    """Put a text between two marks of a page. Raises UserError where it lacks them."""
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise UserError(f"{DOCS}/methods.md lacks the lines {marks[0]!r} and {marks[1]!r}: put them where they belong")
    return f"{before}{marks[0]}\n{text}\n{marks[1]}{after}"


def describe_all(found: Mapping[str, Any]) -> str:
    """The results as Markdown: a table of verdicts, then a section an experiment."""
    return "\n".join([summarise(found), *(describe_one(name, report) for name, report in found.items())])


def summarise(found: Mapping[str, Any]) -> str:
    """One line an experiment: claimed arm and control with mean ± sd, the difference, and the verdict."""
    lines = []
    for report in found.values():
        first = report["comparisons"][0]
        spread = {row["arm"]: row for row in report["rows"] if row["metric"] == first["metric"]}
        shown = [
            f"{arm}: {format_spread(spread[arm]['mean'], spread[arm]['sd'])}"
            for arm in (first["arm"], first["control"])
        ]
        lines.append(
            [
                report["title"],
                first["metric"],
                *shown,
                format_interval(first),
                str(first["pairs"]),
                format_minutes(report["cpu_seconds"]),
                report["verdict"],
            ]
        )
    head = ["method", "metric", "claimed better", "control", "paired difference", "seeds", "CPU minutes", "verdict"]
    return draw_lines(head, lines) + "\n"


def describe_one(name: str, report: Mapping[str, Any]) -> str:
    """A section: claim, bed, arms, table, comparisons."""
    arms = "\n".join(f"- **{arm}**: {text}" for arm, text in report["arms"].items())
    comparisons = "\n".join(f"- {describe_comparison(comparison)}" for comparison in report["comparisons"])
    seeds = report["rows"][0]["seeds"]
    return (
        f"### {report['title']}\n\n{report['claim'][0].upper()}{report['claim'][1:]} ({report['paper']}).\n\n"
        f"    agentkd reproduce {name}\n\n"
        f"Bed: {report['bed']}. Seeds {seeds[0]} to {seeds[-1]}, {describe_cost(report)}, "
        f"{report['date']}.\n\n{arms}\n\n{draw_table(report)}\n\n{comparisons}\n"
    )
