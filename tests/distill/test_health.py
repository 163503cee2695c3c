"""A training run that ends before its time: weights that are no numbers, a full disk, kill -9."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkd.distill import checkpoints as module
from agentkd.distill.stages import distill
from agentkd.errors import UserError, WorldError
from tests.support.commands import command_words
from tests.support.lazy import lazily
from tests.support.paths import ROOT
from tests.support.students import little_student, sft_config, weights
from tests.support.warm import TRAIN, warm

torch = lazily("torch")


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of more than a megabyte."""
    return little_student(tmp_path_factory.mktemp("heavy"), width=256)


@pytest.fixture
def after_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[Any], None]], None]:
    """Let something happen after the n-th step of the optimizer, with a checkpoint saved at every step."""
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    step = torch.optim.AdamW.step

    def arrange(number: int, what: Callable[[Any], None]) -> None:
        count = 0

        def stepping(self: Any, *args: Any, **options: Any) -> Any:
            nonlocal count
            result = step(self, *args, **options)
            count += 1
            if count == number:
                what(self)
            return result

        monkeypatch.setattr(torch.optim.AdamW, "step", stepping)

    return arrange


@pytest.fixture
def small_disk() -> Iterator[Callable[..., None]]:
    """Let no file grow past 1 MB, or `limit`: to the writer the same as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda *_, limit=10**6: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def free(limit: int = resource.RLIM_INFINITY) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def checkpoints(out: Path) -> list[str]:
    return [folder.name for folder in (out / "checkpoints").glob("checkpoint-*")]


def test_what_diverges_stops_and_the_last_good_checkpoint_stays(
    student: Path, traces: Path, tmp_path: Path, after_steps: Any
) -> None:
    def spoil(optimizer: Any) -> None:
        optimizer.param_groups[0]["params"][0].data[0, 0] = float("nan")

    after_steps(6, spoil)
    remedy = r"choose a smaller lr=… \(it is 0.01\) and another --out; checkpoint-5 is kept"
    with pytest.raises(UserError, match=f"weights are no longer finite after step 6: {remedy}"):
        distill(sft_config(student, traces, tmp_path / "out"))
    assert checkpoints(tmp_path / "out") == ["checkpoint-5"] and not (tmp_path / "out" / "manifest.json").exists()
    assert all(
        weight.isfinite().all() for weight in weights(tmp_path / "out" / "checkpoints" / "checkpoint-5").values()
    )


def test_a_loss_that_is_no_number_names_its_step(student: Path, traces: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the (loss|gradient) is (nan|inf) at step \d+: choose a smaller lr=…"):
        distill(sft_config(student, traces, tmp_path / "out", lr=1e25))
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_full_disk_at_a_checkpoint(
    heavy: Path, traces: Path, tmp_path: Path, after_steps: Any, small_disk: Any
) -> None:
    out = tmp_path / "out"
    after_steps(4, small_disk)
    message = r"cannot write .*checkpoint-4.*; make room and run the same command again; checkpoint-3 is kept"
    with pytest.raises(WorldError, match=message) as refused:
        distill(sft_config(heavy, traces, out))
    assert "\n" not in str(refused.value)
    assert checkpoints(out) == ["checkpoint-3"], "nothing half written takes room"
    free()
    assert distill(sft_config(heavy, traces, out))["steps"] == 12


def test_a_full_disk_at_the_end(heavy: Path, traces: Path, tmp_path: Path, small_disk: Any) -> None:
    """A checkpoint of adapters still has room, the merged weights have none."""
    wanted = sft_config(heavy, traces, tmp_path / "out", lora=2)
    out = Path(str(wanted.out))
    small_disk()
    with pytest.raises(WorldError, match=r"cannot write .*out/model.safetensors.*; make room and run the same command"):
        distill(wanted)
    assert not (out / "model.safetensors").exists() and checkpoints(out) == ["checkpoint-12"]
    free()
    assert distill(wanted)["steps"] == 12
    assert (out / "manifest.json").exists() and (out / "model.safetensors").exists()


def test_killed_and_resumed_equals_uninterrupted(student: Path, teacher: Path, traces: Path, tmp_path: Path) -> None:
    """kill -9, with all that may be resumed: a teacher's scores, adapters, optimizer, order of the examples."""
    changes = {"method": "logits", "teacher": str(teacher), "top_k": 8, "lora": 4}
    calm, killed = (
        sft_config(student, traces, tmp_path / name, epochs=(6.0,), **changes) for name in ("calm", "killed")
    )
    line = " ".join(["distill", *command_words(killed)])
    environment = {**os.environ, "CHECKPOINTS": "1"}
    out = Path(str(killed.out))
    process = warm(*TRAIN).popen([sys.executable, "-m", "tests.support.commands", line], cwd=ROOT, env=environment)
    while process.poll() is None and not module.last_checkpoint(out / "checkpoints"):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert not (out / "manifest.json").exists()
    distill(calm)
    assert distill(killed)["steps"] == 24
    before, after = weights(tmp_path / "calm"), weights(out)
    assert max((before[name] - after[name]).abs().max().item() for name in before) < 1e-5


DAMAGES: dict[str, bytes] = {
    "optimizer.pt": b"PK\x03\x04 half",
    "scheduler.pt": b"",
    "rng_state.pth": b"\0" * 4096,
    "model.safetensors": b"\xff" * 64,
    "trainer_state.json": b'{"global_step": "x", "log_history": 5}',
}


@pytest.mark.whole
def test_a_damaged_checkpoint_is_one_line(student: Path, traces: Path, tmp_path: Path, after_steps: Any) -> None:
    def spoil(optimizer: Any) -> None:
        optimizer.param_groups[0]["params"][0].data[0, 0] = float("nan")

    after_steps(6, spoil)
    with pytest.raises(UserError):
        distill(sft_config(student, traces, tmp_path / "whole"))
    for name, content in DAMAGES.items():
        out = tmp_path / name
        shutil.copytree(tmp_path / "whole", out)
        (out / "checkpoints" / "checkpoint-5" / name).write_bytes(content)
        (out / "config.yaml").write_text((out / "config.yaml").read_text().replace("/whole", f"/{name}"))
        with pytest.raises(UserError, match=r"checkpoint-5 (cannot|holds more) .*: remove it, then"):
            distill(sft_config(student, traces, out))
    (odd := tmp_path / "trainer_state.json" / "checkpoints" / "checkpoint-x").mkdir()
    (odd / "trainer_state.json").write_bytes(b"{}")
    assert str(module.last_checkpoint(odd.parent)).endswith("checkpoint-5"), "a name that no trainer gives"
    (odd.parent / "checkpoint-5" / "trainer_state.json").write_bytes(b"[" * 100_000)
    assert module.last_checkpoint(odd.parent) is None
