"""The check of a whole run: its groups, how many traces are doubtful, and which other paths fit their questions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.doubts.checks import Checks, Proven, is_checked
from agentkd.doubts.groups import Group, doubtful_traces, find_groups
from agentkd.proof import Derivation
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.relation_path import RelationPath
from agentkd.runs.read import read_traces
from agentkd.trace import Trace

SHOWN = 12  # groups on a terminal
FITS = "fits"  # the rung above `complete`, for traces without gold
Survey = Callable[[Trace], Sequence[Derivation]]


class RunCheck:
    """The traces of some questions of a run, with their groups."""

    def __init__(self, run: Path, kb: Graph, ids: set[str]) -> None:
        self.traces = [trace for trace in read_traces(run) if trace.id in ids]
        self.proven = [Proven(trace, kb) for trace in self.traces if trace.verified]
        self.checks = Checks(self.proven, kb)
        self.groups = find_groups(self.proven, self.checks)
        self.doubtful = doubtful_traces(self.groups)

    def second_choices(self, survey: Survey) -> dict[str, RelationPath]:
        """The paths to follow instead, by question id, for questions of which every proven trace is doubtful.

        `survey` gives the derivations that a trace's survey shows. The questions of a group get one path, that which
        fits most of them."""
        sure = {item.trace.id for item in self.proven if (item.trace.id, item.trace.sample) not in self.doubtful}
        items = {(item.trace.id, item.trace.sample): item for item in self.proven}
        found: dict[str, RelationPath] = {}
        for group in self.groups:
            some = [items[key] for key in group.traces if group.doubt and key[0] not in sure]
            chosen: dict[RelationPath, list[str]] = defaultdict(list)
            for item in some:
                if (path := self.checks.choose_again(item, survey(item.trace))) is not None:
                    chosen[path].append(item.trace.id)
            if chosen:
                path = max(chosen, key=lambda path: len(chosen[path]))
                found |= {name: path for name in chosen[path] if name not in found}
        return found

    def count(self, samples: int) -> dict[str, Any]:
        """The figures for the run's metrics, over the samples that were asked for.

        `unchecked` are proven traces without gold, `doubtful` those among them whose answers may not be what was asked.
        `rungs` counts every trace at its highest rung: one without gold that is not doubted passes FITS."""
        traces = [trace for trace in self.traces if trace.sample < samples]
        unchecked = [trace for trace in traces if trace.verified and not is_checked(trace)]
        doubtful = {trace.hash for trace in unchecked if (trace.id, trace.sample) in self.doubtful}
        fits = {trace.hash for trace in unchecked if trace.verdict.rung == "complete"} - doubtful
        rungs = Counter(
            FITS if trace.hash in fits else "complete" if trace.hash in doubtful else trace.verdict.rung
            for trace in traces
        )
        return {"unchecked": len(unchecked), "doubtful": len(doubtful), "rungs": dict(rungs)}


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
