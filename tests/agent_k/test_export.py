"""The exported script of a run makes its submission in an environment that has no agentkd; new rows in every form."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.agent_k.export import NEEDED, RESHAPE, STACK, export, name_solver
from agentkd.agents.agent_k.finished import open_run, read_spec
from agentkd.agents.agent_k.predict import predict
from agentkd.agents.agent_k.run import run
from agentkd.agents.agent_k.scoring import blend
from agentkd.agents.agent_k.solvers.cross_fit import CUT
from agentkd.agents.agent_k.solvers.registry import SOLVERS
from agentkd.agents.agent_k.stages import ensemble
from agentkd.bundle import bundle
from agentkd.errors import UserError
from agentkd.eval.bench.truth.made import make_competitions
from tests.support.competition_runs import config
from tests.support.lazy import lazily, require
from tests.support.little_competition import make

pd = lazily("pandas")
require("lightgbm")

REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("agentkd", "agents"):
            raise ImportError(f"{name} is asked for")
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the packages of this one, but without agentkd."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (site / "sitecustomize.py").write_text(REFUSE)
    found = home / "bin" / "python"
    asked = subprocess.run([found, "-I", "-c", "import agentkd"], capture_output=True, text=True)
    assert "agentkd is asked for" in asked.stderr
    return found


def check_script(out: Path, data: Path, python: Path, folder: Path) -> str:
    """Export a run, run the script, compare its file with the submission, byte for byte; returns the script."""
    found = export(out, folder / "solution.py")
    argv = [python, "-I", found["out"], data, folder / "made.csv"]
    done = subprocess.run(argv, cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "made.csv").read_bytes() == (out / "submission.csv").read_bytes()
    return Path(found["out"]).read_text()


@pytest.mark.whole
@pytest.mark.parametrize(
    "name, rows, candidates", [("time-zones", 250, 2), ("docstrings", 300, 2), ("letters", 150, 1), ("tumours", 150, 2)]
)
def test_the_script_makes_the_same_file(
    tmp_path: Path, python: Path, forked_solvers: None, name: str, rows: int, candidates: int
) -> None:
    """Several tables, texts, images, several targets."""
    (home,) = make_competitions(tmp_path, rows=rows, names=name)
    out, public = tmp_path / "run", home / "public"
    run(config(home, out, candidates=candidates))
    text = check_script(out, public, python, tmp_path)
    assert ("def join_tables" in text) == (name == "time-zones"), "what is not needed is not there"

    new, said = tmp_path / "new", list[str]()
    shutil.copytree(public / "test", new) if name == "letters" else shutil.copytree(
        public, new, ignore=lambda _, names: {each for each in names if each != "test.csv"}
    )
    found = predict(out, new, tmp_path / "again.csv", said.append)
    same = pd.read_csv(out / "submission.csv", dtype=str), pd.read_csv(found["out"], dtype=str)
    assert same[0].sort_values("id").to_numpy().tolist() == same[1].sort_values("id").to_numpy().tolist()


@pytest.mark.whole
def test_a_stack_is_fitted_again(
    tmp_path: Path, python: Path, forked_solvers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home,) = make_competitions(tmp_path, rows=150, names="tumours")
    fit = blend.best_blend
    monkeypatch.setattr(blend, "_choose", lambda *_: "stack")
    monkeypatch.setattr(ensemble, "best_blend", lambda *a, **k: replace(fit(*a, **k), score=0.99))  # than all others
    found = run(config(home, tmp_path / "run", candidates=2))
    assert found["blend"]["kind"] == "stack" and not found["blend"]["weights"]
    text = check_script(tmp_path / "run", home / "public", python, tmp_path)
    assert "stack=fit_stack" in text


class Bare(ast.NodeTransformer):
    """Without annotations, which nobody evaluates."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Name("object")
        return self.generic_visit(node)


def test_a_script_can_be_made_of_every_solver(tmp_path: Path) -> None:
    """No name in it is undefined, and none comes from agentkd."""
    solvers = [name_solver(kind)[0] for kind in SOLVERS]
    text = bundle([*NEEDED, *RESHAPE, STACK, *solvers])
    assert "import agentkd" not in text and "from agentkd" not in text
    file = tmp_path / "all.py"
    file.write_text(ast.unparse(Bare().visit(ast.parse(text))))
    rules = ["--isolated", "--select", "F821", "--target-version", "py311"]
    done = subprocess.run([sys.executable, "-m", "ruff", "check", *rules, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_candidate_that_the_clock_has_not_cut_is_trained_without_one(tmp_path: Path, forked_solvers: None) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    run(config(folder, out, candidates=1))
    done = open_run(out)
    (name,) = (name for name in done.scored if done.scored[name].kind == "lightgbm" or name != "blend")
    log = out / "workspace" / "candidates" / done.scored[name].folder / "log.txt"
    log.write_text("loss 1\n")
    assert read_spec(done, name)["seconds"] is None
    log.write_text(f"{CUT}: 20 rounds at most\nloss 1\n")
    assert read_spec(done, name)["seconds"] is not None


def new_rows(folder: Path, out: Path, table: Any, name: str = "new.csv") -> Any:
    table.to_csv(folder / name, index=False)
    found = predict(out, folder / name, folder / "out.csv", lambda line: None)
    return pd.read_csv(found["out"], dtype=str)


@pytest.mark.whole
def test_new_rows_of_joined_tables_and_composite_keys(tmp_path: Path, forked_solvers: None) -> None:
    (home,) = make_competitions(tmp_path, rows=250, names="time-zones")
    run(config(home, tmp_path / "run", candidates=1))
    table = pd.read_csv(home / "public" / "test.csv", dtype=str)
    one = new_rows(tmp_path, tmp_path / "run", table.head(1).assign(id="new"))
    assert list(one["id"]) == ["new"] and list(one.columns) == ["id", "hours from UTC"]
    old = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert float(one["hours from UTC"][0]) == pytest.approx(old["hours from UTC"][0], abs=0.5)

    days = [f"2024-01-{day:02d}" for day in range(1, 29)]
    rows = pd.DataFrame(
        [(s, d, s * 10 + n % 7) for s in (1, 2, 3, 4) for n, d in enumerate(days)], columns=["store", "day", "sold"]
    )
    data = tmp_path / "stores"
    data.mkdir()
    rows["weekday"] = rows.index % 7
    train, test = rows[rows["day"] < "2024-01-22"], rows[rows["day"] >= "2024-01-22"]
    train.to_csv(data / "train.csv", index=False)
    test.drop(columns="sold").to_csv(data / "test.csv", index=False)
    test[["store", "day"]].assign(sold=0).to_csv(data / "sample_submission.csv", index=False)
    run(config(data, tmp_path / "keys", candidates=1, metric="rmse"))
    made = new_rows(
        tmp_path, tmp_path / "keys", test.drop(columns="sold").head(3).assign(day="2024-02-01", store=[1, 2, 3])
    )
    assert list(made.columns) == ["store", "day", "sold"] and list(made["store"]) == ["1", "2", "3"]
    assert made["sold"].astype(float).between(5, 50).all()


def test_rows_that_cannot_be_laid_out_are_one_line(tmp_path: Path, forked_solvers: None) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    run(config(folder, out, candidates=1))
    with pytest.raises(UserError, match="no file or folder"):
        predict(out, tmp_path / "nothing.csv", None, print)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no files of new rows"):
        predict(out, tmp_path / "empty", None, print)
