"""What Agent K remembers: cases with their shares, whom it trusts, the order that follows, and their file."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.agents.agent_k.experience.advice import (
    agreement,
    find_advisors,
    judge_advisors,
    order_by_experience,
)
from agentkd.agents.agent_k.experience.case import Case, Fingerprint, Trial, list_trials
from agentkd.agents.agent_k.experience.store import Experience, Known
from agentkd.agents.agent_k.results import Failed, Scored
from agentkd.agents.agent_k.run import run
from agentkd.errors import UserError, WorldError
from tests.support.commands import call
from tests.support.competition_runs import config
from tests.support.lazy import require
from tests.support.little_competition import make
from tests.support.paths import ROOT

require("lightgbm")
NAMES = ("lightgbm", "linear", "svm", "extra-trees", "knn")
SHAPE = Fingerprint(
    task="binary", metric="auc", output="probability", rows=1000, tab=10, txt=0, img=0, predicted=2, later=False
)


def case(key: str, best_first: tuple[str, ...] = NAMES, shape: Fingerprint = SHAPE) -> Case:
    """A case in which candidates earned 1/2, 1/4 … in this order."""
    last = len(best_first) - 1
    trials = tuple(
        Trial(name=name, kind=name, quality=1 - place / last, share=0.5 ** (place + 1), seconds=5.0)
        for place, name in enumerate(best_first)
    )
    return Case(
        key=key, competition=key, title=key, source=key, date="2026-11-30", fingerprint=shape, trials=trials, seconds=30
    )


def known(*cases: Case, borne_out: int = 0, refuted: int = 0) -> list[Known]:
    return [Known(case=one, borne_out=borne_out, refuted=refuted) for one in cases]


BACKWARDS = tuple(reversed(NAMES))
SECONDS = dict.fromkeys(NAMES, 5.0)


def test_what_earned_comes_first_and_the_safe_one_stays() -> None:
    order = order_by_experience(find_advisors(known(case("a", BACKWARDS)), SHAPE), SECONDS)
    assert order == ["lightgbm", "knn", "extra-trees", "svm", "linear"]
    dear = {**SECONDS, "knn": 500.0}
    assert order_by_experience(find_advisors(known(case("a", BACKWARDS)), SHAPE), dear)[-1] == "knn"
    assert order_by_experience([], SECONDS) == list(NAMES)
    assert set(order_by_experience(find_advisors(known(case("a", ("svm", "unknown"))), SHAPE), SECONDS)) == set(NAMES)


@given(st.integers(1, 10**9), st.integers(0, 5000), st.integers(0, 3), st.integers(0, 2), st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_likeness_is_of_equals_and_both_ways(rows: int, tab: int, txt: int, img: int, predicted: int) -> None:
    other = SHAPE.model_copy(update={"rows": rows, "tab": tab, "txt": txt, "img": img, "predicted": predicted})
    assert other.likeness(other) == 1
    assert 0 < SHAPE.likeness(other) <= 1 and SHAPE.likeness(other) == pytest.approx(other.likeness(SHAPE))


def test_other_kinds_of_competitions_say_nothing() -> None:
    images = SHAPE.model_copy(update={"tab": 0, "img": 1})
    assert find_advisors(known(case("a", shape=images)), SHAPE) == []


def test_a_poisoned_fifth_does_not_turn_the_order() -> None:
    """Forged rewards: the best candidate of all others is said to be the worst, and the reverse."""
    good = [case(f"good-{n}") for n in range(8)]
    clean = order_by_experience(find_advisors(known(*good), SHAPE), SECONDS)
    poisoned = known(*good, case("forged-1", BACKWARDS), case("forged-2", BACKWARDS))
    advisors = find_advisors(poisoned, SHAPE)
    assert order_by_experience(advisors, SECONDS) == clean == list(NAMES)
    weights = {advisor.known.case.key: advisor.weight for advisor in advisors}
    assert max(weights["forged-1"], weights["forged-2"]) <= 0.1 * min(weights[f"good-{n}"] for n in range(8))


def test_later_runs_bear_cases_out_or_switch_them_off(tmp_path: Path) -> None:
    memory = Experience(tmp_path / "file.sqlite")
    for one in (case("true"), case("false", BACKWARDS)):
        memory.add(one)
    for number in range(2):
        new = case(f"run-{number}")
        advisors = find_advisors(memory.all(), SHAPE)
        memory.judge(new.key, judge_advisors(advisors, new))
        memory.judge(new.key, judge_advisors(advisors, new))  # a run that goes on says it once
    status = {item.case.key: (item.status, item.borne_out, item.refuted) for item in memory.all()}
    assert status == {"true": ("trusted", 2, 0), "false": ("off", 0, 2)}
    assert [advisor.known.case.key for advisor in find_advisors(memory.all(), SHAPE)] == ["true"]


def test_agreement_is_kendalls() -> None:
    assert agreement(case("a").trials, case("b").trials) == 1
    assert agreement(case("a").trials, case("b", BACKWARDS).trials) == -1
    assert agreement(case("a").trials, case("b", ("linear", "lightgbm", "svm", "extra-trees", "knn")).trials) == 0.8
    assert agreement(case("a").trials, case("b", ("svm", "knn")).trials) is None


def test_shares_are_those_of_the_final_file(tmp_path: Path) -> None:
    def scored(score: float, **values: str) -> Scored:
        return Scored(
            **{"author": "code", "folder": "f", "basis": "b", "kind": "k"} | values, score=score, folds=(), seconds=3.0
        )

    from agentkd.agents.agent_k.contract import Setup

    setup = Setup(
        train="t", test="t", sample="s", id="id", targets=("y",), outputs=("y",), task="binary", classes=("0", "1"),
        output="probability", metric="auc", lower_is_better=False,
    )  # fmt: skip
    results = {
        "constant": scored(0.5, kind="constant"), "a": scored(0.8), "b": scored(0.9), "c+features": scored(0.7),
        "solution-1": scored(0.99, author="model"),
        "d": Failed(author="code", folder="f", basis="b", kind="k", error="no"),
    }  # fmt: skip
    trials = {
        trial.name: trial for trial in list_trials(setup, results, {"a": 0.2, "b": 0.6, "solution-1": 0.2}, "blend")
    }
    assert set(trials) == {"a", "b", "c", "d"}
    assert (trials["a"].share, trials["b"].share, trials["c"].share) == pytest.approx((0.25, 0.75, 0))
    assert [trials[name].quality for name in "bacd"] == [1, 0.5, 0, 0] and trials["d"].error == "no"
    alone = {trial.name: trial.share for trial in list_trials(setup, results, {}, "b")}
    assert alone["b"] == 1 and sum(alone.values()) == 1
    stack = {trial.name: trial.share for trial in list_trials(setup, results, {}, "blend")}
    assert stack["b"] > stack["a"] > stack["c"] > stack["d"] == 0


def test_cases_travel_and_are_forgotten_for_good(tmp_path: Path) -> None:
    memory = Experience(tmp_path / "one.sqlite")
    memory.add(case("abc"))
    memory.add(case("abd"))
    with pytest.raises(UserError, match="2 cases begin with 'ab'"):
        memory.forget("ab")
    assert memory.forget("abd") == "abd"
    memory.add(case("abd"))  # its run goes on
    assert [item.case.key for item in memory.all()] == ["abc"]
    assert memory.write(tmp_path / "cases.jsonl") == 1
    other = Experience(tmp_path / "two.sqlite")
    assert other.read(tmp_path / "cases.jsonl") == 1 and other.all()[0].status == "pending"
    (tmp_path / "cases.jsonl").write_text(case("x").model_dump_json() + '\n{"key": "y"}\n')
    with pytest.raises(UserError, match=r"cases\.jsonl:2 is no case"):
        other.read(tmp_path / "cases.jsonl")
    assert [item.case.key for item in other.all()] == ["abc"]


def test_a_damaged_file_or_case_is_one_line(tmp_path: Path) -> None:
    memory = Experience(tmp_path / "file.sqlite")
    memory.add(case("abc"))
    with sqlite3.connect(memory.path) as database:
        database.execute("UPDATE cases SET content = '{'")
    with pytest.raises(UserError, match=r"case 'abc' of .* is damaged: agentkd kaggle memory forget abc"):
        memory.all()
    memory.forget("abc")
    assert memory.all() == []
    memory.path.write_bytes(b"no database" * 100)
    with pytest.raises(WorldError, match="AGENTKD_DATA_HOME"):
        memory.all()


WRITER = """
import sys
from pathlib import Path
from tests.agent_k.test_experience import case
from agentkd.agents.agent_k.experience.store import Experience
memory = Experience(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    memory.add(case(f"{sys.argv[2]}-{number}"))
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE)


