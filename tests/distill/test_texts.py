"""Plain text into a student: blocks, held-out texts, resume, a budget of tokens, and what cannot be learned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import TextsConfig
from agentkd.distill import checkpoints
from agentkd.distill.texts.blocks import Corpus, encode, read_blocks, write_blocks
from agentkd.distill.texts.plan import plan_texts
from agentkd.distill.texts.run import distill_texts
from agentkd.errors import UserError
from tests.support.commands import call
from tests.support.lazy import lazily, require
from tests.support.students import byte_tokenizer, weights

require("trl")
torch = lazily("torch")
transformers = lazily("transformers")

TEXTS = [f"the number {number} comes before {number + 1}, and that is all there is to say. " for number in range(80)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("texts") / "texts.jsonl", TEXTS)


def write(file: Path, texts: list[str]) -> Path:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return file


def config(corpus: Path, student: Path, out: Path, **changes: Any) -> TextsConfig:
    values = {"corpus": str(corpus), "student": str(student), "out": str(out), "held_out": 0.2, "batch": 8, "lr": 1e-2}
    return TextsConfig.model_validate({**values, "max_length": 32, "precision": "fp32", **changes})


def test_a_student_learns_and_is_an_ordinary_model(corpus: Path, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = distill_texts(config(corpus, student, out, evaluations=3))
    assert result["held_out_after"] < result["held_out_before"] - 1 and result["documents"] + result["held_out"] == 80
    assert result["held_out_losses"][0] == [0, result["held_out_before"]]
    assert result["held_out_losses"][-1] == [result["steps"], result["held_out_after"]]
    left = {path.name for path in out.iterdir()}
    assert left >= {"README.md", "report.html", "loss.png", "metrics.json", "manifest.json", "model.safetensors"}
    assert not left & {"blocks", "checkpoints"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    blocks = write_blocks_of(Corpus.find(str(corpus), None, "text", 0.2), tokenizer, 32, tmp_path / "blocks")
    total = count = 0.0
    for row in blocks["validation"]:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            total += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert result["held_out_after"] == pytest.approx(total / count, abs=1e-3)
    before = (out / "model.safetensors").stat()
    assert distill_texts(config(corpus, student, out, evaluations=3)) == result
    assert (out / "model.safetensors").stat() == before


def write_blocks_of(corpus: Corpus, tokenizer: Any, length: int, folder: Path) -> dict[str, Any]:
    write_blocks(corpus, 80, tokenizer, length, folder)
    return {part: read_blocks(folder, part) for part in ("train", "validation")}


@pytest.mark.parametrize("length", [2, 7, 4000])
def test_each_token_is_in_a_block_once(length: int, corpus: Path, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    found = Corpus.find(str(corpus), None, "text", 0.2)
    blocks = write_blocks_of(found, tokenizer, length, tmp_path)
    for part, table in blocks.items():
        rows = [row["input_ids"] for row in table]
        assert all(len(row) == length for row in rows[:-1]) and 2 <= len(rows[-1]) <= length
        texts = [document.text for own, document in found.parts() if own == part]
        joined = [token for ids in encode(tokenizer, texts) for token in ids]
        assert rows[0] + [token for row in rows[1:] for token in row[1:]] == joined
        assert joined.count(tokenizer.eos_token_id) == len(texts)


def test_copies_are_on_one_side(tmp_path: Path) -> None:
    write(tmp_path / "texts.jsonl", [*TEXTS, "", *TEXTS[:40]])
    parts = {part: set() for part in ("train", "validation", "")}
    for part, document in Corpus.find(str(tmp_path / "texts.jsonl"), None, "text", 0.2).parts():
        parts[part].add(document.text)
    assert not parts["train"] & parts["validation"] and parts[""] == {""} and 8 < len(parts["validation"]) < 25
    write(tmp_path / "held.jsonl", TEXTS[:10])
    found = Corpus.find(str(tmp_path / "texts.jsonl"), str(tmp_path / "held.jsonl"), "text", 0.2)
    sides = [part for part, _ in found.parts()]
    assert [sides.count(part) for part in ("validation", "train", "")] == [10, 100, 21]


class Killed(BaseException):
    """The end of a process, as far as its files show it."""


def test_a_killed_run_equals_an_undisturbed_one(
    corpus: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    whole = distill_texts(config(corpus, student, tmp_path / "whole"))
    step, steps = torch.optim.AdamW.step, 0

    def dying(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps in (3, 9):
            raise Killed
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            distill_texts(config(corpus, student, tmp_path / "killed"))
    again = distill_texts(config(corpus, student, tmp_path / "killed"))
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[key], other[key]) for key in one)
    for name in ("losses", "held_out_losses", "steps", "tokens"):
        assert again[name] == whole[name]


def test_a_budget_of_tokens_is_kept(corpus: Path, student: Path, tmp_path: Path) -> None:
    result = distill_texts(config(corpus, student, tmp_path / "out", tokens=2000, epochs=9, evaluations=1))
    assert result["tokens"] == pytest.approx(2000, rel=0.1) and result["steps"] == round(result["tokens"] / (8 * 31))
    more = distill_texts(config(corpus, student, tmp_path / "more", tokens=12_000, evaluations=1))
    assert more["tokens"] == pytest.approx(12_000, rel=0.1) and more["corpus_tokens"] < 12_000


def test_fresh_weights_know_nothing(corpus: Path, student: Path, tmp_path: Path) -> None:
    first = distill_texts(config(corpus, student, tmp_path / "first", evaluations=1))
    options = {"fresh": True, "layers": 1, "evaluations": 1}
    again = distill_texts(config(corpus, tmp_path / "first", tmp_path / "again", **options))
    assert again["held_out_before"] == pytest.approx(math.log(258), abs=0.3)
    assert again["held_out_before"] > first["held_out_after"] + 1
    assert transformers.AutoConfig.from_pretrained(tmp_path / "again").num_hidden_layers == 1
    assert "random weights at the start" in (tmp_path / "again/README.md").read_text()


@pytest.mark.parametrize(
    ("texts", "changes", "line"),
    [
        ([], {}, "the corpus has no documents"),
        (["", " "], {}, "leaves nothing to learn from .2 are empty or held out, too.: give more texts"),
        (["one text"], {"held_out": 0.0001}, "no document of 1 is held out: give validation=FILES or a larger"),
        (["one text"], {"validation": "nowhere.jsonl"}, "no such file or folder: nowhere.jsonl; give validation="),
        (["one text"], {"corpus": "nowhere"}, "no such file or folder: nowhere"),
        (["one text"], {"corpus": None}, "--corpus names no file"),
        (["one text"], {"field": "body"}, r"has no text in 'body' \(it has text\): give field=NAME"),
        (["one text"], {"student": "nowhere/at/all"}, "nowhere/at/all"),
        (TEXTS, {"layers": 3}, "layers is 3: the student has 2"),
        (TEXTS, {"lr": 1e30}, "choose a smaller lr"),
    ],
)
def test_what_cannot_be_learned_is_one_line(
    texts: list[str], changes: dict[str, Any], line: str, student: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "texts.jsonl", texts)
    with pytest.raises(UserError, match=line) as found:
        distill_texts(config(file, student, tmp_path / "out").model_copy(update=changes))
    assert "\n" not in str(found.value)


def test_a_run_that_does_not_fit_begins_nothing(
    corpus: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkd.distill.texts.needs.available_memory", lambda: ("free", 0.01))
    with pytest.raises(UserError, match=r"training needs .* GB and 0.0 GB are free: try batch=1 accumulate=8"):
        distill_texts(config(corpus, student, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_plan_writes_nothing(corpus: Path, student: Path, tmp_path: Path) -> None:
    plan = plan_texts(config(corpus, student, tmp_path / "out"))
    assert not (tmp_path / "out").exists() and plan["step_seconds"] > 0
    assert plan["tokens"] == pytest.approx(sum(len(text) + 1 for text in TEXTS) * 0.8, rel=0.2)


def test_the_command(
    corpus: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    values = ["max_length=64", "batch=16", "held_out=0.2", "precision=fp32"]
    words = ["distill", "--corpus", str(corpus), "--student", str(student), "--out", str(out), *values]
    code, text, error = call([*words, "--json"], monkeypatch, capsys)
    assert code == 0 and json.loads(text)["out"] == str(out), error
    code, _, error = call([*words, "--traces", "runs/x"], monkeypatch, capsys)
    assert code == 2 and "--traces does not go with --task texts" in error
    (tmp_path / "recipe.yaml").write_text(f"corpus: {corpus}\nheld_out: 2\n")
    code, _, error = call(["distill", "--recipe", str(tmp_path / "recipe.yaml")], monkeypatch, capsys)
    assert code == 2 and "option 'held_out' = 2" in error
    code, _, error = call(["report", str(out)], monkeypatch, capsys)
    assert code == 0, error
