"""New rows by the solution of a finished run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentkd.agents.agent_k.export import export
from agentkd.agents.agent_k.predict import predict
from agentkd.agents.agent_k.run import run
from agentkd.errors import UserError
from tests.support.competition_runs import FEATURES, config
from tests.support.lazy import lazily, require
from tests.support.little_competition import make
from tests.support.scripted_expert import expert

pd = lazily("pandas")
require("lightgbm")


WITHOUT = """
import runpy, sys
class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("agentkd", "agents"):
            raise ImportError(f"{name} is asked for")
sys.meta_path.insert(0, Refuse())
script, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


def check_script(out: Path, data: Path, folder: Path) -> None:
    """The script of a run writes its submission, byte for byte, where agentkd cannot be imported."""
    found = export(out, folder / "solution.py")
    argv = [sys.executable, "-c", WITHOUT, found["out"], str(data), str(folder / "made.csv")]
    done = subprocess.run(argv, cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "made.csv").read_bytes() == (out / "submission.csv").read_bytes()


@pytest.mark.whole
@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_the_test_rows_get_what_was_submitted(tmp_path: Path, forked_solvers: None, metric: str) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    run(config(folder, out, metric=metric, candidates=3))
    public, said = folder / "public", list[str]()
    found = predict(out, public / "test.csv", None, said.append)
    assert found["rows"] == 120 and found["candidates"] and "trained again" in said[-1]
    assert Path(found["out"]).read_bytes() == (out / "submission.csv").read_bytes()
    assert not (out / "predict").exists() or not list((out / "predict").iterdir())

    check_script(out, public, tmp_path)
    table = pd.read_csv(public / "test.csv", dtype=str)
    table.drop(columns="id").head(7).to_csv(tmp_path / "new.csv", index=False)
    predict(out, tmp_path / "new.csv", tmp_path / "out.csv", said.append)
    written = pd.read_csv(tmp_path / "out.csv")
    assert list(written["id"]) == [f"row-{number}" for number in range(7)] and written["odd"].notna().all()
    assert any("no column 'id'" in line for line in said)


def test_rows_that_cannot_be_predicted_are_one_line(tmp_path: Path, forked_solvers: None) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    with pytest.raises(UserError, match="is no finished run of Agent K"):
        predict(tmp_path, folder / "public" / "test.csv", None, print)
    run(config(folder, out, candidates=1))
    table = pd.read_csv(folder / "public" / "test.csv", dtype=str)
    for frame, message in (
        (table.drop(columns="reading"), "lacks the input column 'reading'"),
        (pd.concat([table, table]), "has an id twice"),
        (table.head(0), "has no rows"),
    ):
        frame.to_csv(tmp_path / "new.csv", index=False)
        with pytest.raises(UserError, match=message):
            predict(out, tmp_path / "new.csv", None, print)
    train = folder / "public" / "train.csv"
    train.write_text(train.read_text().replace("red", "pink"))
    with pytest.raises(UserError, match="are not those of"):
        predict(out, folder / "public" / "test.csv", None, print)


@pytest.mark.whole
def test_a_solution_with_code_of_the_model_is_refused(tmp_path: Path, forked_solvers: None) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    with expert({("features", "code"): [FEATURES]}) as server:
        found = run(config(folder, out, teacher=server.spec, timeout=60.0))
    assert json.loads((out / "metrics.json").read_text())["best"] == found["best"]
    with pytest.raises(UserError, match="has code of the model"):
        export(out, None)
    with pytest.raises(UserError, match="has code of the model"):
        predict(out, folder / "public" / "test.csv", None, print)
