"""`agentkd kaggle export`: a finished run's solution as one script that needs no agentkd.

The script holds the functions that the solution uses, as they stand here, with the run's set-up, candidates, weights
and thresholds as constants. It makes maps and folds, trains the candidates and writes the submission.
"""

from __future__ import annotations

import pprint
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from agentkd.agents.agent_k.contract import find_plain
from agentkd.agents.agent_k.finished import FinishedRun, blend_again, open_run, read_spec
from agentkd.agents.agent_k.solvers.registry import SOLVERS
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.files import read_csv
from agentkd.bundle import Name, bundle
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically

K = "agentkd.agents.agent_k"
NEEDED: tuple[Name, ...] = ((f"{K}.contract", "Setup"), (f"{K}.replay", "Solution"), (f"{K}.replay", "replay"))
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
)

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python solution.py DATA [submission.csv]")
    replay(SOLUTION, Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "submission.csv"))
"""


def export(folder: Path, out: Path | None) -> dict[str, Any]:
    """Write the script, by default RUN/solution.py, and return its path and the candidates in it.

    Raises UserError for a run that is not finished or whose files have changed, and for a stack or a model's code."""
    run = open_run(folder)
    if find_plain(run.workspace):
        raise UserError(
            f"the tables of {folder} were reshaped (workspace/plain), which no script does: it is not exported"
        )
    check_folds(run)
    names = [name for name, again in run.chosen.items() if again and run.scored[name].kind != "constant"]
    if not names:
        raise UserError(f"the best solution of {folder} is a constant: there is nothing to export, give it more time")
    weights, thresholds = dict.fromkeys(names, 1.0), None
    if run.best == "blend":
        if not run.blend.get("weights"):
            raise UserError(f"the best solution of {folder} is a stack, which has no fixed weights: it is not exported")
        frames = {name: read_csv(run.workspace / "candidates" / run.scored[name].folder / "test.csv") for name in names}
        blend = blend_again(run, frames)
        weights, thresholds = {name: blend.weights[name] for name in names}, blend.thresholds
    candidates = {name: read_spec(run, name) for name in names}
    solvers = {str(spec["kind"]): name_solver(str(spec["kind"])) for spec in candidates.values()}
    source = bundle([*NEEDED, *(function for function, _ in solvers.values())])
    text = (
        HEAD.format(metric=run.setup.metric, score=run.score)
        + USE.format(packages=", ".join(list_packages(source)))
        + source
        + TAIL.format(
            setup="\n".join(f"        {name}={value!r}," for name, value in run.setup.model_dump().items()),
            candidates=show(candidates),
            solvers="{" + ", ".join(f"{kind!r}: {shown}" for kind, (_, shown) in solvers.items()) + "}",
            weights=show(weights),
            thresholds=show(thresholds),
            seed=run.config.seed,
        )
    )
    out = out or folder / "solution.py"
    write_atomically(out, text)
    return {"out": str(out), "candidates": names, "lines": text.count("\n")}


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


def check_folds(run: FinishedRun) -> None:
    """Raise UserError unless the run's files and set-up still give its maps and folds."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        build_maps(run.setup, run.data, workspace, run.config.seed)
        for path in (run.workspace / "maps").glob("*.csv"):
            made = workspace / "maps" / path.name
            if not made.is_file() or made.read_bytes() != path.read_bytes():
                raise UserError(f"{run.data} does not give {path} any more: run the competition again")
