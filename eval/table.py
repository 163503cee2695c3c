"""Print the table of an evaluation."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from agentkd.runs.terminal import Terminal

COLUMNS = ("hit", "hits1", "precision", "recall", "f1", "em", "faithful")


def print_evaluation(report: dict[str, Any]) -> None:
    """Print rows and paired differences; scores in percent, calls, tokens and seconds per question."""
    console = Terminal()
    if not console.is_terminal:
        console.width = 140
    title = f"{report['task'] or 'predictions'} {report.get('split') or ''} · {report['n']} questions"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("system", overflow="fold", min_width=16)
    table.add_column("matcher")
    for name in ("Hit", "Hits@1", "P", "R", "F1 [95 %]", "EM", "faithful", "calls", "tokens", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report["rows"]:
        cells = [format_cell(row[name]) for name in COLUMNS]
        cells[4] += f" [{row['f1_low']:.1f}, {row['f1_high']:.1f}]"
        table.add_row(
            row["name"],
            row["matcher"],
            *cells,
            format_cell(row["calls"]),
            format_cell(row["tokens"], 0),
            format_cell(row["seconds"], 2),
        )
    console.print(table)
    for row in report["rows"]:
        if row["matcher"] == report["rows"][0]["matcher"] and row.get("in_kb") is not None:
            console.print(
                f"{row['name']}: {format_cell(row['in_kb'])} % of the paths that it wrote are in the knowledge base"
            )
    if report.get("groups"):
        table = Table(title=f"by kind of question, {report['groups'][0]['matcher']}", title_justify="left", box=None)
        for name in ("system", "kind", "n", "Hit", "F1 [95 %]"):
            table.add_column(name, justify="left" if name in ("system", "kind") else "right", no_wrap=name != "system")
        for row in report["groups"]:
            f1 = f"{format_cell(row['f1'])} [{row['f1_low']:.1f}, {row['f1_high']:.1f}]"
            table.add_row(row["name"], row["group"], str(row["n"]), format_cell(row["hit"]), f1)
        console.print(table)
    for item in report["differences"]:
        console.print(
            f"{item['name']} minus {item['minus']}: {item['matcher']} F1 {item['f1']:+.1f} "
            f"[{item['f1_low']:+.1f}, {item['f1_high']:+.1f}] (paired, 95 %)"
        )


def format_cell(value: float | None, digits: int = 1) -> str:
    """Format a figure; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"
