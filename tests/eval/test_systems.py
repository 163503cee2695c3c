"""An evaluation of students asks the task of their own traces, and compares them with the model that they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agentkd.config import EvalConfig, load_config
from agentkd.distill.publish.card import find_untrained
from agentkd.distill.publish.lineage import eval_command, read_lineage, write_lineage
from agentkd.errors import UserError, WorldError
from agentkd.eval.kbqa import list_below, list_untrained
from agentkd.eval.systems import System, inherit_task, list_systems

FILMS = {"task": "my films.jsonl", "data": None, "kb": "films.tsv", "retriever": "bm25", "split": "train"}


def student(folder: Path, source: dict[str, Any] | None, base: str = "smollm2-135m") -> str:
    folder.mkdir(parents=True)
    config = {"stage": "distill", "student": base, "form": "path", "traces": str(folder.parent / "gone")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if source is not None:
        write_lineage(folder, source)
    return str(folder)


def parse(*words: str) -> EvalConfig:
    options = dict(zip([word.lstrip("-") for word in words[::2]], words[1::2], strict=True))
    return load_config(EvalConfig, recipe=None, options=options, overrides=[])


def test_what_is_left_open_comes_from_the_students_traces(tmp_path: Path) -> None:
    mine = student(tmp_path / "a", FILMS)
    config = inherit_task(parse("--model", f"smollm2-135m,{mine}"))
    assert (config.task, config.kb, config.retriever, config.split) == ("my films.jsonl", "films.tsv", "bm25", None)
    config = inherit_task(parse("--model", f"vllm:{mine}", "--task", "my films.jsonl", "--retriever", "hybrid"))
    assert (config.kb, config.retriever) == ("films.tsv", "hybrid")
    config = inherit_task(parse("--model", f"local:{mine}/model-f16.gguf", "--task", "geo"))
    assert (config.task, config.kb, config.retriever) == ("geo", None, None)


def test_students_without_lineage_or_of_several_tasks(tmp_path: Path) -> None:
    lost, mine = student(tmp_path / "lost", None), student(tmp_path / "a", FILMS)
    assert inherit_task(parse("--model", f"{lost},smollm2-135m")).task == "geo"
    assert inherit_task(parse("--agent", "top-path")).task == "geo"
    other = student(tmp_path / "b", {**FILMS, "kb": "other.tsv"})
    with pytest.raises(UserError, match=r"was taught on kb films.tsv, .*/b on other.tsv: name the task with --task"):
        inherit_task(parse("--model", f"{mine},{other}"))
    assert inherit_task(parse("--model", f"{mine},{other}", "--task", "geo")).task == "geo"


def test_a_students_run_is_asked_where_the_copy_is_missing(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "config.yaml").write_text(yaml.safe_dump({"stage": "generate", **FILMS}))
    folder = Path(student(tmp_path / "old", None))
    assert read_lineage(folder)["kb"] == "films.tsv"
    (folder / "lineage.json").write_text("{")
    assert read_lineage(folder)["kb"] == "films.tsv"


def test_the_command_names_the_task_and_can_be_pasted() -> None:
    assert eval_command(FILMS, model="me/films") == (
        "agentkd eval --task 'my films.jsonl' --kb films.tsv --retriever bm25 --model me/films"
    )


def test_the_untrained_model_is_found_through_stages(tmp_path: Path) -> None:
    first = student(tmp_path / "a" / "stages" / "1-sft", FILMS)
    second = student(tmp_path / "a" / "last", FILMS, base=first)
    assert find_untrained(Path(second)) == "smollm2-135m"
    systems = [System(name, "path-writer", name, False, "x") for name in ("smollm2-135m", second)]
    assert list_untrained(systems) == {second: "smollm2-135m"}
    assert list_untrained(systems[1:]) == {}


def test_only_a_student_below_its_untrained_model_is_listed() -> None:
    scores = {"base": (100.0, 50.0), "low": (50.0, 50.0), "high": (100.0, 60.0)}
    f1 = {(name, "strict"): dict(zip("ab", values, strict=True)) for name, values in scores.items()}
    (found,) = list_below(f1, "strict", {"low": "base", "high": "base", "absent": "base"})
    assert (found["name"], found["minus"], found["f1"]) == ("low", "base", -25.0)


def test_students_answer_through_vllm_where_a_gpu_and_vllm_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No GPU is here: what is seen of one is scripted. An evaluation takes the server that `vllm:DIR` names."""
    mine = student(tmp_path / "a", FILMS)
    monkeypatch.setattr("agentkd.eval.systems.find_weights", Path)
    config = EvalConfig(model=f"{mine}/")

    def one(**changes: Any) -> System:
        return list_systems(config.model_copy(update=changes))[0]

    monkeypatch.setattr("agentkd.eval.systems.find_vllm", lambda: (Path("python"), False))
    monkeypatch.setattr("agentkd.eval.systems.has_gpu", lambda: False)
    alone = one()
    assert (alone.model, alone.served, capsys.readouterr().err) == (f"{mine}/", False, "")
    monkeypatch.setattr("agentkd.eval.systems.has_gpu", lambda: True)
    through = one()
    assert (through.name, through.model, through.served) == (mine, f"vllm:{mine}/", True)
    assert through.student is not None and through.student.resolve() == Path(mine).resolve()
    assert through.folder == f"{alone.folder}-vllm"  # answers of the two are kept apart
    assert (alone.describe_reading(config, 2), through.describe_reading(config, 2)) == ("weighed", "8 votes")
    assert "students answer through vLLM, by votes; backend=in-process weighs paths" in capsys.readouterr().err
    assert not one(backend="in-process").served and not one(trust_remote_code=True).served

    def missing() -> None:
        raise WorldError("no vLLM found: make test-vllm")

    monkeypatch.setattr("agentkd.eval.systems.find_vllm", missing)
    assert not one().served
    assert "a GPU is here, but students answer in this process" in capsys.readouterr().err
    assert one(backend="vllm").served
