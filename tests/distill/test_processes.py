"""Two processes learn what one learns from the doubled batch, through accelerate's launcher and the shipped configs.

The launcher and the processes that it starts are forked from a warm one, which has imported torch.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentkd.config import DistillConfig
from agentkd.distill.stages import distill
from agentkd.distill.student import load_model, open_student
from tests.support.commands import command_words
from tests.support.lazy import lazily
from tests.support.paths import ROOT
from tests.support.students import sft_config, weights
from tests.support.warm import TRAIN, warm

torch = lazily("torch")

CONFIGS = ROOT / "recipes" / "accelerate"


def launch(name: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """Command lines of agentkd, in two CPU processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = [sys.executable, "-I", "-S", str(ROOT / "tests/support/warm_client.py"), warm(*TRAIN).path]
    here = ["--num_processes", "2", "--main_process_port", port, "--no_python", *ranks, "-m", "tests.support.commands"]
    return warm(*TRAIN).run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / name), *here, *lines],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def alone(
    student: Path, teacher: Path, traces: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, DistillConfig]:
    """Students that one process has trained with the doubled batch."""
    kinds = {"sft": {}, "logits": {"method": "logits", "teacher": str(teacher), "top_k": 8}, "lora": {"lora": 4}}
    root = tmp_path_factory.mktemp("alone")
    configs = {kind: sft_config(student, traces, root / kind, batch=4, **changes) for kind, changes in kinds.items()}
    for config in configs.values():
        distill(config)
    return configs


def apart(one: Path, other: Path) -> float:
    before, after = weights(one), weights(other)
    assert before.keys() == after.keys()
    return max((before[name] - after[name]).abs().max().item() for name in before)


@pytest.mark.whole
@pytest.mark.parametrize("name", ["ddp.yaml", "fsdp2.yaml"])
def test_two_processes_are_one_with_the_doubled_batch(
    name: str, alone: dict[str, DistillConfig], student: Path, traces: Path, tmp_path: Path
) -> None:
    lines = []
    for kind, config in alone.items():
        two = config.model_copy(update={"batch": 2, "out": str(tmp_path / kind)})
        lines.append(" ".join(["distill", "--json", *command_words(two)]))
    refused = f"distill --student {student} --traces {traces} --out {tmp_path / 'refused'} max_length=3"
    result = launch(name, *lines, refused)
    assert len(result.stdout.splitlines()) == len(lines), f"rank 0 alone prints: {result.stderr}"
    assert result.stderr.count("8 examples of 8 traces from") == len(lines) + 1
    assert result.returncode != 0 and result.stderr.count("error: all 8 examples are longer than 3 tokens") == 1
    assert not (tmp_path / "refused").exists()
    parallel = {json.loads(line)["parallel"] for line in result.stdout.splitlines()}
    assert parallel == {"MULTI_CPU" if name == "ddp.yaml" else "FSDP"}
    for kind, config in alone.items():
        out = tmp_path / kind
        assert apart(Path(str(config.out)), out) < 2e-5, kind
        assert (out / "manifest.json").exists() and (out / "README.md").exists()
        load_model(open_student(str(out)), None)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_configs(path: Path) -> None:
    """DeepSpeed cannot be installed on every machine: its config is at least one that accelerate accepts."""
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(path))
    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}
    assert found.distributed_type.value == kinds[path.stem] and found.num_processes == 8
    if path.stem == "zero3":
        assert found.deepspeed_config["zero_stage"] == 3 and found.deepspeed_config["zero3_save_16bit_model"] is True
