"""An experiment as a frozen record, and its report: rows of arms, comparisons, a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from agentkd.reproduce.verdict import judge

SEEDS, QUICK_SEEDS = 5, 2


@dataclass(frozen=True)
class Comparison:
    """A paired difference over seeds: `arm` minus `control` in one metric. It is claimed to be positive if `higher`,
    else negative; with `within`, to be no larger than that."""

    arm: str
    control: str
    metric: str
    higher: bool = True
    within: float | None = None


@dataclass(frozen=True)
class Curve:
    """Metrics that are one measure at several places: names of the axes, and x by metric."""

    x: str
    y: str
    points: Mapping[str, float]


@dataclass(frozen=True)
class Experiment:
    """What a paper claims, and where it is tried. `headline` decides the verdict, `beside` stand in the same report.
    `module` is relative to `agentkd.reproduce`. A module with several beds is an experiment for each, `on` one of them;
    `only` are the arms that are run there, else all."""

    module: str
    title: str
    paper: str
    claim: str
    bed: str
    headline: Comparison
    beside: tuple[Comparison, ...] = ()
    on: str | None = None
    only: tuple[str, ...] = ()
    curve: Curve | None = None

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The headline, then the others."""
        return (self.headline, *self.beside)


@dataclass(frozen=True)
class Row:
    """The metrics of one arm trained with one seed, and the seconds it took, by the clock and of a processor core."""

    arm: str
    seed: int
    metrics: Mapping[str, float]
    seconds: float
    cpu_seconds: float


def report(name: str, experiment: Experiment, arms: Iterable[str], rows: Iterable[Row]) -> dict[str, Any]:
    """Return `{method, claim, rows: [{arm, metric, mean, sd, seeds}], seconds, cpu_seconds, verdict}`, with all
    comparisons.

    Rows are in the order of `arms`. `values` of a row are by seed, `sd` is that of a sample (n - 1), None for one
    seed. `seconds` and `cpu_seconds` are sums over the rows, by the clock and of processor cores."""
    by_arm: dict[str, list[Row]] = {arm: [] for arm in arms}
    for row in sorted(rows, key=lambda row: row.seed):
        by_arm[row.arm].append(row)
    comparisons = [_compare(comparison, by_arm) for comparison in experiment.comparisons]
    return {
        "method": name,
        "title": experiment.title,
        "paper": experiment.paper,
        "claim": experiment.claim,
        "bed": experiment.bed,
        "curve": asdict(experiment.curve) if experiment.curve else None,
        "rows": [_summarise(arm, metric, found) for arm, found in by_arm.items() for metric in _metrics(found)],
        "comparisons": comparisons,
        **{
            unit: round(sum(getattr(row, unit) for found in by_arm.values() for row in found), 1)
            for unit in ("seconds", "cpu_seconds")
        },
        "verdict": comparisons[0]["verdict"],
    }


def _metrics(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(metric for row in rows for metric in row.metrics))


def _summarise(arm: str, metric: str, rows: list[Row]) -> dict[str, Any]:
    values = {row.seed: row.metrics[metric] for row in rows if metric in row.metrics}
    return {
        "arm": arm,
        "metric": metric,
        "mean": fmean(values.values()),
        "sd": stdev(values.values()) if len(values) > 1 else None,
        "seeds": list(values),
        "values": list(values.values()),
    }


def _compare(comparison: Comparison, by_arm: Mapping[str, list[Row]]) -> dict[str, Any]:
    arm, control = ({row.seed: row for row in by_arm[name]} for name in (comparison.arm, comparison.control))
    sign = 1.0 if comparison.higher else -1.0
    pairs = [(arm[seed].metrics, control[seed].metrics) for seed in sorted(arm.keys() & control.keys())]
    found = judge([sign * (a[comparison.metric] - b[comparison.metric]) for a, b in pairs], comparison.within)
    low, high = sorted((sign * found.low, sign * found.high))
    return {
        "arm": comparison.arm,
        "control": comparison.control,
        "metric": comparison.metric,
        "higher": comparison.higher,
        "within": comparison.within,
        "difference": sign * found.mean,
        "low": low,
        "high": high,
        "pairs": len(pairs),
        "verdict": found.verdict,
    }
