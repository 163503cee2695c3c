"""`agentkd kaggle predict`: the solution of a finished run on new rows.

A run keeps no fitted models: they would be pickles, which run code of whoever made them. So the chosen candidates are
trained again from their specs, on the run's own maps and folds with the same seeds, and predict the new rows in place
of the test rows. What is trained already stays, and the same command goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.agents.agent_k.border import Refused, read_left, try_look
from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.finished import FinishedRun, blend_again, open_run, read_spec
from agentkd.agents.agent_k.model.run_code import bound_predictions, keep_work_folder, read_predictions, run_failures
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.files import read_csv, save_table
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.submission_file import make_submission
from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import write_atomically
from agentkd.sandbox.environment import THREADS
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.remove import remove_folder
from agentkd.sandbox.sandbox import Sandbox, open_sandbox

if TYPE_CHECKING:
    import pandas as pd

SOLVERS = "agentkd.agents.agent_k.solvers"
ROW = "row"  # of new rows without ids: row-0, row-1, …
HOURS = 24 * 3600.0  # a candidate's time at most: its spec says how long it learns


def predict(folder: Path, rows: Path, out: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Predict the rows of a table with a run's best solution, and write them in the submission's form.

    Raises UserError for rows that lack inputs or ids, or have them twice, and WorldError where training fails."""
    run = open_run(folder)
    start = time.monotonic()
    place = folder / "predict" / hashlib.sha256(rows.read_bytes() if rows.is_file() else b"").hexdigest()[:12]
    workspace = place / "workspace"
    setup, count = make_workspace(run, rows, workspace, say)
    wanted = [name for name, again in run.chosen.items() if again]
    say(f"{run.best} of {folder}: {', '.join(wanted)} · {count} rows")
    found = train_again(run, workspace, wanted, say)
    predictions, thresholds = found[wanted[0]], None
    if run.best == "blend":
        blend = blend_again(run, found)
        predictions, thresholds = blend.test, blend.thresholds
    out = out or folder / f"predictions-{rows.name.split('.')[0]}.csv"
    table = make_submission(predictions, setup, run.data, thresholds)
    save_table(table, out)
    remove_folder(place)
    return {"out": str(out), "rows": count, "candidates": wanted, "seconds": round(time.monotonic() - start, 1)}


def make_workspace(run: FinishedRun, rows: Path, workspace: Path, say: Callable[[str], None]) -> tuple[Setup, int]:
    """Make the run's maps anew with the new rows in place of the test rows; returns the set-up and their number."""
    given = read_table(rows, text=True)
    setup, data = run.setup, run.data
    key = next((name for name in (setup.called, setup.id) if name and name in given.columns), "")
    if not key:
        say(f"{rows} has no column '{setup.called or setup.id}': its rows are called {ROW}-0, {ROW}-1, …")
        key = setup.called or setup.id
        given = given.assign(**{key: [f"{ROW}-{number}" for number in range(len(given))]})
    if not len(given) or given[key].duplicated().any():
        raise UserError(f"{rows} has {'an id twice' if len(given) else 'no rows'} (column '{key}'): give each row once")
    if missing := [name for name in (*setup.tab, *setup.txt) if name not in given.columns]:
        raise UserError(
            f"{rows} lacks the input column '{missing[0]}' ({len(missing)} in all): add it, empty if unknown"
        )
    workspace.mkdir(parents=True, exist_ok=True)
    table, sample = workspace / "rows.csv", workspace / "sample.csv"
    save_table(given, table)
    old = read_table(data / setup.sample, text=True)
    places = np.arange(len(given)) % len(old)  # any cell of it shows how a value is written
    save_table(old.iloc[places].assign(**{setup.id: list(given[key])}), sample)
    new = setup.model_copy(update={"test": str(table.resolve()), "sample": str(sample.resolve())})
    write_maps(new, data, workspace)
    shutil.copyfile(run.workspace / "maps" / "folds.csv", workspace / "maps" / "folds.csv")
    for path in (run.workspace / "maps").glob("train_*.csv"):
        if path.read_bytes() != (workspace / "maps" / path.name).read_bytes():
            raise UserError(f"the training files in {data} are not those of {run.folder} any more: run it again")
    return new, len(given)


def train_again(
    run: FinishedRun, workspace: Path, names: list[str], say: Callable[[str], None]
) -> dict[str, pd.DataFrame]:
    """The predictions of the new rows by each candidate, trained again in the sandbox that the run used."""
    import pandas as pd

    sandbox = open_sandbox(run.config.sandbox, say)
    ids = load_data(workspace).test_ids
    found = {}
    for number, name in enumerate(names, 1):
        folder = workspace / "candidates" / name
        if run.scored[name].kind == "constant":
            first = read_csv(run.workspace / "candidates" / run.scored[name].folder / "oof.csv").head(1)
            found[name] = pd.concat([first] * len(ids), ignore_index=True).assign(id=ids)
            continue
        if not (folder / "test.csv").is_file():
            start = time.monotonic()
            run_solver(run, workspace, name, folder, sandbox)
            say(f"{name}: trained again in {time.monotonic() - start:.0f} s · {number} of {len(names)}")
        look = partial(read_predictions, folder, "test.csv", run.setup, ids, "test")
        read = try_look("solve", "predictions are files", look)
        if isinstance(read, Refused):
            raise WorldError(f"{name} left no valid predictions ({read}): see {folder}/log.txt")
        found[name] = read
    return found


def run_solver(run: FinishedRun, workspace: Path, name: str, folder: Path, sandbox: Sandbox) -> None:
    """Run a candidate's spec over the new workspace. Raises WorldError with the end of its output where it fails."""
    spec = read_spec(run, name) | {"workspace": str(workspace.resolve()), "features": None}
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "spec.json").absolute()
    write_atomically(file, json.dumps(spec))
    work = keep_work_folder(folder).absolute()
    outcome = sandbox.run(
        [sys.executable, "-m", SOLVERS, str(file)],
        work=work,
        read=[file, (workspace / "maps").absolute(), run.data.resolve()],
        limits=Limits(seconds=HOURS, memory_mb=run.config.memory_mb, disk_mb=run.config.disk_mb),
        env={name: str(run.config.threads or 1) for name in THREADS},
    )
    write_atomically(folder / "log.txt", outcome.output)
    if failures := run_failures(outcome, "solve"):
        raise WorldError(f"{name} failed: {failures[0].message[:300]}")
    most = bound_predictions(run.setup, load_data(workspace).test_ids).bytes
    write_atomically(folder / "test.csv", read_left(work, "test.csv", most))
    remove_folder(work)
