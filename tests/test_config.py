"""One flat config per stage: default < recipe < option < key=value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig, GenerateConfig, default_teacher, load_config
from agentkd.errors import UserError


def load(recipe: Path | None = None, *overrides: str, **options: Any) -> GenerateConfig:
    return load_config(GenerateConfig, recipe=recipe, options=options, overrides=overrides)


def test_the_nearer_value_wins(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("seed: 1\nsamples: 2\nmax-tokens: 5\nlimit: 7\n")
    config = load(recipe, "samples=4", "max_tokens=6", samples=3, limit=8, agent=None)
    assert (config.seed, config.samples, config.max_tokens, config.limit) == (1, 4, 6, 8)
    assert config.agent == "kd-cot" and load(None, "max-tokens=3").max_tokens == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sampels=3", "unknown option 'sampels'; did you mean samples"),
        ("samples=0", "'samples' = 0: .*greater than or equal to 1"),
        ("samples=many", "'samples' = 'many'"),
        ("temperature=-1", "'temperature' = -1"),
        ("samples", "'samples' is not an option; did you mean samples"),
    ],
)
def test_a_wrong_value_is_named(override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(None, override)


@pytest.mark.parametrize("text", ["a:\n  b: 1\n", "- a\n", "a: [1]\n", "just words\n"])
def test_a_recipe_is_flat(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError, match="not a flat recipe"):
        load(tmp_path / "r.yaml")


def test_a_recipe_that_is_not_there_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recipe at"):
        load(tmp_path / "nope.yaml")
    (tmp_path / "r.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="is not YAML"):
        load(tmp_path / "r.yaml")


def test_configs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DistillConfig().seed = 1


def test_the_teacher_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_TEACHER", "openai:gpt")
    assert default_teacher() == "openai:gpt"
    monkeypatch.delenv("AGENTKD_TEACHER")
    monkeypatch.setattr("agentkd.config.defaults.has_gpu", lambda: False)
    assert default_teacher() == "local"
    monkeypatch.setattr("agentkd.config.defaults.has_gpu", lambda: True)
    assert default_teacher() == "vllm:Qwen/Qwen3-8B"
