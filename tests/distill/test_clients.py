"""Clients with images of their own: rounds, a client or the whole killed, and input that cannot be used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import ClientsConfig
from agentkd.distill.clients.plan import plan_clients
from agentkd.distill.clients.run import distill_clients
from agentkd.distill.clients.server import Clients
from agentkd.errors import UserError
from tests.support.lazy import lazily
from tests.support.paths import ROOT
from tests.support.students import weights

np = lazily("numpy")
torch = lazily("torch")

VIT = {
    "model_type": "vit", "image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
RESNET = {
    "model_type": "resnet", "num_channels": 1, "embedding_size": 8, "hidden_sizes": [8], "depths": [1],
    "layer_type": "basic", "image_size": 8,
}  # fmt: skip


def draw(file: Path, label: int, seed: int) -> None:
    from PIL import Image

    values = np.random.default_rng(seed).integers(0, 40, (8, 8), dtype=np.uint8) + np.uint8(70 * label)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two clients that know two of three classes each, a shared folder, and models of two families."""
    folder = tmp_path_factory.mktemp("clients")
    for client, labels in (("ann", (0, 1)), ("bob", (1, 2))):
        for label in labels:
            for number in range(6):
                draw(folder / "data" / client / f"level {label}" / f"{number}.png", label, 100 * number + label)
    for number in range(8):
        draw(folder / "shared" / f"{number}.png", number % 3, 1000 + number)
    for name, settings in (("vit", VIT), ("resnet", RESNET)):
        (folder / f"{name}.json").write_text(json.dumps(settings))
    student = f"{folder}/vit.json,{folder}/resnet.json"
    return {"data": str(folder / "data"), "shared": str(folder / "shared"), "student": student}


def config(bed: dict[str, str], out: Path, **changes: Any) -> ClientsConfig:
    short = {"rounds": 2, "epochs": 1, "exchange_epochs": 1, "tune_epochs": 1, "batch": 8}
    return ClientsConfig(**{**bed, "out": str(out), **short, **changes})


@pytest.mark.whole
@pytest.mark.parametrize("method", ["knfu", "fedmd"])
def test_a_killed_client_and_a_killed_run_equal_an_undisturbed_one(
    method: str, bed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    result = distill_clients(config(bed, tmp_path / "whole", method=method))
    assert result["clients"] == ["ann", "bob"] and result["held_out"] == 4 and result["classes"] == 3
    assert [row["name"] for row in result["rows"]] == ["student", "alone"]
    assert (tmp_path / "whole/report.html").exists() and not list((tmp_path / "whole/ann").glob("round-*"))
    check_card_and_pages(tmp_path / "whole", result, bed)
    models = [json.loads((tmp_path / f"whole/{name}/config.json").read_text()) for name in ("ann", "bob")]
    assert [model["model_type"] for model in models] == ["vit", "resnet"]

    ask = Clients.ask

    def killing(self: Clients, step: str, turn: int) -> Any:
        if (step, turn) == ("digest", 0):  # at once, and another one in the middle of its step
            os.kill(self.processes[0][0].pid, signal.SIGKILL)
            threading.Timer(0.05, lambda: os.kill(self.processes[1][0].pid, signal.SIGKILL)).start()
        return ask(self, step, turn)

    monkeypatch.setattr(Clients, "ask", killing)
    distill_clients(config(bed, tmp_path / "client", method=method))
    assert "is started again" in capsys.readouterr().err

    words = [f"{key}={value}" for key, value in config(bed, tmp_path / "run", method=method).model_dump().items()
             if key not in ("task", "out", "method", "data", "student") and value is not None]  # fmt: skip
    command = [sys.executable, "-m", "agentkd", "distill", "--task", "clients", "--data", bed["data"], "--student"]
    command += [bed["student"], "--method", method, "--out", str(tmp_path / "run"), *words]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "run/exchange").glob("2-*.logits*"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "run/manifest.json").exists()
    monkeypatch.undo()
    distill_clients(config(bed, tmp_path / "run", method=method))
    for other in ("client", "run"):
        for name in ("ann", "bob", "ann/alone"):
            one, two = weights(tmp_path / "whole" / name), weights(tmp_path / other / name)
            assert all(torch.equal(one[key], two[key]) for key in one), (other, name)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("spoiled", "line"),
    [
        ("data/ann/level 0/1.png", "1 of 12 images cannot be read, first .*ann/level 0/1.png"),
        ("shared/1.png", "1 of 8 images cannot be read, first .*shared/1.png"),
        ("one class", "has one class, 'level 1'"),
    ],
)
def test_what_a_client_cannot_read_ends_the_run_before_it_begins(
    spoiled: str, line: str, bed: dict[str, str], tmp_path: Path
) -> None:
    """The client's process says it in one line, and nothing is written."""
    for name in ("data", "shared"):
        shutil.copytree(bed[name], tmp_path / name)
    if spoiled == "one class":
        for folder in ("data/ann/level 0", "data/bob/level 2"):
            shutil.rmtree(tmp_path / folder)
    else:
        (tmp_path / spoiled).write_bytes(b"no image")
    bad = {**bed, "data": str(tmp_path / "data"), "shared": str(tmp_path / "shared")}
    with pytest.raises(UserError, match=line) as refused:
        distill_clients(config(bad, tmp_path / "out"))
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()


