"""Runs of Agent K over the small competition: how they are configured, started and read, and a model's code.

A fixture of tests/agent_k/conftest.py decides what the solvers run in: `sandboxed` is the real sandbox in real
processes, `forked_solvers` forks them from a warm process, for tests of everything else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from agentkd.config import KaggleConfig
from agentkd.runs.read import read_traces
from agentkd.trace import Trace
from tests.support.kaggle_server import Server
from tests.support.little_competition import SLUG
from tests.support.paths import ROOT
from tests.support.scripted_expert import python
from tests.support.warm import KAGGLE, warm

FEATURES = python("""
def features(train, test):
    def made(frame):
        return frame[["id"]].assign(odd_reading=(frame["reading"] * 1000).round().astype(int) % 2)
    return made(train), made(test)
""")
SOLUTION = python("""
import pandas as pd
def fit_predict(train, target, test):
    odd = (test["reading"] * 1000).round().astype(int) % 2
    return pd.DataFrame({"0": 0.9 - 0.8 * odd, "1": 0.1 + 0.8 * odd})
""")
SHALLOW_MAPS = python("""
import pandas as pd
def make_maps(data):
    made = {}
    for split, name in (("train", "train.csv"), ("test", "test.csv")):
        frame = pd.read_csv(data / name, dtype={"id": str})
        made[split + "_tab"] = frame[["id", "size", "colour"]]
    return made
""")
FULL_MAPS = SHALLOW_MAPS.replace('["id", "size", "colour"]', '["id", "reading", "size", "colour"]')
OWN = json.dumps({"own_code": True, "why": "the generic maps miss a column"})


def config(folder: Path, out: Path, **values: Any) -> KaggleConfig:
    """A run without a model, with sandbox `none`, whose solvers the fixture `forked_solvers` forks."""
    fields = {"teacher": "none", "candidates": 3, "max_hours": 0.2, "threads": 1, "submit": "never", "sandbox": "none"}
    fields["experience"] = False  # of the tests before
    return KaggleConfig(competition=str(folder), out=str(out), **{**fields, **values})


def last_trace(out: Path) -> Trace:
    *_, trace = read_traces(out)
    return trace


def valid_submission(out: Path, folder: Path, *, labels: bool = True) -> Any:
    """The submission, which has the sample's rows and columns, and only known classes or else probabilities."""
    import pandas as pd

    made = pd.read_csv(out / "submission.csv", dtype=str)
    sample = pd.read_csv(folder / "public" / "sample_submission.csv", dtype=str)
    assert list(made.columns) == list(sample.columns) and list(made["id"]) == list(sample["id"])
    assert len(set(made["odd"])) > 1
    assert set(made["odd"]) <= {"0", "1"} if labels else made["odd"].astype(float).between(0, 1).all()
    return made


def kaggle_run(teacher: str, out: Path, candidates: int = 3) -> list[str]:
    """The words of `agentkd kaggle run URL`."""
    arguments = ["kaggle", "run", f"https://www.kaggle.com/competitions/{SLUG}/overview", "--submit", "auto", "--json"]
    values = ["--teacher", teacher, "--max-hours", "0.3", "--out", str(out), f"candidates={candidates}", "threads=1"]
    values.append("experience=off")  # what ran before changes nothing
    return [*arguments, *values]


def start_kaggle_run(
    server: Server, teacher: str, out: Path, *module: str, home: Path, candidates: int = 3, real: bool = False
) -> subprocess.CompletedProcess[str]:
    """`agentkd kaggle run URL`, through `python -m MODULE…`. real: in a new process, with the sandbox that users have;
    otherwise the command and its solvers are forked."""
    arguments = kaggle_run(teacher, out, candidates)
    env = os.environ | server.environment | {"HOME": str(home)}
    argv = [sys.executable, "-m", *module, *arguments]
    if real:
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=600, cwd=ROOT)
    return warm(*KAGGLE).run([*argv, "sandbox=none"], env=env, cwd=ROOT, solvers=True)


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    value: dict[str, Any] = json.loads(done.stdout)
    return value