@pytest.mark.whole
def test_two_writers_at_once_and_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    both = [writer(path, name, 30) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    assert len(Experience(path).all()) == 60
    for number in range(5):
        process = writer(path, f"killed-{number}", 10**6)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(0.03 * (number + 1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        keys = [item.case.key for item in Experience(path).all()]  # whole, and not locked
        own = sorted(int(key.rpartition("-")[2]) for key in keys if key.startswith(f"killed-{number}-"))
        assert own == list(range(len(own))) and len(set(keys)) == len(keys)


def test_a_run_remembers_and_the_next_one_says_so(
    tmp_path: Path, forked_solvers: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKD_DATA_HOME", str(tmp_path / "home"))
    folder = make(tmp_path, rows=80)
    first = run(config(folder, tmp_path / "one", experience=True))
    assert "experience of" not in capsys.readouterr().err
    (kept,) = Experience().all()
    assert {trial.name for trial in kept.case.trials} == {name for name in first["candidates"] if name != "constant"}
    assert kept.case.fingerprint.task == "binary" and kept.status == "pending"
    run(config(folder, tmp_path / "two", experience=True))
    assert "experience of 1 similar competition" in capsys.readouterr().err
    assert len(Experience().all()) == 2
    kept_order = (tmp_path / "two" / "experience.json").read_text()
    run(config(folder, tmp_path / "two", experience=True, candidates=4))  # goes on in the order it began with
    assert (tmp_path / "two" / "experience.json").read_text() == kept_order and len(Experience().all()) == 2

    code, out, _ = call(["kaggle", "memory", "ls", "--json"], monkeypatch, capsys)
    assert code == 0 and len(json.loads(out)["cases"]) == 2
    code, out, _ = call(["kaggle", "memory", "show", kept.case.key], monkeypatch, capsys)
    assert code == 0 and "binary, accuracy" in out and "share" in out
    code, _, error = call(["kaggle", "memory", "forget", "nothing"], monkeypatch, capsys)
    assert code == 2 and "no case begins with 'nothing'" in error


def test_a_file_that_cannot_be_used_costs_no_run(
    tmp_path: Path, forked_solvers: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    monkeypatch.setenv("AGENTKD_DATA_HOME", str(tmp_path / "home"))
    assert run(config(make(tmp_path, rows=80), tmp_path / "run", experience=True, candidates=1))["score"] > 0
    assert "warning: this run is not remembered" in capsys.readouterr().err
