"""Print the table of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from agentkd.runs.terminal import Terminal

COLUMNS = ("hit", "hits1", "precision", "recall", "f1", "em", "faithful")
CEILINGS = ("best_shown", "best_wide")
CEILING_NOTE = (
    "the ceiling, F1 of the best single path of those that the system was shown, or that retrieval ranks first"
)
PROOF_NOTE = "share of the facts of the gold proofs that the evidence holds"
FEW = 5  # questions: smaller kinds share one line


def print_evaluation(report: dict[str, Any]) -> None:
    """Print rows and paired differences; scores in percent, calls, tokens and seconds per question."""
    console = Terminal()
    title = f"{report['task'] or 'predictions'} {report.get('split') or ''} · {report['n']} questions"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("system", overflow="fold", min_width=16)
    table.add_column("matcher")
    for name in ("Hit", "Hits@1", "P", "R", "F1 [95 %]", "EM", "faithful", "calls", "tokens", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    ceilings = [key for key in CEILINGS if any(row.get(key) is not None for row in report["rows"])]
    for key in ceilings:
        table.add_column(name_ceiling(key, report), justify="right", no_wrap=True)
    proofs = any(row.get("proof") is not None for row in report["rows"])
    if proofs:
        table.add_column("proof", justify="right", no_wrap=True)
    told = any(row.get("read_by") for row in report["rows"])
    if told:
        table.add_column("read by", no_wrap=True)
    for row in fold_matchers(report["rows"]):
        cells = [format_cell(row[name]) for name in COLUMNS]
        cells[4] += f" [{row['f1_low']:.1f}, {row['f1_high']:.1f}]"
        table.add_row(
            row["name"],
            row["matcher"],
            *cells,
            format_cell(row["calls"]),
            format_cell(row["tokens"], 0),
            format_cell(row["seconds"], 2),
            *(format_cell(row.get(key)) for key in ceilings),
            *([format_cell(row.get("proof"))] if proofs else []),
            *([row["read_by"]] if told else []),
        )
    widen(console, table)
    console.print(table)
    if ceilings:
        console.print(f"{' and '.join(name_ceiling(key, report) for key in ceilings)}: {CEILING_NOTE}")
    if proofs:
        console.print(f"proof: {PROOF_NOTE} ({max(row.get('with_proof') or 0 for row in report['rows'])} questions)")
    for row in report["rows"]:
        if row["matcher"] == report["rows"][0]["matcher"] and row.get("in_kb") is not None:
            console.print(
                f"{row['name']}: {format_cell(row['in_kb'])} % of the paths that it wrote are in the knowledge base"
            )
    if report.get("groups"):
        print_kinds(console, report["groups"])
    for item in report["differences"]:
        console.print(f"{format_difference(item)}: {judge_difference(item)}")
    for item in report.get("below_untrained", []):
        console.print(
            f"warning: {item['name']} is below the untrained model. {format_difference(item)}. "
            f"It may have learned wrong answers: see its card, and `agentkd review` of its traces",
            style="bold",
        )


def widen(console: Terminal, table: Table) -> None:
    """Make room for all columns, which rich would cut off: a narrow terminal wraps the lines, a file has no width."""
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=1000)).maximum)


def name_ceiling(key: str, report: Mapping[str, Any]) -> str:
    """The heading of a column of ceilings."""
    return "best shown" if key == "best_shown" else f"best of {report.get('ceiling') or 'many'}"


def print_kinds(console: Terminal, groups: Sequence[Mapping[str, Any]]) -> None:
    """Print the scores by kind of question; kinds of fewer than FEW questions are counted in one line."""
    large = [row for row in groups if row["n"] >= FEW]
    kinds = {row["group"]: row["n"] for row in groups if row["n"] < FEW}
    if large:
        table = Table(title=f"by kind of question, {groups[0]['matcher']}", title_justify="left", box=None)
        names = ["system", "kind", "n", "Hit", "F1 [95 %]"]
        names += ["best shown"] if any(row.get("best_shown") is not None for row in large) else []
        for name in names:
            table.add_column(name, justify="left" if name in ("system", "kind") else "right", no_wrap=name != "system")
        for row in large:
            f1 = f"{format_cell(row['f1'])} [{row['f1_low']:.1f}, {row['f1_high']:.1f}]"
            cells = [row["name"], row["group"], str(row["n"]), format_cell(row["hit"]), f1]
            table.add_row(*cells, *([format_cell(row.get("best_shown"))] if len(names) > len(cells) else []))
        widen(console, table)
        console.print(table)
    if kinds:
        console.print(f"{len(kinds)} kinds have fewer than {FEW} questions, {sum(kinds.values())} in all: metrics.json")


def fold_matchers(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join the rows of matchers that give a system the same scores."""
    found: list[dict[str, Any]] = []
    for row in rows:
        same = [one for one in found if {**one, "matcher": ""} == {**row, "matcher": ""}]
        if same:
            same[0]["matcher"] += f", {row['matcher']}"
        else:
            found.append(dict(row))
    return found


def format_difference(item: Mapping[str, Any]) -> str:
    """A paired difference of F1 with its interval."""
    return (
        f"{item['name']} minus {item['minus']}: {item['matcher']} F1 {item['f1']:+.1f} "
        f"[{item['f1_low']:+.1f}, {item['f1_high']:+.1f}] (paired, 95 %)"
    )


def judge_difference(item: Mapping[str, Any]) -> str:
    """Say which of the two is better, as far as the interval tells."""
    if item["f1_low"] <= 0 <= item["f1_high"]:
        return "these questions do not tell which is better"
    return f"{item['name'] if item['f1'] > 0 else item['minus']} is better"


def format_cell(value: float | None, digits: int = 1) -> str:
    """Format a figure; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"
