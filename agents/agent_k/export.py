"""`agentkd kaggle export`: a finished run's solution as one script that needs no agentkd.

The script holds the functions that the solution uses, as they stand here, with the run's set-up, candidates, weights
and thresholds as constants. It makes plain tables where the run did, maps and folds, trains the candidates and writes
the submission.
"""

from __future__ import annotations

import pprint
import re
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agentkd.agents.agent_k.contract import FORM, PLAIN
from agentkd.agents.agent_k.finished import FinishedRun, blend_again, open_run, read_spec
from agentkd.agents.agent_k.reshape.plain import reshape
from agentkd.agents.agent_k.solvers.registry import SOLVERS
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.files import read_csv
from agentkd.bundle import Name, bundle
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically

K = "agentkd.agents.agent_k"
NEEDED: tuple[Name, ...] = ((f"{K}.contract", "Setup"), (f"{K}.replay", "Solution"), (f"{K}.replay", "replay"))
STACK: Name = (f"{K}.scoring.blenders", "fit_stack")
RESHAPE: tuple[Name, ...] = ((f"{K}.reshape.plain", "reshape"), (f"{K}.reshape.plain", "turn_back"))
HEAD = '"""The solution of a run of Agent K: {metric} {score:.5f} by cross-validation.\n\n'
USE = """    python solution.py DATA [submission.csv]

DATA is the folder with the competition's files. It needs {packages}. What was chosen is at the end: SOLUTION.
\"\"\"

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # folds run in parallel
    os.environ[_name] = "1"

"""
TAIL = """

SOLUTION = Solution(
    setup=Setup(
{setup}
    ),
    candidates={candidates},
    solvers={solvers},
    weights={weights},
    thresholds={thresholds},
    seed={seed},
{more})

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python solution.py DATA [submission.csv]")
    replay(SOLUTION, Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "submission.csv"))
"""


def export(folder: Path, out: Path | None) -> dict[str, Any]:
    """Write the script, by default RUN/solution.py, and return its path and the candidates in it.

    Raises UserError for a run that is not finished or whose files have changed, and for a model's code."""
    run = open_run(folder)
    if run.setup.folds == 0:
        raise UserError(
            f"the folds of {folder} are those of a file, which no script holds: run with folds=5 to export it"
        )
    pages = check_files(run)
    names = [name for name, again in run.chosen.items() if again and run.scored[name].kind != "constant"]
    if not names:
        raise UserError(f"the best solution of {folder} is a constant: there is nothing to export, give it more time")
    weights, thresholds = dict.fromkeys(names, 1.0), None
    if run.best == "blend":
        frames = {name: read_csv(run.workspace / "candidates" / run.scored[name].folder / "test.csv") for name in names}
        blend = blend_again(run, frames)
        weights, thresholds = {name: blend.weights.get(name, 0.0) for name in run.chosen}, blend.thresholds
    candidates = {name: read_spec(run, name) for name in names}
    solvers = {str(spec["kind"]): name_solver(str(spec["kind"])) for spec in candidates.values()}
    needed = [*NEEDED, *(function for function, _ in solvers.values())]
    more: dict[str, str] = {}
    if run.is_stack:
        needed.append(STACK)
        more["stack"] = STACK[1]
    if run.is_reshaped:
        needed += RESHAPE
        more |= {name: name for _, name in RESHAPE} | {"pages": show(pages), "settled": show(run.config.settled())}
    source = bundle(needed)
    text = (
        HEAD.format(metric=run.setup.metric, score=run.score)
        + USE.format(packages=", ".join(list_packages(source)))
        + source
        + TAIL.format(
            setup=list_arguments({name: repr(value) for name, value in run.setup.model_dump().items()}, 8),
            candidates=show(candidates),
            solvers="{" + ", ".join(f"{kind!r}: {shown}" for kind, (_, shown) in solvers.items()) + "}",
            weights=show(weights),
            thresholds=show(thresholds),
            seed=run.config.seed,
            more=list_arguments(more, 4) + "\n" * bool(more),
        )
    )
    out = out or folder / "solution.py"
    write_atomically(out, text)
    return {"out": str(out), "candidates": names, "lines": text.count("\n")}


def list_arguments(values: Mapping[str, str], indent: int) -> str:
    """Arguments of a call, one on each line."""
    return "\n".join(f"{' ' * indent}{name}={value}," for name, value in values.items())


def list_packages(source: str) -> list[str]:
    """The packages that a source imports which do not come with Python."""
    found = re.findall(r"^\s*(?:from|import) (\w+)", source, flags=re.MULTILINE)
    return sorted({name for name in found if name not in sys.stdlib_module_names})


def show(value: Any) -> str:
    """A constant as Python writes it, in lines of 120 characters."""
    return pprint.pformat(value, width=120, sort_dicts=False)


def name_solver(kind: str) -> tuple[Name, str]:
    """The function that solves a kind, and how the script writes it."""
    solver = SOLVERS[kind]
    if isinstance(solver, partial):
        shown = f"partial({solver.func.__name__}, {', '.join(map(repr, solver.args))})"
        return (solver.func.__module__, solver.func.__name__), shown
    return (solver.__module__, solver.__name__), solver.__name__


def check_files(run: FinishedRun) -> str:
    """Raise UserError unless the run's files and set-up still give its tables, maps and folds.

    Returns what of the pages the plain tables need: most need nothing."""
    if not run.is_reshaped:
        with tempfile.TemporaryDirectory() as folder:
            check_maps(run, run.data, Path(folder))
        return ""
    for pages in ("", run.source.text):
        with tempfile.TemporaryDirectory() as folder:
            workspace = Path(folder)
            reshape(run.source.data, pages, run.config.settled(), workspace)
            if has_same_tables(run.workspace, workspace):
                check_maps(run, workspace / PLAIN, workspace)
                return pages
    raise UserError(f"{run.source.data} does not give {run.data} any more: run the competition again")


def has_same_tables(one: Path, other: Path) -> bool:
    """Whether two workspaces have the same plain tables and the same way back."""
    names = [Path(FORM), Path("form.csv"), *(path.relative_to(one) for path in (one / PLAIN).glob("*.csv"))]
    return all((other / name).is_file() and (one / name).read_bytes() == (other / name).read_bytes() for name in names)


def check_maps(run: FinishedRun, data: Path, workspace: Path) -> None:
    """Raise UserError unless the set-up gives the run's maps and folds of some tables."""
    build_maps(run.setup, data, workspace, run.config.seed)
    for path in (run.workspace / "maps").glob("*.csv"):
        made = workspace / "maps" / path.name
        if not made.is_file() or made.read_bytes() != path.read_bytes():
            raise UserError(f"{data} does not give {path} any more: run the competition again")
