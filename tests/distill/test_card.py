"""The model card: its metadata for the hub, its lineage, and the results that evaluations add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig, EvalConfig
from agentkd.distill.data.dataset import Dataset, build_dataset
from agentkd.distill.publish.card import CLOSE, OPEN, add_results, find_base_model, find_student_folder, write_card
from agentkd.distill.resolve import resolve_stages
from agentkd.eval.kbqa import evaluate
from agentkd.runs.store import RunDirectory
from tests.support.lazy import lazily
from tests.support.students import packaged_student
from tests.support.traces import make_trace, write_run

hub = lazily("huggingface_hub")

SOURCE = {
    "task": "geo", "split": "train", "data": None, "agent": "kd-cot", "teacher": "local", "retriever": "bm25",
    "hash_data": "d" * 8, "hash_kb": "k" * 8, "hash_prompts": "p" * 8,
}  # fmt: skip
METRICS = {
    "examples": 8, "traces": 8, "examples_a_step": 4, "steps": 12, "seconds": 3.4, "loss_first": 2.5, "loss_last": 0.5,
    "losses": [2.5, 0.5],
}  # fmt: skip


def dataset() -> Dataset:
    return build_dataset([make_trace(f"country {number}") for number in range(8)])


def carded(out: Path, student: str = "smollm2-135m", *, source: Any = SOURCE, **changes: Any) -> Any:
    config = DistillConfig.model_validate(
        {"student": student, "traces": str(out.parent / "run"), "out": str(out), **changes}
    )
    (stage,) = resolve_stages(config, source)
    with RunDirectory(out, "distill", stage.config, {"hash_dataset": "1"}):
        write_card(stage, dataset(), {**METRICS, "nll": [2.0, 0.4]})
    return hub.ModelCard.load(out / "README.md")


def test_the_hub_reads_the_front_and_a_person_the_lineage(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [make_trace("country 1")])
    (tmp_path / "run" / "metrics.json").write_text('{"traces": 48, "verified": 40, "questions": 48}')
    card = carded(tmp_path / "geo-sft")
    assert card.data.to_dict() == {
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "license": "apache-2.0",
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["agentkd", "knowledge-distillation", "question-answering", "kbqa"],
    }
    assert card.text.startswith("# geo-sft\n")
    for told in (
        "| task, split | geo, train |", f"| run | {tmp_path / 'run'} |", "| verified traces | 40 of 48, of 48",
        "learned from 8 examples", f"`{dataset().hash}`", "`kkkkkkkk`", "Weights: apache-2.0", "CC BY 4.0",
        "loss 2.5 → 0.5", "At the last step: nll 0.4", "Not evaluated yet", "4-bit ones, dequantised",
    ):  # fmt: skip
        assert told in card.text, told


def test_base_and_licence_are_followed_to_the_hub_or_left_open(tmp_path: Path) -> None:
    carded(tmp_path / "first", "Qwen/Qwen3-0.6B")
    second = carded(tmp_path / "second", str(tmp_path / "first"), source={**SOURCE, "task": "webqsp"})
    assert second.data.base_model == "Qwen/Qwen3-0.6B" and second.data.datasets == ["rmanluo/RoG-webqsp"]
    assert second.data.license == "unknown" and "which are not known here" in second.text
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    third = carded(tmp_path / "third", str(plain), source={**SOURCE, "task": "films.jsonl", "data": "x"})
    assert third.data.license == "mit" and third.data.base_model is None and find_base_model(str(plain)) is None
    assert third.data.datasets is None and "Data: the user's own data" in third.text


def report(task: str, n: int, f1: float) -> dict[str, Any]:
    row = {"hit": 57.5, "f1": f1, "f1_low": f1 - 10, "f1_high": f1 + 10, "tokens": 218.2}
    minus = {"name": "students/a", "minus": "smollm2-135m", "matcher": "strict", "f1": 49.0}
    return {
        "task": task,
        "split": "test",
        "n": n,
        "rows": [
            {"name": "smollm2-135m", "matcher": "strict", **row},
            {"name": "students/a", "matcher": "strict", **row},
            {"name": "students/a", "matcher": "rog", **row, "tokens": None},
        ],
        "differences": [{**minus, "f1_low": 34.2, "f1_high": 63.5}],
    }


def rows(folder: Path) -> list[str]:
    inside = (folder / "README.md").read_text().split(OPEN)[1].split(CLOSE)[0]
    return [line for line in inside.splitlines() if line.startswith("| ")][1:]


def test_results_are_added_replaced_and_never_doubled(tmp_path: Path) -> None:
    carded(out := tmp_path / "a")
    before = (out / "README.md").read_text()
    add_results(out, report("geo", 40, 52.7), ["students/a"], 0)
    assert rows(out) == [
        "| geo | test | 40 | 0 | students/a | strict | 57.5 | 52.7 [42.7, 62.7] | 218 "
        "| +49.0 [+34.2, +63.5] (smollm2-135m) |",
        "| geo | test | 40 | 0 | students/a | rog | 57.5 | 52.7 [42.7, 62.7] | – | – |",
    ]
    once = (out / "README.md").read_text()
    assert once.partition(OPEN)[0] == before.partition(OPEN)[0] and once.endswith(before.partition(CLOSE)[2])
    add_results(out, report("geo", 40, 52.7), ["students/a"], 0)
    assert (out / "README.md").read_text() == once
    add_results(out, report("geo", 40, 60.0), ["students/a"], 0)  # other answers to the same questions
    assert len(rows(out)) == 2 and all("60.0 [50.0, 70.0]" in row for row in rows(out))
    for task, n, seed in (("webqsp", 40, 0), ("geo", 41, 0), ("geo", 40, 1)):
        add_results(out, report(task, n, 10.0), ["students/a"], seed)
    assert len(rows(out)) == 8 and sum("60.0 [50.0, 70.0]" in row for row in rows(out)) == 2
    assert hub.ModelCard.load(out / "README.md").data.license == "apache-2.0"


def test_a_card_of_another_hand_gets_its_results_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n\ntext")
    for _ in range(2):
        add_results(tmp_path, report("geo", 40, 52.7), ["students/a"], 0)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Mine\n\ntext\n\n" + OPEN) and text.endswith(CLOSE + "\n") and len(rows(tmp_path)) == 2


def test_a_student_is_found_behind_each_of_its_names(tmp_path: Path) -> None:
    carded(out := tmp_path / "a")
    (tmp_path / "plain").mkdir()
    for name in (str(out), f"{out}/", f"vllm:{out}", f"local:{out}/model-f32.gguf"):
        assert find_student_folder(name) == out, name
    for name in ("smollm2-135m", str(tmp_path / "plain"), "http://127.0.0.1:1/v1#m", "local", "openai:gpt"):
        assert find_student_folder(name) is None, name


def test_an_evaluation_ends_in_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")

    carded(out := tmp_path / "a")
    packaged_student(out, layers=1, width=16, seed=0)
    monkeypatch.setattr("agentkd.agents.one_call.MAX_TOKENS", 4)
    config = EvalConfig(task="geo", limit=3, retriever="bm25", model=str(out), out=str(tmp_path / "eval"))
    found = evaluate(config)
    assert [row.split(" | ")[1:6] for row in rows(out)] == [
        ["test", "3", "0", str(out), "strict"],
        ["test", "3", "0", str(out), "rog"],
    ]
    card = (out / "README.md").read_text()
    assert found["n"] == 3 and f"[{found['rows'][0]['f1_low']:.1f}, " in card
    evaluate(config)
    assert (out / "README.md").read_text() == card