def check_card_and_pages(out: Path, result: dict[str, Any], bed: dict[str, str]) -> None:
    """Each client has a card whose code runs, a curve and a page; the whole has a page with a line a client."""
    from PIL import Image

    for name, other in (("ann", "bob"), ("bob", "ann")):
        card, figures = (out / name / "README.md").read_text(), result["per_client"][name]
        assert f"1 other clients\n({other})" in card and "pipeline_tag: image-classification" in card
        assert f"| alone | {figures['alone']:.1f} [" in card and figures["held_out"] == 2
        code = card.partition("```python\n")[2].partition("```")[0]
        values: dict[str, Any] = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Image, "open", lambda _: Image.new("L", (8, 8), 90))
            exec(code, values)
        assert values["logits"].shape == (1, 3)
        assert (out / name / "loss.png").exists() and "Loss" in (out / name / "report.html").read_text()
    page = (out / "report.html").read_text()
    assert "<td>ann</td>" in page and "<td>bob</td>" in page
    from agentkd.report.write import write_report

    assert write_report(out).read_text() == page, "`agentkd report` makes the same page"


@pytest.mark.whole
def test_the_plan_writes_nothing_and_counts_every_step(bed: dict[str, str], tmp_path: Path) -> None:
    plan = plan_clients(config(bed, tmp_path / "out", epochs=2))
    assert not (tmp_path / "out").exists()
    assert plan["clients"]["ann"]["steps"] == {"own": 8, "shared": 2, "tuning": 2, "alone": 10}
    assert plan["seconds"] > 0 and all(one["step_seconds"] > 0 for one in plan["clients"].values())
    assert plan["clients"]["ann"]["parameters"] != plan["clients"]["bob"]["parameters"] and plan["shared"] == 8


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"shared": None}, "needs shared=: a folder of images without labels"),
        ({"data": "nowhere"}, "no such folder: nowhere"),
        ({"student": "a,b,c"}, r"3 models for 2 clients \(ann, bob\)"),
        ({"student": "nowhere.json"}, "no such model: 'nowhere.json'"),
        ({"shared": "EMPTY"}, "has no image"),
        ({"data": "EMPTY"}, "has 0 folders: give one for each of two clients"),
    ],
)
def test_bad_input_is_one_line(changes: dict[str, Any], line: str, bed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    changes = {key: str(tmp_path / "empty") if value == "EMPTY" else value for key, value in changes.items()}
    with pytest.raises(UserError, match=line):
        distill_clients(config(bed, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_targets_of_a_round(bed: dict[str, str], tmp_path: Path) -> None:
    """knfu gives each client its own target, mean and fedmd one for all."""
    from agentkd.distill.clients.client import LOGITS, TARGETS, exchanged, load, save
    from agentkd.distill.clients.run import find_places, fuse_round

    for method, alike in (("knfu", False), ("mean", True), ("fedmd", True)):
        places, made = find_places(config(bed, tmp_path / method, method=method))
        assert places[0].classes == ("level 0", "level 1", "level 2")
        torch.manual_seed(0)
        for place in places:
            save(exchanged(tmp_path / method, 0, place.name, LOGITS), torch.randn(8, 3))
        fuse_round(places, made, 0)
        one, two = (load(exchanged(tmp_path / method, 0, place.name, TARGETS)) for place in places)
        assert torch.allclose(one, two) is alike
