"""`agentkd bench automl`: Agent K without a model against AutoGluon and FLAML, with the same clock, cores and seeds.

Competitions are folders as `agentkd kaggle grade` reads them, or the five of `made`.

Ours is Agent K without a model: set-up from the files, portfolio, blend, submission. `agentkd-local` is the same with
the packaged 135M model as its teacher, and is not ranked. The clock is wall time; for ours it covers everything, for
the peers it is the limit that they are given (`seconds` is the whole time of each). Everybody chooses by
cross-validation on the training rows; the test rows are scored once per row of the table, and every look is logged.
Ranks are by the score on all test rows, and again by that on the private half. The peers run in an environment of their
own, because they pin other versions (`automl_peers`). AutoGluon runs once with each of its best presets, with the whole
clock each time, and its better score on the test rows counts: no choice could do better. A system that fails on a
competition has a row with the error, and the bench goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from agentkd.errors import UserError, did_you_mean, unknown_name
from agentkd.eval.bench.truth.automl_peers import run_peer
from agentkd.eval.bench.truth.made import make_competitions
from agentkd.eval.competition import LOG, grade, read_facts
from agentkd.eval.competition_metrics import METRICS
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.stats import paired_difference

OURS = {"agentkd": "none", "agentkd-local": "local"}  # a system of ours: its teacher
PEERS = ("autogluon", "flaml")
PRESETS = ("best_quality", "best_quality_v150")  # of AutoGluon
RANKED = ("agentkd", *PEERS)


@dataclass(frozen=True)
class Budget:
    """Wall time in seconds, and cores, of each run."""

    seconds: float
    threads: int


def bench_automl(
    data: Path | None, budget: Budget, *, names: str, systems: str, seeds: int, python: str, out: Path
) -> dict[str, Any]:
    """Fill out/automl-SECONDS.json with a row per competition, system and seed, and return the report.

    Rows that are there are not run again, so processes on cores of their own (taskset) may share the work by `names`
    or `systems`. Without `data` the competitions are those of `made`, in out/competitions.

    `python` is the interpreter of the peers' environment. Raises UserError for an unknown system or competition."""
    wanted = systems.split(",")
    if unknown := [name for name in wanted if name not in (*OURS, *PEERS)]:
        raise unknown_name("system", unknown[0], (*OURS, *PEERS))
    if set(wanted) & set(PEERS) and not shutil.which(python):
        raise UserError(
            f"{python} is no interpreter: pip install 'autogluon.tabular[all]' 'flaml[automl]' in an environment of "
            f"their own, and give --python its bin/python"
        )
    competitions = list_competitions(data, names, out)
    (out / "work").mkdir(parents=True, exist_ok=True)
    file = out / f"automl-{budget.seconds:.0f}.json"
    report = read_results(file)
    budget = replace(budget, threads=min(budget.threads, len(os.sched_getaffinity(0))))
    for seed in range(seeds):
        for competition in competitions:
            for system in wanted:
                key = (competition.name, system, seed)
                if key in {(row["competition"], row["system"], row["seed"]) for row in read_results(file)["rows"]}:
                    continue
                row = run_system(competition, system, budget, seed, python, out)
                with FileLock(out / "work" / f"automl-{budget.seconds:.0f}.lock"):
                    report = read_results(file)
                    report["rows"].append(row)
                    report |= {"seconds": budget.seconds, "cores": budget.threads, "date": time.strftime("%Y-%m-%d")}
                    report["mean_rank"] = mean_ranks(report["rows"], "overall")
                    report["mean_rank_private"] = mean_ranks(report["rows"], "private")
                    report["rank_difference"] = rank_differences(report["rows"], "overall")
                    write_atomically(file, json.dumps(report, indent=1) + "\n")
                say(describe_row(row))
    return report


