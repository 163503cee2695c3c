"""Run one candidate: `python -m agentkd.agents.agent_k.solvers SPEC`, in the candidate's work folder.

SPEC is a file with {"workspace": PATH, "kind": NAME, "params": {}, "seed": 0, "threads": 2, "seconds": null,
"features": null}. Writes oof.csv and test.csv (each complete or absent) into the current folder, and progress to
stderr. The same spec gives the same files on the same machine, with any number of threads; only a time budget
(`seconds`) may change them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from agentkd.errors import AgentkdError, UserError

START = time.monotonic()  # importing the packages below counts as the candidate's time


def main(argv: list[str]) -> int:
    """Run the spec file that is the one argument; returns the exit code."""
    try:
        path = Path(argv[0])
        run(read_spec(path), Path.cwd(), START)
    except AgentkdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def read_spec(path: Path) -> dict[str, Any]:
    """A spec with its defaults. Raises UserError for a file that is none."""
    try:
        spec = json.loads(path.read_text())
        return {"params": {}, "seed": 0, "threads": 1, "seconds": None, "features": None} | spec
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is no spec ({error}): a JSON object with workspace and kind") from None


def run(spec: dict[str, Any], folder: Path, start: float | None = None) -> None:
    """Run a spec. `start` is when its `seconds` began, on the monotonic clock; None for now."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when numpy is first imported
        os.environ[name] = "1"  # folds run in parallel
    from agentkd.agents.agent_k.solvers.cross_fit import TimeBudget
    from agentkd.agents.agent_k.solvers.registry import solve_spec
    from agentkd.agents.agent_k.workspace.arrays import load_data
    from agentkd.agents.agent_k.workspace.files import write_predictions

    data = load_data(Path(spec["workspace"]), Path(spec["features"]) if spec["features"] else None)
    budget = TimeBudget(spec["seconds"], time.monotonic() if start is None else start)
    oof, test = solve_spec(data, spec, folder, budget)
    write_predictions(folder / "test.csv", data.setup, data.test_ids, test)
    write_predictions(folder / "oof.csv", data.setup, list(data.targets["id"]), oof)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
