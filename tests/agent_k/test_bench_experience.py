"""`agentkd bench experience`: replays of finished runs, and the controls of experience."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.experience.case import Case, Fingerprint, Trial
from agentkd.agents.agent_k.experience.store import Known
from agentkd.errors import UserError
from agentkd.eval.bench.truth import experience
from agentkd.eval.bench.truth.experience import Replay, bench_experience, open_replay
from tests.support.competition_runs import config
from tests.support.lazy import require
from tests.support.little_competition import make

require("lightgbm")
NAMES = ("safe", "bad", "good", "other")
SETUP = Setup(
    train="t", test="t", sample="s", id="id", targets=("y",), outputs=("y",), task="binary", classes=("0", "1"),
    output="probability", metric="auc", lower_is_better=False,
)  # fmt: skip
WORTH = {"safe": 0.1, "bad": 0.0, "good": 0.8, "other": 0.1}


def replay_of(name: str) -> Replay:
    """A run whose blend's score is the sum of what its candidates are worth."""
    ranked = sorted(NAMES, key=lambda one: -WORTH[one])
    trials = [Trial(name=n, kind=n, quality=1 - ranked.index(n) / 3, share=WORTH[n], seconds=10) for n in NAMES]
    shape = Fingerprint(task="binary", metric="auc", output="probability", rows=100, tab=3, txt=0, img=0, predicted=2)
    case = Case(
        key=name,
        competition=name,
        title=name,
        source=name,
        date="",
        fingerprint=shape,
        trials=tuple(trials),
        seconds=40,
    )
    subsets = [frozenset(n for bit, n in enumerate(NAMES) if mask >> bit & 1) for mask in range(1, 16)]
    scores = {names: sum(WORTH[n] for n in names) - 0.1 * ("other" in names) for names in subsets}
    run = SimpleNamespace(setup=SETUP)
    return Replay(run, case, {}, dict.fromkeys(NAMES, 10.0), scores)  # type: ignore[arg-type]


def test_time_to_the_score_and_its_controls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experience, "open_replay", lambda folder: replay_of(folder.name))
    runs = [Path(f"run-{n}") for n in range(8)]
    report = bench_experience(runs, seed=0, out=tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["runs"] == 8
    arms = {arm["arm"]: arm for arm in report["arms"]}
    # safe, bad, good reach it in 30 s; safe, good in 20
    assert arms["experience"]["ratio"] == pytest.approx(2 / 3) and arms["experience"]["sooner"] == 8
    assert arms["poisoned"]["ratio"] == pytest.approx(2 / 3)
    assert arms["shuffled"]["ratio"] > arms["experience"]["ratio"]
    assert {row["without"] for row in report["rows"]} == {30.0}


def test_forged_cases_turn_the_order_around() -> None:
    case = replay_of("a").case
    forged = {trial.name: trial.share for trial in experience.forge(case).trials}
    assert forged["bad"] == 0.8 and forged["good"] == 0.0
    dealt = experience.deal_shares(case, random.Random(1))
    assert sorted(trial.share for trial in dealt.trials) == sorted(WORTH.values()) and dealt != case
    known = [Known(case=replay_of(name).case) for name in "abcd"]
    flat = experience.advise("flat-poisoned", known, case.fingerprint, random.Random(0))
    assert len(flat) == 5 and {advisor.weight for advisor in flat} == {1.0}


def test_two_competitions_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experience, "open_replay", lambda folder: replay_of(folder.name))
    with pytest.raises(UserError, match="2 competitions are too few"):
        bench_experience([Path("a"), Path("b")], seed=0, out=None)


def test_a_real_run_is_replayed(tmp_path: Path, forked_solvers: None) -> None:
    from agentkd.agents.agent_k.run import run

    done = run(config(make(tmp_path, rows=80), tmp_path / "run", candidates=4))
    replay = open_replay(tmp_path / "run")
    assert set(replay.seconds) == {name for name in done["candidates"] if name != "constant"}
    everything = replay.score(frozenset(replay.seconds))
    assert everything == pytest.approx(done["score"], abs=1e-6) or everything >= done["score"]
    assert replay.time_to(everything, list(replay.seconds)) <= sum(replay.seconds.values()) + 1e-9
    assert replay.time_to(2.0, list(replay.seconds)) == pytest.approx(sum(replay.seconds.values()))
