"""A report as a PNG: each seed's value of the headline's metric, arm by arm, and the means."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say


def draw_arms(report: Mapping[str, Any], path: Path) -> bool:
    """Draw one line an arm, the claimed one in another colour; returns whether matplotlib is there to draw it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        say("no plot: matplotlib is not installed (pip install matplotlib)")
        return False
    first = report["comparisons"][0]
    rows = [row for row in report["rows"] if row["metric"] == first["metric"]]
    figure = Figure(figsize=(7, 1.4 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        colour = (
            "tab:orange" if row["arm"] == first["arm"] else "tab:blue" if row["arm"] == first["control"] else "gray"
        )
        axes.plot(row["values"], [place] * len(row["values"]), "o", color=colour, alpha=0.5, markersize=4)
        axes.plot([row["mean"]], [place], "|", color=colour, markersize=18, markeredgewidth=2)
    axes.set_yticks(range(len(rows)), [row["arm"] for row in reversed(rows)])
    axes.set_xlabel(first["metric"])
    axes.set_title(f"{report['title']}: {report['verdict']}", loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
    return True
