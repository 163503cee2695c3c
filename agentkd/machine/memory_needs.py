"""Which teachers and students fit into this machine's memory: bytes from architecture, not from a table of guesses.

weights = parameters × bytes a parameter; KV cache = 2 (K and V) × layers × KV heads × head size × 2 bytes a token in
flight. Training as `distill` does it is in `training`, which `distill --plan` and `doctor` share.

Checked on the packaged model, on a CPU: llama.cpp with 4 slots of 4,096 tokens takes 0.54 GB resident (0.58 here);
training: docs/distill.md.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from agentkd.config import has_bf16, has_gpu
from agentkd.serving.llama import LOCAL_CONTEXT, LOCAL_SLOTS

GB = 1e9
USABLE = 0.9  # of the memory: vLLM's own share of a GPU, and air for the rest of a machine
SERVED, SERVED_TOKENS = 32, 1024  # requests in flight of a served teacher, and tokens of each
BATCH_TOKENS = 4 * 512  # distill's batch, of examples of 512 tokens
Q4_BYTES = 0.73  # a parameter of a 4-bit GGUF; the packaged one has 0.731, larger models have a little less
LLAMA_BYTES = 0.1e9  # the process and its buffers
VLLM_BYTES = 1.5e9  # the process, its CUDA context or threads, and activations
TRAIN_BYTES = 0.8e9  # torch, transformers, trl and their buffers, as measured
TILE = 4096, 32_768  # tokens and vocabulary entries of the logits that TRL's head has in memory at a time
TILE_COPIES = 10  # of it, as torch makes them on a CPU one after another: logits, probabilities, gradient and between
TILE_COPIES_GPU = 2  # where one Triton kernel writes the gradient over the logits


class Model(NamedTuple):
    """An open model's sizes, as its config.json states them."""

    name: str
    parameters: float
    layers: int
    hidden: int
    kv_heads: int
    head: int
    vocabulary: int
    inner: int  # width of the feed-forward layers

    @property
    def kv_bytes(self) -> int:
        """Of the KV cache in 16 bit, for one token."""
        return 2 * self.layers * self.kv_heads * self.head * 2

    def llama_gb(self, slots: int = LOCAL_SLOTS, context: int = LOCAL_CONTEXT) -> float:
        """Served by llama.cpp from 4-bit weights."""
        return (self.parameters * Q4_BYTES + self.kv_bytes * slots * context + LLAMA_BYTES) / GB

    def vllm_gb(self, weight_bytes: int) -> float:
        """Served by vLLM, with `weight_bytes` a parameter."""
        return (self.parameters * weight_bytes + self.kv_bytes * SERVED * SERVED_TOKENS + VLLM_BYTES) / GB

    def train_gb(self, batch_tokens: int = BATCH_TOKENS, *, gpu: bool = False) -> float:
        """Distilled into, all parameters, on one device."""
        return sum(training(self, batch_tokens, half=gpu, gpu=gpu).values()) / GB


MODELS = (
    Model("SmolLM2-135M", 0.1345e9, 30, 576, 3, 64, 49_152, 1536),
    Model("SmolLM2-360M", 0.3618e9, 32, 960, 5, 64, 49_152, 2560),
    Model("Qwen3-0.6B", 0.596e9, 28, 1024, 8, 128, 151_936, 3072),
    Model("SmolLM2-1.7B", 1.711e9, 24, 2048, 32, 64, 49_152, 8192),
    Model("Qwen3-1.7B", 1.72e9, 28, 2048, 8, 128, 151_936, 6144),
    Model("Qwen3-4B", 4.02e9, 36, 2560, 8, 128, 151_936, 9728),
    Model("Qwen3-8B", 8.19e9, 36, 4096, 8, 128, 151_936, 12_288),
    Model("Qwen3-14B", 14.77e9, 40, 5120, 8, 128, 151_936, 17_408),
    Model("Qwen3-32B", 32.76e9, 64, 5120, 8, 128, 151_936, 25_600),
    Model("Llama-3.3-70B", 70.55e9, 80, 8192, 8, 128, 128_256, 28_672),
)


