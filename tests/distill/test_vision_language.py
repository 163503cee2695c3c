"""A vision-language model into a smaller one: two families, stages, resume, and what cannot be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import VisionLanguageConfig
from agentkd.distill import checkpoints
from agentkd.distill.vision_language.plan import plan_vision_language
from agentkd.distill.vision_language.questions import read_questions
from agentkd.distill.vision_language.run import distill_vision_language
from agentkd.errors import UserError
from tests.support.commands import call
from tests.support.lazy import lazily
from tests.support.students import little_student, weights
from tests.support.vision_language import make_model, settings_of, tokenizer_with, write_questions

np = lazily("numpy")
torch = lazily("torch")
transformers = lazily("transformers")
lessons = lazily("agentkd.distill.vision_language.lessons")
llava_kd = lazily("agentkd.methods.llava_kd")

SHORT = {"batch": 8, "lr": 1e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_questions(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """By family, a wider teacher and a student of the same vocabulary."""
    folder = tmp_path_factory.mktemp("models")
    return {
        family: {
            "teacher_model": str(make_model(folder / f"{family} teacher", family, seed=1, width=32)),
            "student": str(make_model(folder / f"{family} student", family)),
        }
        for family in ("llava", "idefics3")
    }


def config(data: Path, models: dict[str, str], out: Path, **changes: Any) -> VisionLanguageConfig:
    return VisionLanguageConfig(data=str(data), out=str(out), **{**SHORT, **models, **changes})


@pytest.mark.parametrize("family", ["llava", "idefics3"])
def test_the_student_is_an_ordinary_model(
    family: str, data: Path, models: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = distill_vision_language(config(data, models[family], out))
    assert [row["name"] for row in result["rows"]] == ["student", "baseline", "teacher"]
    steps = {name: sum(stage["steps"] for stage in stages.values()) for name, stages in result["phases"].items()}
    assert steps["student"] == steps["baseline"], "a fair control takes as many steps"
    assert (out / "README.md").exists() and (out / "report.html").exists() and (out / "loss.png").exists()
    assert not (out / "stages").exists() and not list(out.rglob("checkpoints"))

    model = transformers.AutoModelForImageTextToText.from_pretrained(out)
    processor = transformers.AutoProcessor.from_pretrained(out)
    from PIL import Image

    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == result["held_out"] == 4
    longest = max(len(row["answer"]) for row in rows) + 1  # tokens are bytes
    for row in rows:
        content = [{"type": "image"}, {"type": "text", "text": row["question"]}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        image = Image.open(data.parent / row["image"]).convert("RGB")
        inputs = processor(text=[text], images=[[image]], return_tensors="pt")
        made = model.generate(**inputs, do_sample=False, max_new_tokens=longest, pad_token_id=0)
        said = processor.tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert said.strip() == row["student"]
    before = (out / "model.safetensors").stat()
    assert distill_vision_language(config(data, models[family], out)) == result
    assert (out / "model.safetensors").stat() == before


def test_stages_train_their_parts(data: Path, models: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """A teacher is tuned first where it is asked for; the image tower of a trained model stays as it is."""
    out = tmp_path / "out"
    result = distill_vision_language(config(data, models["llava"], out, teacher_epochs=4, lr=5e-3, batch=4))
    assert result["phases"]["teacher"]["tuning"]["steps"] == 20
    losses = json.loads((out / "teacher/fit.json").read_text())["losses"]
    assert losses[-1] < 0.8 * losses[0]
    before, after = weights(Path(models["llava"]["student"])), weights(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("projector" in name for name in changed) and any("layers" in name for name in changed)
    assert not any("vision_tower" in name for name in changed)


class Killed(BaseException):
    """The end of a process, as far as its files show it."""


def test_a_killed_run_equals_an_undisturbed_one(
    data: Path, models: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    distill_vision_language(config(data, models["llava"], tmp_path / "whole"))
    step, steps = torch.optim.AdamW.step, 0

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps in (2, 8, 13):  # in the baseline, in its second stage and in the student
            raise Killed
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", dying)
    for _ in range(3):
        with pytest.raises(Killed):
            distill_vision_language(config(data, models["llava"], tmp_path / "killed"))
    distill_vision_language(config(data, models["llava"], tmp_path / "killed"))
    for name in ("", "baseline"):
        one, other = weights(tmp_path / "whole" / name), weights(tmp_path / "killed" / name)
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.whole
def test_kill_9_and_resume(data: Path, models: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """A process that dies by SIGKILL between two stages, and the same command again."""

    def command(out: Path) -> list[str]:
        words = [sys.executable, "-m", "agentkd", "distill", "--method", "llava-kd", "--data", str(data)]
        words += ["--teacher-model", models["llava"]["teacher_model"], "--student", models["llava"]["student"]]
        return [*words, "--out", str(out), "batch=8", "lr=1e-3"]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(command(tmp_path / "killed"), stderr=subprocess.DEVNULL)
    while not (tmp_path / "killed/stages/dpt/fit.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_images_of_unequal_tokens_are_means_of_samples() -> None:
    """Grouped by their number of tokens or one by one: the same. Alike everywhere: the method's own total."""
    torch.manual_seed(0)
    own, other = torch.randn(3, 7, 5), torch.randn(3, 7, 5)
    mask = torch.tensor([[0, 1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0]]).bool()
    whole = lessons.compare_images(own, other, mask)
    for place in (0, 1):
        parts = [lessons.compare_images(own[[n]], other[[n]], mask[[n]])[place] for n in range(3)]
        assert torch.allclose(whole[place], torch.stack(parts).mean())
    alike = torch.zeros(3, 7, dtype=torch.bool)
    alike[:, 1:4] = True
    labels = torch.full((3, 7), -100)
    labels[:, 5:] = 2
    expected = llava_kd.llava_kd_loss(torch.zeros(()), own, other, labels, visual=slice(1, 4))
    assert torch.allclose(torch.stack(lessons.compare_images(own, other, alike)), torch.stack(expected[2:]))


