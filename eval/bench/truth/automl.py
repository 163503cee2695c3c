"""`agentkd bench automl`: Agent K without a model against AutoGluon and FLAML, with the same clock, cores and seeds.

Ours is Agent K without a model: set-up from the files, portfolio, blend, submission. `agentkd-local` is the same with
the packaged 135M model as its teacher, and is not ranked. The clock is wall time; for ours it covers everything, for
the peers it is the limit that they are given (`seconds` is the whole time of each). Everybody chooses by
cross-validation on the training rows; the test rows are scored once per row of the table, and every look is logged.
Ranks are by the score on all test rows, and again by that on the private half. The peers run in an environment of their
own, because they pin other versions.

The peers get the table as it is. Images are one column per pixel, a text is one column (AutoGluon makes n-grams of it,
FLAML a category). Where the metric is RMSLE, which they lack, the target is its logarithm.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from agentkd.agents.agent_k.competition.source import local_source
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workspace.arrays import CompetitionData, load_data
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.errors import UserError
from agentkd.eval.competition import LOG, grade
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.stats import paired_difference

OURS = {"agentkd": "none", "agentkd-local": "local"}  # a system of ours: its teacher
PEERS = ("autogluon", "flaml")
RANKED = ("agentkd", *PEERS)
LATE = 3.0  # times the clock: a peer that takes longer is stopped, and has no score
LOGARITHMIC = ("rmsle", "msle")


@dataclass(frozen=True)
class Budget:
    """Wall time in seconds, and cores, of each run."""

    seconds: float
    threads: int


def bench_automl(
    data: Path, budget: Budget, *, names: str, systems: str, seeds: int, python: str, out: Path
) -> dict[str, Any]:
    """Fill out/automl-SECONDS.json with a row per competition, system and seed, and return the report.

    Rows that are there are not run again, so processes on cores of their own (taskset) may share the work by `names`
    or `systems`.

    `python` is the interpreter of the peers' environment. Raises UserError for an unknown system or competition."""
    competitions = (
        [data / name for name in names.split(",")] if names else sorted(p.parent for p in data.glob("*/private"))
    )
    wanted = systems.split(",")
    for path in competitions:
        if not (path / "competition.json").exists():
            raise UserError(f"{path} is no competition: give --data the folder that holds them")
    if unknown := [name for name in wanted if name not in (*OURS, *PEERS)]:
        raise UserError(f"unknown system '{unknown[0]}': the systems are {', '.join((*OURS, *PEERS))}")
    if set(wanted) & set(PEERS) and not shutil.which(python):
        raise UserError(
            f"{python} is no interpreter: pip install 'autogluon.tabular[lightgbm,catboost]' 'flaml[automl]' in an "
            f"environment of their own, and give --python its bin/python"
        )
    out.mkdir(parents=True, exist_ok=True)
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


def read_results(file: Path) -> dict[str, Any]:
    """Read the rows that are there."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"rows": []}
    return found


def run_system(competition: Path, system: str, budget: Budget, seed: int, python: str, out: Path) -> dict[str, Any]:
    """Run one system on one competition, grade its submission, and return the row."""
    folder = (out / "work" / f"{competition.name}-{system}-{seed}-{budget.seconds:.0f}").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before, load_before = os.sched_getaffinity(0), os.getloadavg()[0]
    os.sched_setaffinity(0, sorted(before)[: budget.threads])  # what is started here inherits it
    start = time.monotonic()
    try:
        found = (
            run_agentkd(competition, OURS[system], folder, budget, seed)
            if system in OURS
            else run_peer(competition, system, folder, budget, seed, python)
        )
    finally:
        os.sched_setaffinity(0, before)
    took = round(time.monotonic() - start, 1)
    row = {"competition": competition.name, "system": system, "seed": seed, **found, "seconds": took}
    row |= {"load": round(load_before, 1)}
    file = folder / "submission.csv"
    if file.exists():
        graded = grade(competition, file, out / LOG)
        row |= {"valid": graded.valid, "invalid": graded.invalid, "metric": graded.metric, "public": graded.public}
        row |= {
            "private": graded.private,
            "overall": graded.overall,
            "percentile": graded.percentile,
            "medal": graded.medal,
            "above_median": graded.above_median,
        }
    else:
        row |= {"valid": False, "private": None, "overall": None}
    shutil.rmtree(folder / "model", ignore_errors=True)
    return row


def prepare_workspace(competition: Path, workspace: Path) -> CompetitionData:
    """Set up a workspace without a model, as the agent does, with the inputs that a peer's table is made of."""
    source = local_source(competition)
    setup = guess_setup(source.data, source.text, source.metric, {}).setup
    write_maps(setup, source.data, workspace)
    (workspace / "data").symlink_to(source.data)
    return load_data(workspace)


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


