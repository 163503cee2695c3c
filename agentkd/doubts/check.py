"""The check of a whole run: its groups, how many traces are doubtful, and what a person has said about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkd.doubts.groups import Group, doubtful_traces, find_groups, is_checked, write_groups
from agentkd.retrievers.graph import Graph
from agentkd.runs.read import read_traces

SHOWN = 12  # groups on a terminal
FITS = "fits"  # the rung above `complete`, for traces without gold


def check_run(run: Path, kb: Graph, ids: set[str], samples: int) -> dict[str, Any]:
    """Group the proven traces of a run's questions, write the groups, and return the figures for its metrics.

    `unchecked` are proven traces without gold, `doubtful` those among them whose answers may not be what was asked.
    `rungs` counts every trace at its highest rung: one without gold that is not doubted passes FITS."""
    traces = [trace for trace in read_traces(run) if trace.id in ids]
    groups = find_groups(traces, kb)
    write_groups(run, groups)
    doubtful = doubtful_traces(groups)
    rungs: Counter[str] = Counter()
    for trace in (trace for trace in traces if trace.sample < samples):
        rung = trace.verdict.rung
        if trace.verified and not is_checked(trace):
            rung = "complete" if (trace.id, trace.sample) in doubtful else FITS if rung == "complete" else rung
        rungs[rung] += 1
    unchecked = sum(trace.verified and not is_checked(trace) for trace in traces if trace.sample < samples)
    return {"unchecked": unchecked, "doubtful": len(doubtful), "rungs": dict(rungs)}


def describe_proven(metrics: Mapping[str, Any]) -> str:
    """Say how many traces are proven, and whether anybody knows that they are right."""
    unchecked = metrics.get("unchecked", 0)
    if not unchecked:
        return f"{metrics['verified']} verified"
    gold = metrics["verified"] - unchecked
    proven = f"{unchecked} proven, not checked against answers"
    return f"{gold} verified, {proven}" if gold else proven


def describe_groups(groups: list[Group], count: int) -> list[str]:
    """The largest groups in a line each, the doubtful ones first, with an example and the doubt."""
    lines = []
    for group in groups[:count]:
        lines.append(f"{len(group.traces):5d}  {group.path}: {group.example}")
        if group.doubt:
            lines.append(f"       doubtful: {group.doubt}")
    if len(groups) > count:
        lines.append(f"       and {len(groups) - count} smaller groups (report.html)")
    return lines