ROW = {"image": "0.png", "question": "how?", "answer": "dark"}


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([{**ROW, "question": ""}], "questions.jsonl:1: the image '0.png' has no question: ask one, or remove"),
        ([ROW, {**ROW, "image": None}], "questions.jsonl:2: the question 'how\\?' has no image: name one, or remove"),
        ([ROW, {**ROW, "answer": 3}], "questions.jsonl:2: answer is '3', which is no text"),
        ([ROW, {"question": "how?", "answer": "a"}], "questions.jsonl:2: the question 'how\\?' has no image: name one"),
        ([{**ROW, "answer": " "}], "questions.jsonl:1: the question 'how\\?' has no answer"),
        ([{**ROW, "split": "other"}], "questions.jsonl:1: split is 'other': write train or test"),
        ([ROW, {**ROW, "split": "test"}], "some rows have a split and some have none"),
        ([ROW, {**ROW, "image": "nowhere.png"}], "1 of 2 images cannot be read, first .*nowhere.png"),
        (
            [ROW, {**ROW, "image": "broken.png"}],
            "1 of 2 images cannot be read, first .*broken.png: .*replace or remove",
        ),
        ([ROW], "has 1 questions to learn from and 0 to hold out"),
        ([], "has no rows"),
        (["no object"], "questions.jsonl:1: not an object"),
    ],
)
def test_bad_data_are_one_line(rows: list[Any], line: str, data: Path, tmp_path: Path) -> None:
    png = (data.parent / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(png)
    (tmp_path / "broken.png").write_bytes(png[:40])
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=line):
        read_questions(file, None, held_out=0.2, seed=0)


def test_an_image_is_held_out_with_all_its_questions(data: Path) -> None:
    read = read_questions(data, data.parent, held_out=0.3, seed=0)
    assert {each.image for each in read.train}.isdisjoint(each.image for each in read.test)
    assert len(read.test) == 2 * round(0.3 * 12) and len(read.train) + len(read.test) == 24


def test_images_without_questions_are_counted(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text("".join(line + "\n" for line in data.read_text().splitlines()[:20]))
    read_questions(file, data.parent, held_out=0.2, seed=0)
    assert "2 of 12 images have no question, and are left out, first 10.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        ("vocabulary", "the vocabulary of the teacher .* differs from that of the student .* in 1 tokens"),
        ("patches", "an image has 16 tokens for .* and 4 tokens for .*: llava-kd compares them one by one"),
        ("llama", "is a llama, which has no image tower: choose a LLaVA"),
        ("fresh teacher", "has no weights: give teacher_epochs="),
        ("no processor", "has no processor"),
        ("no model", "no such model: 'nowhere'"),
        ("no student", "--task vision-language needs --student"),
    ],
)
def test_a_pair_that_does_not_fit_is_one_line(
    spoil: str, line: str, data: Path, models: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    changes: dict[str, Any] = dict(models["llava"])
    if spoil == "vocabulary":
        changes["teacher_model"] = str(make_model(tmp_path / "teacher", "llava", tokenizer=tokenizer_with("<more>")))
    elif spoil == "patches":
        changes["teacher_model"] = str(make_model(tmp_path / "teacher", "llava", side=16))
    elif spoil == "llama":
        changes["student"] = str(little_student(tmp_path / "student"))
    elif spoil in ("fresh teacher", "no processor"):
        name = "teacher_model"
        (tmp_path / "config.json").write_text(json.dumps(settings_of("llava", tokenizer_with())))
        changes[name] = str(tmp_path / "config.json")
        if spoil == "fresh teacher":
            transformers.AutoProcessor.from_pretrained(changes["student"]).save_pretrained(tmp_path)
            changes[name] = str(tmp_path)
    else:
        changes["student"] = "nowhere" if spoil == "no model" else None
    with pytest.raises(UserError, match=line):
        distill_vision_language(config(data, {}, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_the_plan_writes_nothing(data: Path, models: dict[str, dict[str, str]], tmp_path: Path) -> None:
    plan = plan_vision_language(config(data, models["llava"], tmp_path / "out", teacher_epochs=2))
    assert plan["steps"] == {
        "teacher": 6, "baseline/pt": 3, "baseline": 6, "student/dpt": 3, "student/sft": 3, "student/dft": 3
    }  # fmt: skip
    assert plan["seconds"] > 0 and not (tmp_path / "out").exists()


def test_the_command(
    data: Path,
    models: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The method tells the task; a student that is a config alone takes the teacher's processor."""
    (tmp_path / "config.json").write_text(json.dumps(settings_of("llava", tokenizer_with())))
    words = ["distill", "--method", "llava-kd", "--data", str(data), "--student", str(tmp_path / "config.json")]
    words += ["--teacher-model", models["llava"]["teacher_model"], "--out", str(tmp_path / "out")]
    code, out, _ = call([*words, "--json", "batch=16"], monkeypatch, capsys)
    assert code == 0 and json.loads(out)["held_out"] == 4
    assert (tmp_path / "out/processor_config.json").exists()
    code, _, error = call([*words, "--traces", "runs/x"], monkeypatch, capsys)
    assert code == 2 and "--traces does not go with" in error
    code, _, error = call(["distill", "--task", "vision-langauge"], monkeypatch, capsys)
    assert code == 2 and "vision-language" in error
