"""An image classifier into a smaller one: data, every method, resume, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import ImagesConfig
from agentkd.distill import checkpoints
from agentkd.distill.images.data import read_images
from agentkd.distill.images.methods import IMAGE_METHODS
from agentkd.distill.images.plan import plan_images
from agentkd.distill.images.run import distill_images
from agentkd.errors import UserError
from tests.support.commands import call
from tests.support.lazy import lazily
from tests.support.students import weights

np = lazily("numpy")
torch = lazily("torch")
transformers = lazily("transformers")

VIT = {
    "model_type": "vit", "image_size": 8, "patch_size": 4, "num_channels": 3, "hidden_size": 8, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
RESNET = {
    "model_type": "resnet", "num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1],
    "layer_type": "basic", "image_size": 16,
}  # fmt: skip


def draw(file: Path, label: int, seed: int) -> None:
    """A noisy image of 8 x 8, the brighter the higher its label."""
    from PIL import Image

    values = np.random.default_rng(seed).integers(0, 40, (8, 8), dtype=np.uint8) + np.uint8(70 * label)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)


def draw_all(folder: Path, count: int = 10) -> Path:
    """Four classes in folders."""
    for label in range(4):
        for number in range(count):
            draw(folder / f"level {label}" / f"{number}.png", label, 10 * number + label)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_all(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A student's config, and a teacher that knows the classes in another order, and sees grey images of 16 x 16."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "student.json").write_text(json.dumps(VIT))
    labels = {number: f"level {3 - number}" for number in range(4)}
    settings = transformers.ResNetConfig(
        **RESNET, id2label=labels, label2id={text: key for key, text in labels.items()}
    )
    torch.manual_seed(1)
    transformers.ResNetForImageClassification(settings).save_pretrained(folder / "teacher")
    return {"student": str(folder / "student.json"), "teacher_model": str(folder / "teacher")}


def config(images: Path, models: dict[str, str], out: Path, **changes: Any) -> ImagesConfig:
    short = {"epochs": 1, "batch": 16, "cmi_epochs": 1}
    return ImagesConfig(data=str(images), out=str(out), **{**short, **models, **changes})


SHORT = ("kd", "ofa", "mcmi")


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=[] if name in SHORT else [pytest.mark.whole]) for name in IMAGE_METHODS],
)
def test_every_method_leaves_an_ordinary_model(
    method: str, images: Path, models: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = distill_images(config(images, models, out, method=method))
    assert [row["name"] for row in result["rows"]] == ["student", "baseline", "teacher"]
    assert (out / "README.md").exists() and (out / "report.html").exists() and not (out / "checkpoints").exists()
    from PIL import Image

    ask = transformers.pipeline("image-classification", model=str(out))
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == result["held_out"] == 8
    for row in rows:
        assert ask(Image.open(images / row["image"]))[0]["label"] == row["student"]
    before = (out / "model.safetensors").stat()
    assert distill_images(config(images, models, out, method=method)) == result
    assert (out / "model.safetensors").stat() == before


class Killed(BaseException):
    """The end of a process, as far as its files show it."""


@pytest.mark.parametrize(
    "method", ["hard", *(pytest.param(name, marks=pytest.mark.whole) for name in ("kd", "mix-kd", "ofa"))]
)
def test_a_killed_run_equals_an_undisturbed_one(
    method: str, images: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    options = {"method": method, "epochs": 3}
    distill_images(config(images, models, tmp_path / "whole", **options))
    step, steps = torch.optim.AdamW.step, 0

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps in (4, 10):  # in the baseline and in the student, each of six steps
            raise Killed
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            distill_images(config(images, models, tmp_path / "killed", **options))
    distill_images(config(images, models, tmp_path / "killed", **options))
    for name in ("", "baseline"):
        one, other = weights(tmp_path / "whole" / name), weights(tmp_path / "killed" / name)
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_teacher_of_other_labels_is_fitted_first(images: Path, models: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "teacher.json").write_text(json.dumps({**VIT, "hidden_size": 32, "intermediate_size": 64}))
    wide = {"teacher_model": str(tmp_path / "teacher.json"), "teacher_epochs": 20, "lr": 5e-3}
    result = distill_images(config(images, models, tmp_path / "out", **wide))
    accuracy = {row["name"]: row["accuracy"] for row in result["rows"]}
    assert accuracy["teacher"] == 100 and "teacher" in result["phases"]


def test_outputs_in_another_order_are_read_by_their_names(images: Path, models: dict[str, str], tmp_path: Path) -> None:
    distill_images(config(images, models, tmp_path / "out"))
    labels = transformers.AutoConfig.from_pretrained(models["teacher_model"]).id2label
    ask = transformers.ResNetForImageClassification.from_pretrained(models["teacher_model"])
    from PIL import Image

    for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines():
        row = json.loads(line)
        image = Image.open(images / row["image"]).resize((16, 16), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image))[None, None] / 255
        assert labels[int(ask(pixel_values=(pixels - 0.5) / 0.5).logits.argmax())] == row["teacher"]


def test_a_csv_and_folders_are_the_same_images(images: Path, tmp_path: Path) -> None:
    files = sorted(images.rglob("*.png"))
    lines = [f"{file},{file.parent.name},{'test' if file.stem == '3' else 'train'}" for file in files]
    (tmp_path / "images.csv").write_text("\n".join(["File,Class,Split", *lines]) + "\n")
    for file in files:
        half = "val" if file.stem == "3" else "train"
        copy = tmp_path / "halves" / half / file.parent.name / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    read = [read_images(tmp_path / name, held_out=0.2, seed=0) for name in ("images.csv", "halves")]
    assert read[0].classes == read[1].classes and len(read[0].train) == len(read[1].train) == 36
    assert [item.file.name for item in read[0].test] == [item.file.name for item in read[1].test] == ["3.png"] * 4


def test_held_out_images_that_are_learned_are_left_out(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_all(tmp_path / "train", 4)
    draw_all(tmp_path / "test", 5)  # four of each five are the same
    assert len(read_images(tmp_path, held_out=0.2, seed=0).test) == 4
    assert "16 held-out images are training images, too" in capsys.readouterr().err


def spoil(kind: str, folder: Path) -> None:
    if kind == "broken":
        (folder / "level 1/1.png").write_bytes((folder / "level 1/1.png").read_bytes()[:40])
    elif kind == "huge":
        from PIL import Image

        Image.new("1", (20_000, 10_000)).save(folder / "level 1/1.png")
    elif kind == "one class":
        for number in (1, 2, 3):
            for file in (folder / f"level {number}").iterdir():
                file.unlink()
    elif kind == "missing class":
        for file in folder.rglob("*.png"):
            half = "test" if file.stem == "1" or "3" in file.parent.name else "train"
            copy = folder / half / file.parent.name / file.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    elif kind == "empty":
        for file in folder.rglob("*.png"):
            file.unlink()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("broken", "1 of 16 images cannot be read, first .*1.png: .*replace or remove"),
        ("huge", "1 of 16 images cannot be read, first .*200000000 pixels. exceeds limit"),
        ("one class", "has one class, 'level 0'"),
        ("missing class", "class 'level 3' has no training image"),
        ("empty", "has no images: give a folder"),
    ],
)
def test_bad_data_are_one_line(kind: str, line: str, models: dict[str, str], tmp_path: Path) -> None:
    spoil(kind, draw_all(tmp_path / "images", 4))
    with pytest.raises(UserError, match=line):
        distill_images(config(tmp_path / "images", models, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n", "has the columns a, b: name one of them 'image'"),
        ("image,label\nx.png,\n", ":2: an image or a class is missing"),
        ("image,label,split\nx.png,a,other\n", ":2: split is 'other': write train or test"),
        ("image,label\nx.png,a\ny.png,b\n", "2 of 2 images cannot be read, first .*x.png"),
        ("", r"has the columns \(none\)"),
    ],
)
def test_a_bad_csv_is_one_line(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(text)
    with pytest.raises(UserError, match=line):
        read_images(tmp_path / "images.csv", held_out=0.2, seed=0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"method": "kdd"}, "unknown method of images 'kdd'.*kd"),
        ({"student": None}, "needs --student"),
        ({"student": "nowhere.json"}, "no such model: 'nowhere.json'"),
        ({"student": {"model_type": "llama"}}, "is a llama, which classifies no images"),
        ({"student": {**VIT, "num_channels": 4}}, "reads 4 channels"),
        ({"data": "nowhere"}, "no such folder or CSV: nowhere"),
    ],
)
def test_a_wrong_option_is_one_line(
    changes: dict[str, Any], line: str, images: Path, models: dict[str, str], tmp_path: Path
) -> None:
    for name, value in changes.items():
        if isinstance(value, dict):
            (tmp_path / "config.json").write_text(json.dumps(value))
            changes = {name: str(tmp_path / "config.json")}
    with pytest.raises(UserError, match=line):
        distill_images(config(images, models, tmp_path / "out").model_copy(update=changes))
    assert not (tmp_path / "out").exists()


def test_the_plan_writes_nothing(images: Path, models: dict[str, str], tmp_path: Path) -> None:
    plan = plan_images(config(images, models, tmp_path / "out"))
    assert plan["steps"] == {"baseline": 2, "student": 2} and plan["step_seconds"]["student"] > 0
    assert not (tmp_path / "out").exists()


def test_the_command(
    images: Path,
    models: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["distill", "--task", "images", "--data", str(images), "--teacher-model", models["teacher_model"]]
    code, out, _ = call(
        [*words, "--student", models["student"], "--out", str(tmp_path / "out"), "--json", "epochs=1"],
        monkeypatch,
        capsys,
    )
    assert code == 0 and json.loads(out)["out"] == str(tmp_path / "out")
    code, _, error = call([*words, "--traces", "runs/x"], monkeypatch, capsys)
    assert code == 2 and "--traces does not go with" in error
    code, _, error = call(["distill", "--task", "imagse"], monkeypatch, capsys)
    assert code == 2 and "images" in error


def test_images_are_decoded_once(
    images: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check, the training and all three evaluations share the pixels; without room each use decodes anew, and the
    student is the same."""
    from agentkd.distill.images import data, decoded

    opened: list[Path] = []
    first = decoded.open_image

    def counting(file: Path) -> object:
        opened.append(file)
        return first(file)

    monkeypatch.setattr(data, "open_image", counting)
    monkeypatch.setattr(decoded, "open_image", counting)
    distill_images(config(images, models, tmp_path / "kept"))
    assert len(opened) == len(set(opened)) == 40
    monkeypatch.setattr(decoded, "KEPT_BYTES", 5000)
    distill_images(config(images, models, tmp_path / "again"))
    assert len(opened) > 100
    one, other = weights(tmp_path / "kept"), weights(tmp_path / "again")
    assert all(torch.equal(one[key], other[key]) for key in one)


