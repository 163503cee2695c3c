"""`--method auto`: what is tried and in which order, halving, a killed search, and the choice that is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import ImagesConfig
from agentkd.distill.auto.trials import STEPS, TOP, Trial, Trials, choose, next_training
from agentkd.errors import UserError
from agentkd.recommend.space import Space, Span
from agentkd.recommend.table import Candidate, read_rows
from tests.support.commands import call
from tests.support.lazy import lazily, require

require("torch", "sklearn", "optuna")
images = lazily("agentkd.distill.auto.images")
propose = lazily("agentkd.distill.auto.propose")
np = lazily("numpy")

VIT = {
    "model_type": "vit", "image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 8,
}  # fmt: skip
SPACE = Space(
    {"kd": {"alpha": Span(0.0, 1.0), "lr": Span(1e-4, 1e-2, log=True)}, "dist": {"lr": Span(1e-4, 1e-2, log=True)}},
    {"alpha": 0.5, "lr": 1e-3},
    frozenset(),
)


def trial(number: int, step: int, reward: float) -> Trial:
    return Trial(
        number=number, step=step, method="kd", options={"alpha": number / 100, "lr": 1e-3}, source="optuna",
        reward=reward, seconds=1.0, passes=1.0,
    )  # fmt: skip


def climb(trials: Trials, worth: dict[int, float], count: int) -> list[tuple[int, int]]:
    """Make trainings with these rewards; the longer ones say a little more."""
    order = []
    for _ in range(count):
        number, step = next_training(trials)
        order.append((number, step))
        trials.add(trial(number, step, worth.get(number, 0.0) + step))
    return order


def test_a_third_is_promoted_and_the_default_goes_along(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    order = climb(trials, {0: 50.0, 1: 70.0, 2: 40.0, 3: 60.0, 4: 55.0, 5: 80.0}, 18)
    assert order[:4] == [(0, 0), (1, 0), (2, 0), (1, 1)], "the best of three"
    assert order[4] == (0, 1), "the default follows"
    assert (5, 1) in order and (2, 1) not in order
    assert {step for number, step in order if number == 0} == set(range(len(STEPS)))
    best, rung = choose(trials)
    assert best.number == 5 and rung == TOP
    again = Trials(tmp_path)
    assert again.done == trials.done and next_training(again) == next_training(trials)


def test_of_equal_candidates_the_default_is_chosen(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    climb(trials, dict.fromkeys(range(20), 50.0), 25)
    assert choose(trials)[0].number == 0
    with pytest.raises(UserError, match="ended before the first trial"):
        choose(Trials(tmp_path / "new"))


def test_optuna_is_told_the_rewards_and_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    trials = Trials(tmp_path / "a")
    for number in range(30):
        candidate = propose.ask_optuna(SPACE, trials, seed=0, number=number)
        alpha = float(candidate.options.get("alpha", 0.0))
        made = trial(number, 0, 100 * alpha if candidate.method == "kd" else 0.0)
        trials.add(made.model_copy(update={"method": candidate.method, "options": dict(candidate.options)}))
    late = [each.options["alpha"] for each in trials.done[20:] if each.method == "kd"]
    assert len(late) >= 7 and np.mean(late) > 0.6
    again = Trials(tmp_path / "a")
    assert propose.ask_optuna(SPACE, again, seed=0, number=30) == propose.ask_optuna(SPACE, trials, seed=0, number=30)


def test_options_that_the_user_gave_stay() -> None:
    space = images.make_space(ImagesConfig(lr=5e-3, alpha=0.9))
    assert space.free("kd").keys() == {"temperature"}
    assert space.make("kd", {"lr": 1e-4, "temperature": 3.0}) == Candidate(
        "kd", {"lr": 5e-3, "temperature": 3.0, "alpha": 0.9}
    )


def test_without_a_memory_every_method_has_a_turn_and_half_of_them_are_drawn() -> None:
    space = images.make_space(ImagesConfig())
    default = space.make("kd", {})
    plan = propose.plan_proposals(space, default, {}, [], seed=0)
    first, *others = plan.first
    assert first.candidate == default and {each.candidate.method for each in others} == set(space.methods)
    assert [each.source for each in others[:2]] == ["drawn", "default"]
    assert [each.source for each in others].count("default") == 3, "the usual method is drawn, not repeated"
    drawn = [each.candidate for each in others if each.source == "drawn"]
    rates = {float(each.options["lr"]) for each in drawn}
    assert len(rates) == len(drawn) >= 4 and all(3e-4 <= rate <= 1e-2 for rate in rates), "rates are tried, too"
    assert plan == propose.plan_proposals(space, default, {}, [], seed=0)
    assert plan != propose.plan_proposals(space, default, {}, [], seed=1)
    fixed = propose.plan_proposals(images.make_space(ImagesConfig(lr=5e-3)), default, {}, [], seed=0)
    assert {each.candidate.options["lr"] for each in fixed.first[1:]} == {5e-3}


def draw(folder: Path) -> Path:
    """Three levels of grey, nine noisy images each for training and four held out."""
    from PIL import Image

    for label in range(3):
        for number in range(13):
            rng = np.random.default_rng([label, number])
            values = rng.integers(0, 60, (8, 8), dtype=np.uint8) + np.uint8(80 * label)
            file = folder / ("test" if number > 8 else "train") / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(file)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auto")
    (folder / "model.json").write_text(json.dumps(VIT))
    draw(folder / "images")
    return folder


def config(data: Path, out: Path, **changes: Any) -> ImagesConfig:
    model = str(data / "model.json")
    values = {"teacher_model": model, "student": model, "method": "auto", "epochs": 1.0, "teacher_epochs": 1.0}
    values |= {"batch": 9, "cmi_epochs": 1.0, "budget_passes": 3.4, "out": str(out), "data": str(data / "images")}
    return ImagesConfig.model_validate({**values, **changes})


class Killed(BaseException):
    """The end of a process, as far as its files show it."""


@pytest.mark.whole
def test_a_killed_search_equals_an_undisturbed_one(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_DATA_HOME", str(tmp_path / "one"))
    whole = images.distill_images_auto(config(data, tmp_path / "whole"))
    monkeypatch.setenv("AGENTKD_DATA_HOME", str(tmp_path / "other"))
    add, count = Trials.add, 0

    def dying(self: Trials, made: Trial) -> None:
        nonlocal count
        count += 1
        if count in (2, 6):  # before it is written
            raise Killed
        add(self, made)

    monkeypatch.setattr(Trials, "add", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            images.distill_images_auto(config(data, tmp_path / "killed"))
    killed = images.distill_images_auto(config(data, tmp_path / "killed"))
    timeless = [{k: v for k, v in each["search"].items() if k != "seconds"} for each in (whole, killed)]
    assert timeless[0] == timeless[1] and whole["rows"] == killed["rows"]


def test_the_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKD_DATA_HOME", str(tmp_path / "home"))
    model, out = str(data / "model.json"), tmp_path / "out"
    pair = ["--task", "images", "--data", str(data / "images"), "--teacher-model", model, "--student", model]
    short = ["epochs=1", "teacher_epochs=1", "batch=9", "cmi_epochs=1"]
    auto = ["distill", *pair, "--method", "auto", "--out", str(out), *short]
    code, _, error = call(auto, monkeypatch, capsys)
    assert code == 2 and "--method auto needs --budget-hours" in error
    code, text, _ = call([*auto, "budget_passes=3", "--plan", "--json"], monkeypatch, capsys)
    assert code == 0 and json.loads(text)["first"][0]["method"] == "kd" and not out.exists()
    code, _, error = call(["methods", "recommend", *pair, *short], monkeypatch, capsys)
    assert code == 2 and "too few to learn from" in error
    code, text, _ = call([*auto, "budget_passes=3", "--json"], monkeypatch, capsys)
    found = json.loads(text)
    assert code == 0 and found["search"]["trainings"] >= 3 and found["rows"][0]["name"] == "student"
    lines = (out / "search/trials-0.jsonl").read_text().splitlines()
    assert len(lines) == found["search"]["trainings"] and not (out / "search/work").exists()
    rows = read_rows()
    assert {row.part for row in rows} == {"held-out", "trial"}
    assert sum(row.part == "held-out" for row in rows) >= 1
    code, text, error = call(["methods", "recommend", *pair, *short, "--json"], monkeypatch, capsys)
    assert code == 0, error
    advice = json.loads(text)
    assert advice["recommended"][0]["method"] in images.IMAGE_METHODS and advice["regret"] is None
    before = (out / "model.safetensors").stat()
    code, text, _ = call([*auto, "budget_passes=3", "--json"], monkeypatch, capsys)
    assert json.loads(text) == found and (out / "model.safetensors").stat() == before