def list_competitions(data: Path | None, names: str, out: Path) -> list[Path]:
    """The folders of the competitions; UserError for one that is none."""
    if data is None:
        return make_competitions(out / "competitions", names=names)
    found = [data / name for name in names.split(",")] if names else sorted(p.parent for p in data.glob("*/private"))
    for path in found:
        if not (path / "competition.json").exists():
            near = did_you_mean(path.name, [each.parent.name for each in data.glob("*/competition.json")])
            raise UserError(f"{path} is no competition{near or ': give --data the folder that holds them'}")
    return found


def read_results(file: Path) -> dict[str, Any]:
    """Read the rows that are there."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"rows": []}
    return found


def run_system(competition: Path, system: str, budget: Budget, seed: int, python: str, out: Path) -> dict[str, Any]:
    """Run one system on one competition, grade its submission, and return the row."""
    name = f"{competition.name}-{system}-{seed}-{budget.seconds:.0f}"
    if system != "autogluon":
        return run_once(competition, system, budget, seed, python, (out / "work" / name).resolve())
    rows = [
        run_once(competition, system, budget, seed, python, (out / "work" / f"{name}-{preset}").resolve(), preset)
        for preset in PRESETS
    ]
    tried = {
        row["preset"]: {key: row.get(key) for key in ("overall", "private", "cv", "seconds", "error")} for row in rows
    }
    return choose_better(rows) | {"presets": tried}


def choose_better(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row with the better score on the test rows."""
    valid = [row for row in rows if row["overall"] is not None]
    if not valid:
        return rows[0]
    lower = any(row["lower_is_better"] for row in valid)
    return min(valid, key=lambda row: row["overall"] if lower else -row["overall"])


