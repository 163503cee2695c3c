"""The figures of a run of questions, counted from its shards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from agentkd.runs.read import read_failures, read_traces
from agentkd.trace import Usage

RATIONALISED_SAMPLE = 1_000_000  # the sample number of traces hinted by gold: beyond any --samples
SECOND_CHOICE_SAMPLE = 2_000_000  # that of second choices


def summarise_run(path: Path, ids: set[str], samples: int) -> dict[str, Any]:
    """Count a run's traces, rungs, failures and cost, over the questions and samples asked for."""
    found = [trace for trace in read_traces(path) if trace.id in ids]
    traces = [trace for trace in found if trace.sample < samples]
    usage = Usage.total(trace.usage for trace in traces)
    verified = [trace for trace in traces if trace.verified]
    count = len(traces) or 1
    return {
        "questions": len(ids),
        "traces": len(traces),
        "verified": len(verified),
        "questions_with_verified": len({trace.id for trace in verified}),
        "rationalised": sum(trace.verified for trace in found if trace.sample == RATIONALISED_SAMPLE),
        "second_choices": sum(trace.verified for trace in found if trace.sample == SECOND_CHOICE_SAMPLE),
        "rungs": dict(Counter(trace.verdict.rung for trace in traces)),
        "failures": sum(1 for row in read_failures(path) if row["id"] in ids and not row["retry"]),
        "calls": usage.calls / count,
        "tokens": usage.tokens / count,
        "model_seconds": usage.seconds / count,
        "total_tokens": usage.tokens,
    }


def verified_ids(path: Path) -> set[str]:
    """The questions that have a verified trace in a run."""
    return {trace.id for trace in read_traces(path) if trace.verified}