STAGES = """
task: images
batch: 16
stages:
  - method: ofa
    epochs: 1
    stage-weight: 0.3
  - method: kd
    epochs: 2
"""


def distill_recipe(
    tmp_path: Path, name: str, images: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> dict[str, Any]:
    """Run STAGES by the command, into a folder of this name."""
    (tmp_path / "recipe.yaml").write_text(STAGES)
    words = ["distill", "--recipe", str(tmp_path / "recipe.yaml"), "--data", str(images), "--json"]
    words += ["--teacher-model", models["teacher_model"], "--student", models["student"]]
    code, out, error = call([*words, "--out", str(tmp_path / name)], monkeypatch, capsys)
    assert code == 0, error
    return dict(json.loads(out))


@pytest.mark.whole
def test_stages_of_a_recipe_follow_each_other(
    images: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The second stage starts from the first one's student, its baseline from the first one's; killed in the second
    stage or run twice, the weights are the same."""
    result = distill_recipe(tmp_path, "whole", images, models, monkeypatch, capsys)
    assert [stage["method"] for stage in result["stages"]] == ["ofa", "kd"]
    assert result["differences"] == result["stages"][1]["differences"] and result["out"] == str(tmp_path / "whole")
    first = tmp_path / "whole/stages/1-ofa"
    settings = (first / "config.yaml").read_text(), (tmp_path / "whole/config.yaml").read_text()
    assert "stage_weight: 0.3" in settings[0] and "epochs: 1.0" in settings[0]
    assert f"student: {first}\n" in settings[1] and "epochs: 2.0" in settings[1]
    before, steps = {name: (first / name / "model.safetensors").stat() for name in (".", "baseline")}, 0
    again = distill_images(config(images, {**models, "student": str(first / "baseline")}, tmp_path / "b", epochs=2))
    one, other = weights(tmp_path / "whole/baseline"), weights(tmp_path / "b/baseline")
    assert again["rows"] and all(torch.equal(one[key], other[key]) for key in one)

    step = torch.optim.AdamW.step

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 11:  # two for both of the first stage, four for the second one's baseline, and in its student
            raise Killed
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", dying)
    with pytest.raises(Killed):
        distill_recipe(tmp_path, "killed", images, models, monkeypatch, capsys)
    manifests = [(tmp_path / "killed" / name / "manifest.json").exists() for name in ("stages/1-ofa", "")]
    assert manifests == [True, False]
    distill_recipe(tmp_path, "killed", images, models, monkeypatch, capsys)
    for name in ("", "baseline", "stages/1-ofa"):
        one, other = weights(tmp_path / "whole" / name), weights(tmp_path / "killed" / name)
        assert all(torch.equal(one[key], other[key]) for key in one), name
    assert before == {name: (first / name / "model.safetensors").stat() for name in (".", "baseline")}


def test_a_teacher_that_a_stage_fits_teaches_the_next_ones(
    images: Path, models: dict[str, str], tmp_path: Path
) -> None:
    from agentkd.distill.images.stages import distill_stages, plan_stages

    fresh = config(images, {**models, "teacher_model": models["student"]}, tmp_path / "out", teacher_epochs=1)
    stages = [fresh, fresh.model_copy(update={"method": "dist"})]
    plan = plan_stages(stages)
    assert plan["seconds"] == pytest.approx(sum(stage["seconds"] for stage in plan["stages"]), abs=0.2)
    assert not (tmp_path / "out").exists()
    result = distill_stages(stages)
    assert "teacher" in json.loads((tmp_path / "out/stages/1-kd/metrics.json").read_text())["phases"]
    assert "teacher" not in result["phases"] and not (tmp_path / "out/teacher").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("stages:\n  - held_out: 0.3\n", "stage 1 has held_out, which all stages share"),
        ("stages:\n  - seed: 1\n", "stage 1 has seed, which all stages share"),
        ("stages: kd\n", "stages is no list"),
        ("stages:\n  - method: [kd]\n", "stages is no list of key: value lines"),
        ("stages:\n  - epohcs: 3\n", "unknown option 'epohcs'; did you mean epochs"),
        ("stages:\n  - method: kd\n  - method: auto\n", "a stage needs a method of its own, not auto"),
        ("stages:\n  - method: kd\n  - method: kdd\n", "unknown method of images 'kdd'"),
    ],
)
def test_wrong_stages_are_one_line(
    text: str, line: str, images: Path, models: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: Any,
) -> None:  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(f"task: images\n{text}")
    words = ["distill", "--recipe", str(tmp_path / "recipe.yaml"), "--data", str(images), "--teacher-model"]
    words += [models["teacher_model"], "--student", models["student"], "--out", str(tmp_path / "out")]
    code, _, error = call(words, monkeypatch, capsys)
    assert code == 2 and line in " ".join(error.split()) and not (tmp_path / "out").exists()


def test_stages_are_for_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "recipe.yaml").write_text("stages:\n  - method: sft\n")
    code, _, error = call(["distill", "--recipe", str(tmp_path / "recipe.yaml")], monkeypatch, capsys)
    assert code == 2 and "has stages, which" in error