def training(
    model: Model,
    batch_tokens: int,
    *,
    trained: float | None = None,
    half: bool = False,
    checkpointing: bool = False,
    gpu: bool = False,
    shards: int = 1,
) -> dict[str, float]:
    """Bytes that one process of `distill` has in memory at the peak of a step, by what they hold.

    `batch_tokens`: of the longest micro-batch, padding included. `trained`: parameters that learn, all by default.
    `half`: bfloat16 autocast; weights stay float32. `shards`: processes that share weights, gradients and moments.

    A layer keeps for its backward pass, a token, in float32 (bfloat16): of each of the two norms the input, the
    normalised input and the output (which autocast copies for each of the five layers that read it), 24 (26) bytes a
    hidden unit; of attention q, k, v, the output and its copy, 20 (10); of the feed-forward layer gate, its activation,
    up and their product, 16 (8) bytes an inner unit. (Counted in transformers' Llama as Korthikanti et al. 2022,
    section 4.1, count in theirs; attention itself is fused.) With checkpointing, the input of each layer and the rest
    of one. The head's logits are gone before the layers' gradients come: the larger of both counts."""
    trained = model.parameters if trained is None else trained
    layer = batch_tokens * ((36 if half else 44) * model.hidden + (8 if half else 16) * model.inner)
    kept = batch_tokens * 4 * model.hidden
    tile = min(batch_tokens, TILE[0]) * min(model.vocabulary, TILE[1]) * (2 if half else 4)
    return {
        "weights": 4 * model.parameters / shards,
        "optimizer": 8 * trained / shards,
        "activations": model.layers * kept + layer if checkpointing else model.layers * layer,
        "gradients or logits": max(4 * trained / shards, (TILE_COPIES_GPU if gpu else TILE_COPIES) * tile),
        "process": TRAIN_BYTES,
    }


class Gpu(NamedTuple):
    name: str
    total_gb: float
    free_gb: float


class Memory(NamedTuple):
    """What there is, in GB. `gpus` is empty without an NVIDIA driver."""

    total_gb: float
    available_gb: float
    gpus: tuple[Gpu, ...]


class Fit(NamedTuple):
    """Gigabytes that a model needs and whether they are there: `yes`, `no`, or the number of GPUs that share it."""

    name: str
    llama_gb: float
    llama: str
    vllm_gb: float
    vllm: str
    train_gb: float
    train: str


def memory() -> Memory:
    """Main memory, cut by a container's limit, and the GPUs' by nvidia-smi."""
    total = available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024 / GB
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        total = min(total, int(limit) / GB)
        available = max(0.0, min(available, (int(limit) - int(used)) / GB))
    return Memory(total, available, gpus())


def gpus() -> tuple[Gpu, ...]:
    """Every NVIDIA GPU that nvidia-smi lists; none where it does not answer."""
    if not has_gpu():
        return ()
    ask = [
        str(shutil.which("nvidia-smi")),
        "--query-gpu=name,memory.total,memory.free",
        "--format=csv,noheader,nounits",
    ]
    try:
        lines = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
        rows = [line.rsplit(",", 2) for line in lines if line.strip()]
        return tuple(
            Gpu(name.strip(), float(total) * 2**20 / GB, float(free) * 2**20 / GB) for name, total, free in rows
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def fits(found: Memory) -> list[Fit]:
    """Each model against this machine: vLLM and training on the GPUs where there are some, llama.cpp on the CPU."""
    weight_bytes = 2 if found.gpus or has_bf16() else 4  # vllm_server's dtype
    rows = []
    for model in MODELS:
        llama, vllm, train = model.llama_gb(), model.vllm_gb(weight_bytes), model.train_gb(gpu=bool(found.gpus))
        rows.append(
            Fit(
                model.name,
                round(llama, 2),
                _fit(llama, found._replace(gpus=())),
                round(vllm, 2),
                _fit(vllm, found, shared=True),
                round(train, 2),
                _fit(train, found),
            )
        )
    return rows


def _fit(need_gb: float, found: Memory, *, shared: bool = False) -> str:
    """`shared`: vLLM's tensor parallelism spreads a model over a power of two of equal GPUs."""
    have_gb = min((gpu.total_gb for gpu in found.gpus), default=found.available_gb) * USABLE
    if need_gb <= have_gb:
        return "yes"
    needed = 2 ** math.ceil(math.log2(need_gb / have_gb)) if have_gb else 0
    return f"{needed} GPUs" if shared and 0 < needed <= len(found.gpus) else "no"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