def run_once(
    competition: Path, system: str, budget: Budget, seed: int, python: str, folder: Path, preset: str = ""
) -> dict[str, Any]:
    """Run one system in `folder`, and grade its submission; what fails has an error in its row."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before, load_before = os.sched_getaffinity(0), os.getloadavg()[0]
    os.sched_setaffinity(0, sorted(before)[: budget.threads])  # what is started here inherits it
    row = {"competition": competition.name, "system": system, "seed": seed, "cv": None, "model": ""}
    row |= {"preset": preset} if preset else {}
    graded = None
    start = time.monotonic()
    try:
        read_facts(competition)  # a faulty competition is told before the clock runs
        start = time.monotonic()
        if system in OURS:
            row |= run_agentkd(competition, OURS[system], folder, budget, seed)
        else:
            job = {"seconds": budget.seconds, "threads": budget.threads, "seed": seed, "preset": preset}
            row |= run_peer(competition, system, folder, job, python)
        row["seconds"] = round(time.monotonic() - start, 1)
        if (folder / "submission.csv").exists():
            graded = grade(competition, folder / "submission.csv", folder.parent.parent / LOG)
    except Exception as error:  # whatever a system, or a competition, does wrong
        row["error"] = f"{type(error).__name__}: {error}"[:300]
    finally:
        os.sched_setaffinity(0, before)
    row |= {"seconds": row.get("seconds", round(time.monotonic() - start, 1)), "load": round(load_before, 1)}
    if graded is None:
        row |= {"valid": False, "private": None, "overall": None}
    else:
        kept = ("valid", "invalid", "metric", "public", "private", "overall", "percentile", "medal", "above_median")
        row |= {name: getattr(graded, name) for name in kept}
        row["lower_is_better"] = graded.metric in METRICS and METRICS[graded.metric].lower_is_better
    shutil.rmtree(folder / "model", ignore_errors=True)
    return row


def run_agentkd(competition: Path, teacher: str, folder: Path, budget: Budget, seed: int) -> dict[str, Any]:
    """Run Agent K and copy its submission."""
    from agentkd.agents.agent_k.run import run
    from agentkd.config import KaggleConfig

    config = KaggleConfig(
        competition=str(competition),
        teacher=teacher,
        submit="never",
        max_hours=budget.seconds / 3600,
        threads=budget.threads,
        seed=seed,
        experience=False,  # each row stands for itself
        out=str(folder / "run"),
    )
    found = run(config)
    shutil.copy(folder / "run" / "submission.csv", folder / "submission.csv")
    scores = {name: round(item["score"], 6) for name, item in found["candidates"].items() if "score" in item}
    told = {} if teacher == "none" else {"calls": found["calls"], "tokens": found["tokens"]}
    return {"cv": found["score"], "model": f"{found['best']} of {len(scores)}", "scores": scores} | told


def rank_systems(rows: list[dict[str, Any]], by: str) -> dict[str, dict[tuple[str, int], float]]:
    """Rank the RANKED systems by a score (`overall`: all test rows, `private`: that half).

    Ranks are by (competition, seed) for which all of them have a row; ties share a rank, a row without a valid score is
    last.
    """
    systems = [name for name in RANKED if any(row["system"] == name for row in rows)]
    found: dict[str, dict[tuple[str, int], float]] = {system: {} for system in systems}
    rows = [row for row in rows if row["system"] in systems]
    for key in sorted({(row["competition"], row["seed"]) for row in rows}):
        here = {row["system"]: row for row in rows if (row["competition"], row["seed"]) == key}
        if len(here) < len(systems):
            continue
        metric = next((METRICS[row["metric"]] for row in here.values() if row.get("metric")), None)
        sign = 1.0 if metric is not None and metric.lower_is_better else -1.0
        values = {s: np.inf if row[by] is None else sign * row[by] for s, row in here.items()}
        for system in systems:
            less = sum(v < values[system] for v in values.values())
            same = sum(v == values[system] for v in values.values())
            found[system][key] = less + (same + 1) / 2
    return found


def mean_ranks(rows: list[dict[str, Any]], by: str) -> dict[str, float]:
    """Return the mean rank of each system."""
    return {
        name: round(float(np.mean(list(each.values()))), 3) for name, each in rank_systems(rows, by).items() if each
    }


def rank_differences(rows: list[dict[str, Any]], by: str) -> dict[str, list[float]]:
    """Return agentkd's rank minus each peer's: mean and 95 % interval over the competitions, seeds averaged."""
    found = rank_systems(rows, by)
    mine = found.pop(RANKED[0], {})
    names = sorted({name for name, _ in mine})

    def by_competition(each: dict[tuple[str, int], float]) -> list[float]:
        return [float(np.mean([rank for (one, _), rank in each.items() if one == name])) for name in names]

    pairs = {
        peer: paired_difference(by_competition(mine), by_competition(each)) for peer, each in found.items() if mine
    }
    return {peer: [round(value, 3) for value in three] for peer, three in pairs.items()}


def describe_row(row: dict[str, Any]) -> str:
    """Describe a row for the terminal."""
    if row["overall"] is None:
        return f"{row['competition']} {row['system']} seed {row['seed']}: {row.get('error') or row.get('invalid')}"
    place = "" if row["percentile"] is None else f", percentile {row['percentile']:.1f}, {row['medal'] or 'no medal'}"
    cv = "" if row["cv"] is None else f" (cv {row['cv']:.5f})"
    preset = f" {row['preset']}" if row.get("preset") else ""
    return (
        f"{row['competition']} {row['system']}{preset} seed {row['seed']}: {row['metric']} {row['overall']:.5f}"
        f"{cv}{place}, {row['seconds']:.0f} s"
    )


def print_automl(report: dict[str, Any]) -> None:
    """Print all rows, then the mean ranks."""
    for row in report["rows"]:
        say(describe_row(row))
    for system in RANKED:
        over = [row["seconds"] / report["seconds"] - 1 for row in report["rows"] if row["system"] == system]
        if over:
            say(f"{system}: at most {max(0.0, *over, 0.0):.0%} over the clock of {report['seconds']:.0f} s")
    for system, rank in sorted(report.get("mean_rank", {}).items(), key=lambda item: item[1]):
        say(f"mean rank {rank:.2f}: {system} (clock {report['seconds']:.0f} s, {report['cores']} cores)")
