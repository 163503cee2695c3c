"""The list of experiments fits their modules; one of them, tiny, shows what rows hold."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from agentkd.reproduce import EXPERIMENTS
from agentkd.reproduce.code import read_code
from tests.support.lazy import lazily, require

require("torch", "sklearn")
knfu = lazily("agentkd.reproduce.vision.knfu")
mcmi = lazily("agentkd.reproduce.vision.mcmi")
torch = lazily("torch")
stacked = lazily("agentkd.reproduce.nets.stacked")
scenes = lazily("agentkd.reproduce.beds.scenes")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_comparisons_name_arms_that_exist(name: str) -> None:
    arms, _ = read_code(f"agentkd.reproduce.{EXPERIMENTS[name].module}")
    named = {arm for comparison in EXPERIMENTS[name].comparisons for arm in (comparison.arm, comparison.control)}
    assert named <= set(arms)


def test_rows_of_knfu() -> None:
    rows = {arm: knfu.one(arm, 100, True) for arm in ("local", "knfu")}
    metrics = {comparison.metric for comparison in EXPERIMENTS["knfu"].comparisons}
    for row in rows.values():
        assert metrics <= set(row) and all(math.isfinite(value) for value in row.values())
    assert rows["local"] != rows["knfu"]
    assert rows["knfu"] == knfu.one("knfu", 100, True), "the seed decides everything"


def test_stacked_networks_are_apart() -> None:
    """A copy's logits depend on its own rows and weights alone; averaged copies agree."""
    torch.manual_seed(0)
    models, x = stacked.StackedMlp(3, 4, 5, 2), torch.randn(6, 3, 4)
    other = x.clone()
    other[:, 1] += 1.0
    moved = (models(other) - models(x)).abs().amax((0, 2)) > 0
    assert moved.tolist() == [False, True, False]
    models.average()
    same = models(x[:, :1].expand(-1, 3, -1))
    assert torch.allclose(same[:, 0], same[:, 2])


def test_the_hash_of_the_code_covers_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beds, networks, the loop and methods count, wherever they are imported; docstrings do not."""
    import agentkd.reproduce

    monkeypatch.setattr(agentkd.reproduce, "__path__", [*agentkd.reproduce.__path__, str(tmp_path)])
    files = {
        "first": 'ARMS = {"a": "b"}\ndef one():\n    from agentkd.reproduce.second import two\n',
        "second": "from agentkd.reproduce.third import three\n",
        "third": 'def three():\n    """Say."""\n    return 3\n',
    }

    def read(**changes: str) -> str:
        for name, text in {**files, **changes}.items():
            (tmp_path / f"{name}.py").write_text(text)
        arms, found = read_code("agentkd.reproduce.first")
        assert arms == {"a": "b"}
        return found

    before = read()
    assert read(third='def three():\n    """Tell."""\n    return 3  # a comment\n') == before
    assert read(third="def three():\n    return 4\n") != before
    assert read(second="") != before


def test_an_experiment_on_a_bed_has_the_arms_and_metrics_that_it_compares() -> None:
    for name, experiment in EXPERIMENTS.items():
        arms, _ = read_code(f"agentkd.reproduce.{experiment.module}")
        assert set(experiment.only) <= set(arms), name
        if experiment.on and name.endswith("-mnist"):
            assert "MNIST" in experiment.title and "MNIST" in experiment.bed


def test_held_out_combinations_are_in_no_training_scene() -> None:
    """And each question about a scene has the answer that the scene gives, behind it, as the only label."""
    rng = random.Random(0)
    for _ in range(200):
        assert not any(map(scenes.is_held_out, scenes.make_scene(rng, "seen")))
        assert scenes.is_held_out(scenes.make_scene(rng, "held out")[0])
    thing = scenes.Thing("cross", "red", 0, 2)
    answers = {
        tuple(question): answer
        for question, answer in (scenes.make_question(rng, [thing]) for _ in range(200))
        if question[0] != "is"
    }
    assert answers[("what", "shape", "is", "red", "?")] == ["cross"]
    assert answers[("where", "is", "the", "cross", "?")] == ["top", "right"]
    assert answers[("what", "is", "top", "right", "?")] == ["red", "cross"]
    asked = scenes.ask(0, 20)
    for tokens, labels in zip(asked.tokens.tolist(), asked.labels.tolist(), strict=True):
        learned = [place for place, label in enumerate(labels) if label != scenes.IGNORED]
        assert [tokens[place] for place in learned] == [labels[place] for place in learned]
        assert scenes.VOCABULARY[tokens[learned[0] - 1]] == "?" and scenes.VOCABULARY[tokens[learned[-1]]] == "<end>"
    assert asked.images.shape == (20, 3, 24, 24)
