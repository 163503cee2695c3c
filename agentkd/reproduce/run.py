"""Runs an experiment: one row per (arm, seed), written when it is finished; the same command goes on where it stopped.

Rows are trained in processes of one thread each. A process works through the arms of a seed, so that its arms share the
teacher that the experiment's module keeps in memory.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.config import ReproduceConfig
from agentkd.errors import AgentkdError, UserError, WorldError, unknown_name
from agentkd.reproduce import EXPERIMENTS
from agentkd.reproduce.code import read_code
from agentkd.reproduce.experiment import QUICK_SEEDS, SEEDS, Experiment, Row, report
from agentkd.reproduce.page import FILE, write_page
from agentkd.reproduce.plots import draw_plots
from agentkd.runs.children import follow_parent
from agentkd.runs.progress import Progress, say
from agentkd.runs.shard import Shard, read_records, repair_shard
from agentkd.runs.store import RunDirectory
from agentkd.trace import Usage

ROWS = "rows-0.jsonl"


def run_experiment(name: str, config: ReproduceConfig) -> dict[str, Any]:
    """Finish the rows of an experiment in `config.out` and return its report.

    Raises UserError for an unknown name and for a directory of other settings, WorldError where training fails."""
    if name not in EXPERIMENTS:
        raise unknown_name("experiment", name, [*EXPERIMENTS, "all"])
    path = Path(config.out or default_out(name, quick=config.quick))
    count = config.seeds or (QUICK_SEEDS if config.quick else SEEDS)
    seeds = range(config.seed, config.seed + count)
    experiment = EXPERIMENTS[name]
    arms, code = read_code(f"agentkd.reproduce.{experiment.module}")
    arms = {arm: arms[arm] for arm in experiment.only or arms}
    identity = {"experiment": name, "hash_code": code}
    with RunDirectory(path, "reproduce", config, identity) as directory:
        rows = _read_rows(path / ROWS)
        missing = {seed: [arm for arm in arms if (arm, seed) not in rows] for seed in seeds}
        total = sum(map(len, missing.values()))
        if total:
            done = f"; {len(arms) * count - total} are there already" if len(arms) * count > total else ""
            say(f"{name}: {len(arms)} arms, seeds {seeds[0]} to {seeds[-1]}, in {path}{done}")
            (path / "manifest.json").unlink(missing_ok=True)
            _fill(path / ROWS, name, missing, rows, config)
        found = report(name, experiment, arms, [row for row in rows.values() if row.seed in seeds])
        found |= {"quick": config.quick, "arms": dict(arms), "out": str(path), "date": time.strftime("%Y-%m-%d")}
        if total or not (path / "manifest.json").exists():
            draw_plots(found, path)
            write_page({name: found}, path / FILE, quick=config.quick)
            directory.finish(found)
    return found


def default_out(name: str, *, quick: bool) -> str:
    """Where an experiment is written unless --out says otherwise."""
    return f"runs/reproduce/{name}{'-quick' if quick else ''}"


def _read_rows(path: Path) -> dict[tuple[str, int], Row]:
    """The finished rows; torn lines are moved aside, as their rows are made again."""
    if not path.exists():
        return {}
    if torn := repair_shard(path, once=True).torn:
        say(f"{path}: {torn} torn lines were moved to {path.name}.torn; their rows are made again")
    found = [
        Row(row["id"], row["sample"], row["metrics"], row["seconds"], row["cpu_seconds"])
        for row in read_records(path)
        if "cpu_seconds" in row  # a row without is made again
    ]
    return {(row.arm, row.seed): row for row in found}


def _fill(
    path: Path,
    name: str,
    missing: Mapping[int, Sequence[str]],
    rows: dict[tuple[str, int], Row],
    config: ReproduceConfig,
) -> None:
    lanes = max(1, min(config.concurrency or len(os.sched_getaffinity(0)), sum(map(bool, missing.values()))))
    shard = Shard(path)
    try:
        with Progress(f"{name}: rows", sum(map(len, missing.values())), unit="") as progress:
            for row in _train(EXPERIMENTS[name], missing, lanes, quick=config.quick):
                if not all(map(math.isfinite, row.metrics.values())):
                    raise WorldError(f"{name}, arm {row.arm}, seed {row.seed} diverged: {dict(row.metrics)}")
                line = {
                    "id": row.arm,
                    "sample": row.seed,
                    "metrics": row.metrics,
                    "seconds": row.seconds,
                    "cpu_seconds": row.cpu_seconds,
                }
                shard.append(json.dumps(line).encode())
                rows[row.arm, row.seed] = row
                progress.advance(Usage(), good=True)
    finally:
        shard.close()


class _Lane(NamedTuple):
    process: multiprocessing.process.BaseProcess
    queue: list[tuple[str, int]]  # what is left of its seed


def _train(experiment: Experiment, missing: Mapping[int, Sequence[str]], lanes: int, *, quick: bool) -> Iterator[Row]:
    """Yield rows as they are finished, in any order."""
    context = multiprocessing.get_context("spawn")
    seeds = [[(arm, seed) for arm in arms] for seed, arms in missing.items() if arms]
    open_lanes: dict[Connection, _Lane] = {}
    try:
        for _ in range(lanes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(experiment, quick, theirs), name="agentkd reproduce")
            process.start()
            theirs.close()
            open_lanes[ours] = _Lane(process, [])
            _send_next(ours, open_lanes, seeds)
        while open_lanes:
            for connection in wait(list(open_lanes)):
                assert isinstance(connection, Connection)
                try:
                    answer = connection.recv()
                except EOFError:
                    raise WorldError(
                        "a training process ended on its own (out of memory?): run the same command again, "
                        "with --concurrency 1"
                    ) from None
                if isinstance(answer, AgentkdError):
                    raise answer
                yield answer
                _send_next(connection, open_lanes, seeds)
    finally:
        for lane in open_lanes.values():
            lane.process.kill()
            lane.process.join()


def _send_next(connection: Connection, lanes: dict[Connection, _Lane], seeds: list[list[tuple[str, int]]]) -> None:
    """Give a lane the next arm of its seed, or a new seed; end it where nothing is left."""
    lane = lanes[connection]
    if not lane.queue and seeds:
        lane.queue.extend(seeds.pop(0))
    if lane.queue:
        connection.send(lane.queue.pop(0))
        return
    connection.close()
    lane.process.join()
    del lanes[connection]


def _work(experiment: Experiment, quick: bool, connection: Connection) -> None:
    """Train what the parent asks for, one row at a time, and end with the parent."""
    follow_parent()
    try:
        one = importlib.import_module(f"agentkd.reproduce.{experiment.module}").one
    except ImportError as error:
        connection.send(UserError(f"{error.name or error} is not installed: pip install 'agentkd[reproduce]'"))
        return
    on = {"bed": experiment.on} if experiment.on else {}
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    while True:
        try:
            arm, seed = connection.recv()
        except EOFError:
            return
        start, worked = time.monotonic(), cpu_seconds()
        try:
            metrics = {key: float(value) for key, value in one(arm, seed, quick, **on).items()}
            connection.send(
                Row(arm, seed, metrics, round(time.monotonic() - start, 2), round(cpu_seconds() - worked, 2))
            )
        except AgentkdError as error:
            connection.send(error)


def cpu_seconds() -> float:
    """Seconds that processor cores have worked for this process and its ended children."""
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system
