"""A report as PNGs: bars of the arms in each metric that is compared, and curves where metrics have an x."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say

BARS, CURVE = "plot.png", "curve.png"
COLUMNS = 3  # panels in a row
CLAIMED, CONTROL, OTHER = "#d1782e", "#14688a", "#b8bdb9"


def draw_plots(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the plots of a report into a folder and return their paths; none, and a line that says so, where matplotlib
    is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        say("no plot: matplotlib is not installed (pip install matplotlib)")
        return []
    drawn = {BARS: draw_bars(report)}
    if report["curve"]:
        drawn[CURVE] = draw_curve(report)
    for name, png in drawn.items():
        write_atomically(folder / name, png)
    return [folder / name for name in drawn]


def draw_bars(report: Mapping[str, Any]) -> bytes:
    """A panel for each metric that is compared: a bar an arm with its standard deviation, and a dot a seed.

    The arm that is claimed to be better is orange, its control blue."""
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(comparison["metric"] for comparison in report["comparisons"]))
    arms = list(reversed(report["arms"]))
    columns = min(COLUMNS, len(metrics))
    lines = -(-len(metrics) // columns)
    size = (1.8 + 2.8 * columns, 0.6 + lines * (0.7 + 0.26 * len(arms)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).flat
    for metric, axes in zip(metrics, panels, strict=False):
        for row in (row for row in report["rows"] if row["metric"] == metric):
            place, values = arms.index(row["arm"]), row["values"]
            error = {"xerr": row["sd"], "capsize": 3, "ecolor": "#1d2126"} if row["sd"] is not None else {}
            axes.barh(place, row["mean"], color=choose_colour(report, row["arm"]), height=0.7, **error)
            axes.plot(values, [place] * len(values), ".", color="#1d2126", alpha=0.35, markersize=4)
        axes.set_xlabel(metric)
        axes.set_yticks(range(len(arms)), arms)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(panels):
        axes.set_visible(False)
    figure.suptitle(f"{report['title']}: {report['verdict']}", x=0.01, ha="left")
    return _save(figure)


def draw_curve(report: Mapping[str, Any]) -> bytes:
    """A line an arm through its means, with standard deviations, over what the metrics differ in."""
    from matplotlib.figure import Figure

    curve = report["curve"]
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for arm in report["arms"]:
        found = {row["metric"]: row for row in report["rows"] if row["arm"] == arm}
        shown = [(x, found[metric]) for metric, x in curve["points"].items() if metric in found]
        means, spreads = [row["mean"] for _, row in shown], [row["sd"] or 0.0 for _, row in shown]
        colour = choose_colour(report, arm)
        axes.errorbar(
            [x for x, _ in shown], means, spreads, label=arm, color=colour, capsize=3, marker="o", markersize=4
        )
    axes.set_xlabel(curve["x"])
    axes.set_ylabel(curve["y"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.suptitle(report["title"], x=0.01, ha="left")
    return _save(figure)


def choose_colour(report: Mapping[str, Any], arm: str) -> str:
    """The colour of an arm by its part in the headline."""
    first = report["comparisons"][0]
    return {first["arm"]: CLAIMED, first["control"]: CONTROL}.get(arm, OTHER)


def _save(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
