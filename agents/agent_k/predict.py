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

from agentkd.agents.agent_k.border import Refused, read_left, try_look
from agentkd.agents.agent_k.contract import Setup, find_plain
from agentkd.agents.agent_k.finished import FinishedRun, blend_again, open_run, read_spec
from agentkd.agents.agent_k.model.run_code import bound_predictions, keep_work_folder, read_predictions, run_failures
from agentkd.agents.agent_k.new_rows import lay_out
from agentkd.agents.agent_k.reshape.plain import reshape, turn_back
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.files import read_csv, save_table
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.errors import UserError, WorldError, near_file
from agentkd.runs.disk import write_atomically
from agentkd.sandbox.environment import THREADS
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.remove import remove_folder
from agentkd.sandbox.sandbox import Sandbox, open_sandbox

if TYPE_CHECKING:
    import pandas as pd

SOLVERS = "agentkd.agents.agent_k.solvers"
HOURS = 24 * 3600.0  # a candidate's time at most: its spec says how long it learns


def predict(folder: Path, rows: Path, out: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Predict the rows of a table or a folder with a run's best solution, and write them in the submission's form.

    Raises UserError for rows that lack inputs or ids, or have them twice, and WorldError where training fails."""
    run = open_run(folder)
    start = time.monotonic()
    place = folder / "predict" / hash_rows(rows)
    workspace = place / "workspace"
    setup, count, data = make_workspace(run, rows, place, say)
    wanted = [name for name, again in run.chosen.items() if again]
    say(f"{run.best} of {folder}: {', '.join(wanted)} · {count} rows")
    found = train_again(run, workspace, wanted, say)
    predictions, thresholds = found[wanted[0]], None
    if run.best == "blend":
        blend = blend_again(run, found)
        predictions, thresholds = blend.test, blend.thresholds
    out = out or folder / f"predictions-{rows.resolve().name.split('.')[0]}.csv"
    made = place / "submission.csv"
    write_submission(predictions, setup, find_plain(workspace) or data, made, thresholds)
    turned = turn_back(made, data, workspace)
    save_table((read_table(made, text=True) if turned is None else turned).tail(count), out)
    remove_folder(place)
    return {"out": str(out), "rows": count, "candidates": wanted, "seconds": round(time.monotonic() - start, 1)}


def hash_rows(rows: Path) -> str:
    """The hash of the rows' files, so that the same command goes on. Raises UserError where there are none."""
    if not rows.exists():
        raise UserError(f"no file or folder {rows}{near_file(rows)}")
    digest = hashlib.sha256()
    for path in sorted(path for path in rows.rglob("*") if path.is_file()) if rows.is_dir() else [rows]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def make_workspace(run: FinishedRun, rows: Path, place: Path, say: Callable[[str], None]) -> tuple[Setup, int, Path]:
    """Make the run's maps anew with the new rows in place of the test rows.

    Returns the set-up, how many rows of the submission are new (the last), and the competition's folder with them."""
    workspace = place / "workspace"
    new = lay_out(run, rows, workspace / "data", say)
    setup, data = run.setup, new.data
    if run.is_reshaped:
        reshape(data, run.source.text, run.config.settled(), workspace)
        found = find_plain(workspace)
        if found is None:
            raise UserError(
                f"the tables of {rows} are not joined as those of {run.folder}: give files of the same form"
            )
        data = found
    else:
        setup = setup.model_copy(update={"test": new.test, "sample": new.sample})
    write_maps(setup, data, workspace)
    shutil.copyfile(run.workspace / "maps" / "folds.csv", workspace / "maps" / "folds.csv")
    for path in (run.workspace / "maps").glob("train_*.csv"):
        if path.read_bytes() != (workspace / "maps" / path.name).read_bytes():
            raise UserError(
                f"the training files in {run.source.data} are not those of {run.folder} any more: run it again"
            )
    return setup, new.rows, new.data


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
        read=[file, (workspace / "maps").absolute(), (workspace / "data").absolute()],
        limits=Limits(seconds=HOURS, memory_mb=run.config.memory_mb, disk_mb=run.config.disk_mb),
        env={name: str(run.config.threads or 1) for name in THREADS},
    )
    write_atomically(folder / "log.txt", outcome.output)
    if failures := run_failures(outcome, "solve"):
        raise WorldError(f"{name} failed: {failures[0].message[:300]}")
    most = bound_predictions(run.setup, load_data(workspace).test_ids).bytes
    write_atomically(folder / "test.csv", read_left(work, "test.csv", most))
    remove_folder(work)
