"""Tables of arms with mean ± sd over seeds, in Markdown, from the rows of a report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def draw_table(report: Mapping[str, Any]) -> str:
    """One line an arm, one column a metric; `mean ± sd`, a dash where an arm lacks the metric."""
    return draw_lines(*list_cells(report))


def list_cells(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The same as a head and lines of cells."""
    metrics = list(dict.fromkeys(row["metric"] for row in report["rows"]))
    cells = {(row["arm"], row["metric"]): format_spread(row["mean"], row["sd"]) for row in report["rows"]}
    arms = dict.fromkeys(row["arm"] for row in report["rows"])
    return ["arm", *metrics], [[arm, *(cells.get((arm, metric), "–") for metric in metrics)] for arm in arms]


def draw_lines(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned for a terminal, too."""
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    ruled = [head, ["-" * width for width in widths], *lines]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in ruled
    )


def format_spread(mean: float, sd: float | None) -> str:
    """`80.9 ± 1.3`; three significant digits where values are small."""
    return format_value(mean) + ("" if sd is None else f" ± {format_value(sd, mean)}")


def format_value(value: float, like: float | None = None) -> str:
    """Two decimals, or as many as show three digits of `like`, at most six; thousands are grouped."""
    size = abs(value if like is None else like)
    digits = 0 if size >= 10_000 else 2 if size >= 1 or size == 0 else min(6, 2 - int(np.floor(np.log10(size))))
    return f"{value:,.{digits}f}"


def describe_cost(report: Mapping[str, Any]) -> str:
    """`12.3 CPU minutes`: what all rows together took of processor cores; by the clock where that is not on record."""
    if report["cpu_seconds"] is None:
        return f"{report['seconds']:.0f} s by the clock"
    return f"{format_minutes(report['cpu_seconds'])} CPU minutes"


def format_minutes(seconds: float | None) -> str:
    """Seconds as minutes with a decimal; a dash where they are not on record."""
    return "–" if seconds is None else f"{seconds / 60:.1f}"


def count_seeds(report: Mapping[str, Any]) -> int:
    """The seeds of the headline's pairs."""
    return int(report["comparisons"][0]["pairs"])


def describe_comparison(comparison: Mapping[str, Any]) -> str:
    """`hard - kd, shifted: +63.2 [+60.1, +66.3], 5 seeds: shown`."""
    claimed = "" if comparison["higher"] else " (claimed: below 0)"
    claimed = f" (claimed: at most {comparison['within']:g} apart)" if comparison["within"] is not None else claimed
    return (
        f"{comparison['arm']} - {comparison['control']}, {comparison['metric']}{claimed}: "
        f"{format_interval(comparison)}, {comparison['pairs']} seeds: {comparison['verdict']}"
    )


def format_interval(comparison: Mapping[str, Any]) -> str:
    """The mean paired difference with its interval: `+63.20 [+60.10, +66.30]`."""
    difference, low, high = (
        ("+" if value >= 0 else "") + format_value(value, comparison["difference"])
        for value in (comparison["difference"], comparison["low"], comparison["high"])
    )
    return f"{difference} [{low}, {high}]"
