"""Page of a Kaggle run: stages and their tests, candidates, submissions, and the whole trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from agentkd.report.page import NOTHING, describe_steps, format_number, list_settings, render
from agentkd.trace import Step, Trace, Usage


def render_competition(config: Mapping[str, Any], metrics: Mapping[str, Any], trace: Trace) -> str:
    """Render a Kaggle run; `metrics` are those of `agentkd.agents.agent_k.stages.finish.run_metrics`."""
    way = "lower is better" if metrics["lower_is_better"] else "higher is better"
    sent = metrics["submissions"]
    public = next((one["public"] for one in reversed(sent) if one["public"] is not None), None)
    usage: Usage = trace.usage
    return render(
        kind="kaggle",
        title=metrics["title"],
        lead=f"{metrics['task']} · {metrics['metric']}, {way} · teacher {config['teacher']} · "
        f"sandbox {metrics['sandbox']} · seed {config['seed']}",
        facts=[
            (f"{metrics['metric']} by cross-validation", format_number(metrics["score"], 5), metrics["best"]),
            ("public score", format_number(public, 5), f"{len(sent)} submitted" if sent else "nothing was submitted"),
            ("candidates", format_number(len(metrics["candidates"])), f"{count_failed(metrics)} failed"),
            (
                "seconds",
                format_number(metrics["seconds"]),
                f"{format_number(metrics['model_seconds'])} of them the model's",
            ),
            ("tokens", format_number(usage.tokens), f"{usage.calls} calls"),
        ],
        said=metrics.get("said", []),
        stages=summarise_stages(trace.steps, metrics["accepted"], metrics["sent_back"]),
        candidates=sort_candidates(metrics),
        blend=metrics["blend"],
        winner=describe_winner(metrics),
        profile=metrics.get("profile", {}),
        importance=scale_importance(metrics.get("importance", {})),
        quality=metrics.get("quality", {}),
        spread=describe_spread(metrics.get("quality", {}).get("folds", [])),
        out=config.get("out"),
        submissions=sent,
        silent=metrics["silent"],
        moves=describe_steps(trace.steps),
        config=list_settings(config),
    )


def describe_spread(folds: Sequence[float | None]) -> str:
    """The scores of the folds, their mean and standard deviation."""
    known = [score for score in folds if score is not None]
    if len(known) < 2:
        return ""
    each = ", ".join(f"{score:.5f}" for score in known)
    return f"{each}; mean {fmean(known):.5f}, standard deviation {stdev(known):.5f}"


def describe_winner(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The candidates of the best solution with their shares in it, the largest first; a stack has no shares."""
    candidates, blend = metrics["candidates"], metrics["blend"]
    if metrics["best"] != "blend":
        shares: Mapping[str, float | None] = {metrics["best"]: 1.0}
    elif blend.get("weights"):
        shares = blend["weights"]
    else:
        shares = dict.fromkeys(
            name
            for name, item in candidates.items()
            if "error" not in item and item.get("kind") not in ("constant", "blend")
        )
    found = [{"name": name, "share": share, **candidates.get(name, {})} for name, share in shares.items()]
    return sorted(found, key=lambda item: -(item["share"] or 0.0))


def scale_importance(importance: Mapping[str, Any]) -> dict[str, Any]:
    """The importances with the length of a bar for each, in percent of the largest."""
    columns = importance.get("columns", [])
    most = max([item["loss"] for item in columns], default=0.0)
    bars = [item | {"share": max(0.0, 100 * item["loss"] / most) if most > 0 else 0.0} for item in columns]
    return {**importance, "columns": bars}


def spread_of(folds: Sequence[float | None]) -> float | None:
    """The standard deviation of the folds' scores."""
    known = [score for score in folds if score is not None]
    return stdev(known) if len(known) > 1 else None


def count_failed(metrics: Mapping[str, Any]) -> int:
    """Count the candidates that failed."""
    return sum("error" in item for item in metrics["candidates"].values())


def summarise_stages(
    steps: Sequence[Step], accepted: Mapping[str, str], sent_back: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return each stage with its passed and failed tests, the author of what was accepted, and the last reason."""
    rows: dict[str, dict[str, Any]] = {}
    for step in steps:
        name = step.kind.partition(".")[0]
        row = rows.setdefault(name, {"name": name, "asked": 0, "passed": 0, "failed": 0, "told": ""})
        row["asked"] += bool(step.messages)
        if step.verdict is not None:
            row["passed" if step.verdict.ok else "failed"] += 1
            row["told"] = step.verdict.reason or row["told"]
    for name, row in rows.items():
        row |= {"author": accepted.get(name, NOTHING), "sent_back": sent_back.get(name, 0)}
    return list(rows.values())


def sort_candidates(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the candidates with their weights in the blend, best first, failed ones last."""
    weights = metrics["blend"].get("weights", {})
    sign = 1 if metrics["lower_is_better"] else -1
    items = [
        {"name": name, "weight": weights.get(name), "spread": spread_of(item.get("folds", [])), **item}
        for name, item in metrics["candidates"].items()
    ]
    return sorted(items, key=lambda item: (("error" in item), sign * item.get("score", 0.0)))
