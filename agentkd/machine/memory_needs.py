"""The memory that models need as teachers and students, computed from their architecture.

weights = parameters × bytes per parameter; KV cache = 2 (K and V) × layers × KV heads × head size × 2 bytes per token
in flight. `training_bytes` counts what `distill` holds; `distill --plan` and `doctor` share it. docs/distill.md
compares it with measurements.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from agentkd.config import has_bf16
from agentkd.machine.hardware import GB, Memory
from agentkd.serving.llama import LOCAL_CONTEXT, LOCAL_SLOTS

USABLE = 0.9  # share of the memory: as much as vLLM takes of a GPU, and room for the rest of the machine
SERVED, SERVED_TOKENS = 32, 1024  # requests in flight of a served teacher, and tokens per request
BATCH_TOKENS = 4 * 512  # a batch of `distill`: 4 examples of 512 tokens
Q4_BYTES = 0.73  # per parameter of a 4-bit GGUF
LLAMA_BYTES = 0.1e9  # the process and its buffers
VLLM_BYTES = 1.5e9  # the process, its CUDA context or threads, and activations
TRAIN_BYTES = 0.8e9  # torch, transformers, trl and their buffers
TILE = 4096, 32_768  # tokens and vocabulary entries of the logits that TRL's head has in memory at a time
TILE_COPIES = 10  # copies of a tile that torch makes on a CPU: logits, probabilities, gradient and temporaries
TILE_COPIES_GPU = 2  # on a GPU one Triton kernel writes the gradient over the logits


class ModelSizes(NamedTuple):
    """The sizes of a model, as its config.json states them."""

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
        """Bytes of 16-bit KV cache per token."""
        return 2 * self.layers * self.kv_heads * self.head * 2

    def llama_gb(self, slots: int = LOCAL_SLOTS, context: int = LOCAL_CONTEXT) -> float:
        """Memory of a llama.cpp server with 4-bit weights."""
        return (self.parameters * Q4_BYTES + self.kv_bytes * slots * context + LLAMA_BYTES) / GB

    def vllm_gb(self, weight_bytes: int) -> float:
        """Memory of a vLLM server, with `weight_bytes` per parameter."""
        return (self.parameters * weight_bytes + self.kv_bytes * SERVED * SERVED_TOKENS + VLLM_BYTES) / GB

    def train_gb(self, batch_tokens: int = BATCH_TOKENS, *, gpu: bool = False) -> float:
        """Memory of training all parameters on one device."""
        return sum(training_bytes(self, batch_tokens, half=gpu, gpu=gpu).values()) / GB


MODELS = (
    ModelSizes("SmolLM2-135M", 0.1345e9, 30, 576, 3, 64, 49_152, 1536),
    ModelSizes("SmolLM2-360M", 0.3618e9, 32, 960, 5, 64, 49_152, 2560),
    ModelSizes("Qwen3-0.6B", 0.596e9, 28, 1024, 8, 128, 151_936, 3072),
    ModelSizes("SmolLM2-1.7B", 1.711e9, 24, 2048, 32, 64, 49_152, 8192),
    ModelSizes("Qwen3-1.7B", 1.72e9, 28, 2048, 8, 128, 151_936, 6144),
    ModelSizes("Qwen3-4B", 4.02e9, 36, 2560, 8, 128, 151_936, 9728),
    ModelSizes("Qwen3-8B", 8.19e9, 36, 4096, 8, 128, 151_936, 12_288),
    ModelSizes("Qwen3-14B", 14.77e9, 40, 5120, 8, 128, 151_936, 17_408),
    ModelSizes("Qwen3-32B", 32.76e9, 64, 5120, 8, 128, 151_936, 25_600),
    ModelSizes("Llama-3.3-70B", 70.55e9, 80, 8192, 8, 128, 128_256, 28_672),
)


def training_bytes(
    model: ModelSizes,
    batch_tokens: int,
    *,
    trained: float | None = None,
    half: bool = False,
    checkpointing: bool = False,
    gpu: bool = False,
    shards: int = 1,
) -> dict[str, float]:
    """Bytes that one process of `distill` holds at the peak of a step, by what they hold.

    `batch_tokens`: tokens of the longest micro-batch, padding included. `trained`: parameters that learn, by default
    all. `half`: bfloat16 autocast; weights stay float32. `shards`: processes that share weights, gradients and moments.

    A layer keeps for its backward pass, per token, in float32 (bfloat16): for each of the two norms the input, the
    normalised input and the output (which autocast copies for each of the five layers that read it), 24 (26) bytes per
    hidden unit; for attention q, k, v, the output and its copy, 20 (10); for the feed-forward layer gate, its
    activation, up and their product, 16 (8) bytes per inner unit. (Counted for transformers' Llama as in Korthikanti et
    al. 2022, section 4.1; attention itself is fused.) With checkpointing: the input of each layer, and the rest of one.
    The head's logits are freed before the layers' gradients exist, so only the larger of the two counts."""
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


class Fit(NamedTuple):
    """Gigabytes that a model needs, and whether it fits: `yes`, `no`, or the number of GPUs that share it."""

    name: str
    llama_gb: float
    llama: str
    vllm_gb: float
    vllm: str
    train_gb: float
    train: str


def list_fits(found: Memory) -> list[Fit]:
    """Compare each model's needs with the memory.

    vLLM and training use the GPUs where there are any, llama.cpp the CPU."""
    weight_bytes = 2 if found.gpus or has_bf16() else 4  # the dtype of make_vllm_server
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
    """Whether a need fits.

    `shared`: vLLM's tensor parallelism spreads a model over a power of two of equal GPUs."""
    have_gb = min((gpu.total_gb for gpu in found.gpus), default=found.available_gb) * USABLE
    if need_gb <= have_gb:
        return "yes"
    needed = 2 ** math.ceil(math.log2(need_gb / have_gb)) if have_gb else 0
    return f"{needed} GPUs" if shared and 0 < needed <= len(found.gpus) else "no"