def run_peer(competition: Path, system: str, folder: Path, budget: Budget, seed: int, python: str) -> dict[str, Any]:
    """Run a peer's script in its own environment, and write its submission."""
    data = prepare_workspace(competition, folder)
    setup = data.setup
    job = write_table(data, folder) | {"seconds": budget.seconds, "threads": budget.threads, "seed": seed}
    script = Path(__file__).parent / "peers" / f"fit_{system}.py"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": str(budget.threads)}
    try:
        argv = [os.path.abspath(shutil.which(python) or python), str(script)]
        done = subprocess.run(argv, input=json.dumps(job), capture_output=True, text=True, check=False, cwd=folder,
                              env=environment, timeout=LATE * budget.seconds + 60)  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"cv": None, "model": "", "error": f"not done after {LATE * budget.seconds + 60:.0f} s"}
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    if done.returncode:
        return {"cv": None, "model": "", "error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    predictions = read_predictions(data, Path(job["out"]))
    write_submission(predictions, setup, competition / "public", folder / "submission.csv", None)
    return found


def write_table(data: CompetitionData, folder: Path) -> dict[str, Any]:
    """Write train.csv with the target and test.csv without it, and return the peers' job without clock and seed."""
    setup = data.setup
    frame = pd.concat([data.inputs("tab"), data.inputs("txt")], axis=1)
    if setup.img:
        from agentkd.agents.agent_k.solvers.image import load_images

        pixels = load_images(data)
        flat = pixels.reshape(len(pixels), -1)
        frame = frame.join(pd.DataFrame(flat, columns=[f"pixel{i}" for i in range(flat.shape[1])]))
    train, test = frame.iloc[: data.n_train].copy(), frame.iloc[data.n_train :]
    target = "target__"
    if setup.task == "regression":
        y = data.y[:, 0]
        train[target] = np.log1p(y) if setup.metric in LOGARITHMIC else y
    else:
        train[target] = np.array(setup.classes, dtype=object)[data.y]
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    return {
        "train": str(folder / "train.csv"),
        "test": str(folder / "test.csv"),
        "target": target,
        "task": setup.task,
        "metric": "rmse" if setup.metric in LOGARITHMIC else setup.metric,
        "folder": str(folder / "model"),
        "out": str(folder / "predictions.csv"),
    }


def read_predictions(data: CompetitionData, file: Path) -> pd.DataFrame:
    """Read a peer's predictions as a prediction file."""
    found = pd.read_csv(file)
    out = pd.DataFrame({"id": data.test_ids})
    if data.setup.task == "regression":
        value = found["value"].to_numpy()
        out[data.setup.targets[0]] = np.expm1(value) if data.setup.metric in LOGARITHMIC else value
        return out
    found.columns = found.columns.astype(str)
    for name in data.setup.classes:
        out[name] = found[name].to_numpy()
    return out


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
    place = "" if row["percentile"] is None else f", percentile {row['percentile']:.1f}"
    return (
        f"{row['competition']} {row['system']} seed {row['seed']}: {row['metric']} {row['overall']:.5f} "
        f"(cv {row['cv']:.5f}){place}, {row['medal'] or 'no medal'}, {row['seconds']:.0f} s"
    )


def print_automl(report: dict[str, Any]) -> None:
    """Print all rows, then the mean ranks."""
    for row in report["rows"]:
        say(describe_row(row))
    for system, rank in sorted(report.get("mean_rank", {}).items(), key=lambda item: item[1]):
        say(f"mean rank {rank:.2f}: {system} (clock {report['seconds']:.0f} s, {report['cores']} cores)")
