"""report.html of experiments: verdict, figures, table and comparisons of each, in the form of all reports."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agentkd.report.page import render
from agentkd.reproduce.plots import BARS, CURVE
from agentkd.reproduce.table import count_seeds, describe_cost, format_interval, list_cells
from agentkd.reproduce.verdict import SHOWN
from agentkd.runs.disk import write_atomically

FILE = "report.html"


def write_page(reports: Mapping[str, Mapping[str, Any]], path: Path, *, quick: bool) -> Path:
    """Write a page of one experiment or of several, by name. Plots are read from the experiments' directories."""
    write_atomically(path, render_experiments(reports, quick=quick).encode())
    return path


def render_experiments(reports: Mapping[str, Mapping[str, Any]], *, quick: bool) -> str:
    """Render reports by name; one alone has its title as the page's."""
    first = next(iter(reports.values()))
    alone = len(reports) == 1
    verdicts = [report["verdict"] for report in reports.values()]
    facts = [(verdict, str(verdicts.count(verdict)), "") for verdict in dict.fromkeys(sorted(verdicts))]
    facts = [("verdict", first["verdict"], f"{count_seeds(first)} seeds")] if alone else facts
    return render(
        kind="reproduce",
        title=first["title"] if alone else "The founding papers",
        lead="quick: its figures mean little" if quick else "claims of papers beside their controls, arm by arm",
        facts=facts,
        alone=alone,
        experiments=[describe(name, report) for name, report in reports.items()],
    )


def describe(name: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of one experiment."""
    head, lines = list_cells(report)
    return {
        "name": name,
        "title": report["title"],
        "claim": f"{report['claim'][0].upper()}{report['claim'][1:]} ({report['paper']}).",
        "bed": report["bed"],
        "cost": f"{count_seeds(report)} seeds, {describe_cost(report)}, {report['date']}",
        "verdict": report["verdict"],
        "figures": list(embed(Path(report["out"]))),
        "arms": list(report["arms"].items()),
        "head": head,
        "lines": lines,
        "comparisons": [
            {**comparison, "interval": format_interval(comparison), "good": comparison["verdict"] == SHOWN}
            for comparison in report["comparisons"]
        ],
    }


def embed(folder: Path) -> Iterable[tuple[str, str]]:
    """The plots that are there: what each shows, and its picture in base64."""
    shown = {BARS: "mean and standard deviation of each arm, dots are seeds", CURVE: "means and standard deviations"}
    for file, text in shown.items():
        if (folder / file).exists():
            yield text, base64.b64encode((folder / file).read_bytes()).decode()
