"""Writes a Llama as one GGUF file, for llama.cpp, Ollama and `--teacher local:FILE.gguf`.

For LlamaForCausalLM (SmolLM2, Llama 3) with a byte-level BPE tokenizer. GGUF differs from transformers in three points:

- llama.cpp rotates neighbouring pairs of a head's dimensions, transformers the first half with the second, so the rows
  of the query and key projections are reordered (`interleave_halves`)
- how text is cut before BPE is given by a name (`tokenizer.ggml.pre`) instead of rules. `pre_tokenizer` finds the name
  whose rules in llama.cpp are those of tokenizer.json, and refuses others: a wrong one would cut some strings
  differently
- Llama 3's rope scaling is a tensor with one divisor per frequency

`agentkd bench gguf` checks that both sides give the same results. The format: ggml's docs/gguf.md; names: the `gguf`
package.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.config import slug
from agentkd.errors import UserError, unknown_name
from agentkd.inference.model_folder import open_tokenizer, refuse_pickles
from agentkd.models import find_weights, list_weight_files
from agentkd.pretrained import load_settings
from agentkd.runs.disk import disk_error
from agentkd.runs.progress import say

DTYPES = ("f32", "f16")
_REMEDY = "name a checkout of llama.cpp, whose converter knows more, with --llama-cpp DIR; or serve it: vllm:DIR"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)

Array = npt.NDArray[Any]
Part = tuple[tuple[int, ...], Callable[[], Array]]  # a tensor's shape, and a function that reads it in float32


class NotKnown(UserError):
    """An architecture or a tokenizer that is not written here."""


def export(student: str, *, dtype: str = "f32", out: Path | None = None) -> dict[str, Any]:
    """Write `student` (a directory, hub name or `smollm2-135m`) as GGUF; returns path, size and number of tensors.

    `dtype` is that of matrices; norms and rope factors are always float32. The file appears when it is whole. Raises
    UserError for an architecture or a tokenizer that is not supported, WorldError if the disk refuses.
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    folder = find_weights(student)
    try:
        import gguf
        import torch  # noqa: F401  safetensors needs it for bfloat16, which numpy lacks
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(f"export needs {error.name}: pip install 'agentkd[train]'") from None
    inside = Path(student).is_dir()
    target = out or (Path(student) / f"model-{dtype}.gguf" if inside else Path(f"{slug(student)}-{dtype}.gguf"))
    config = load_settings(folder)
    check_architecture(config, student)
    refuse_pickles(folder)
    tensors = dict(list_tensors(folder, config, dtype))
    writer = gguf.GGUFWriter(None, "llama")
    write_metadata(writer, config, name=Path(student).resolve().name, dtype=dtype)
    add_tokenizer(writer, open_tokenizer(folder, student), config.vocab_size, student)
    say(f"exporting {student} → {target}")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_file(writer, tensors, dtype, temporary)
            temporary.replace(target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:  # numpy gives no reason for a short write; the only one is a full disk
        raise disk_error(target, error if error.errno else OSError(errno.ENOSPC, "the disk is full")) from None
    return {"out": str(target), "dtype": dtype, "bytes": target.stat().st_size, "tensors": len(tensors)}


def check_architecture(config: Any, name: str) -> None:
    """Raise UserError unless llama.cpp's graph `llama` computes this model."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = config.architectures or [config.model_type]
    wrong = None
    if kinds != ["LlamaForCausalLM"]:
        wrong = f"its architecture is {', '.join(kinds)}, known is LlamaForCausalLM"
    elif config.hidden_act != "silu":
        wrong = f"its activation is {config.hidden_act}, known is silu"
    elif rope.get("rope_type", "default") not in ("default", "linear", "llama3"):
        wrong = f"its RoPE is {rope['rope_type']}, known are default, linear and llama3"
    elif rope.get("partial_rotary_factor", 1.0) != 1.0:
        wrong = f"its RoPE turns a share of {rope['partial_rotary_factor']} of a head"
    if wrong:
        raise NotKnown(f"cannot export {name}: {wrong}; {_REMEDY}")


def write_metadata(writer: Any, config: Any, *, name: str, dtype: str) -> None:
    """Write the sizes and constants of the model."""
    import gguf

    rope = config.rope_parameters
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if dtype == "f32" else gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_size(config))
    writer.add_value_length(head_size(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(head_size(config))
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def head_size(config: Any) -> int:
    """The dimensions of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def list_tensors(folder: Path, config: Any, dtype: str) -> Iterator[tuple[str, Part]]:
    """Each tensor by its name in GGUF, with a function that reads it. UserError for one that GGUF has no name for."""
    import gguf
    from safetensors import safe_open

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    files = list_weight_files(folder)
    tied = is_stored_tied(files)
    for file in files:
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118  it is no dict
                if key == "lm_head.weight" and tied:
                    continue  # llama.cpp takes the embeddings if the file has no output matrix
                if (name := names.get_name(key, try_suffixes=(".weight", ".bias"))) is None:
                    raise NotKnown(f"cannot export {folder}: no place in GGUF for its tensor {key}; {_REMEDY}")
                shape = tuple(stored.get_slice(key).get_shape())
                yield name, (shape, tensor_reader(file, key, heads.get(key.split(".")[-2], 0)))
    rope = config.rope_parameters
    if rope.get("rope_type") == "llama3":
        factors = llama3_factors(rope, head_size(config))
        yield "rope_freqs.weight", (factors.shape, lambda: factors)


def is_stored_tied(files: Sequence[Path]) -> bool:
    """Whether the output matrix is not stored, or equals the embedding, whatever config.json says."""
    from safetensors import safe_open

    with ExitStack() as stack:
        opened = [stack.enter_context(safe_open(file, framework="pt")) for file in files]
        one, other = (
            next((stored.get_tensor(name) for stored in opened if name in stored.keys()), None)  # noqa: SIM118
            for name in ("model.embed_tokens.weight", "lm_head.weight")
        )
    return one is None or other is None or bool((one == other).all())


def tensor_reader(file: Path, key: str, heads: int) -> Callable[[], Array]:
    """A function that reads one tensor of a safetensors file; with `heads`, in llama.cpp's order of queries or keys."""

    def read() -> Array:
        from safetensors import safe_open

        with safe_open(file, framework="pt") as stored:
            value: Array = stored.get_tensor(key).float().numpy()
        return interleave_halves(value, heads) if heads else value

    return read


def interleave_halves(rows: Array, heads: int) -> Array:
    """Reorder the rows of a query or key projection [heads * d, …] so that rows rotated together are neighbours.

    >>> interleave_halves(np.arange(8), heads=2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def llama3_factors(rope: dict[str, Any], size: int) -> Array:
    """Llama 3.1's divisors of the size / 2 rope frequencies: 1 for short waves, `factor` for long ones, and a smooth
    transition between them (transformers' `_compute_llama3_parameters`)."""
    frequency = float(rope["rope_theta"]) ** (-np.arange(0, size, 2) / size)
    turns = rope["original_max_position_embeddings"] * frequency / (2 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(1 / ((1 - smooth) / rope["factor"] + smooth), dtype=np.float32)


def add_tokenizer(writer: Any, tokenizer: Any, vocabulary: int, name: str) -> None:
    """Write tokens, merges and special tokens. Raises UserError for a tokenizer that llama.cpp would not reproduce."""
    import gguf

    rules = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {}
    pre = pre_tokenizer(rules)
    odd = [token["content"] for token in rules.get("added_tokens", []) if token["lstrip"] or token["rstrip"]]
    if pre is None:
        raise NotKnown(f"cannot export {name}: its tokenizer is none of those that are known here; {_REMEDY}")
    if odd:
        raise NotKnown(f"cannot export {name}: its token {odd[0]} takes the blanks around it with it; {_REMEDY}")
    if len(tokenizer) > vocabulary:
        raise UserError(
            f"cannot export {name}: {len(tokenizer)} tokens, but embeddings for {vocabulary}; save it again"
        )
    tokens = [f"[PAD{number}]" for number in range(vocabulary)]
    kinds = [gguf.TokenType.UNUSED] * vocabulary
    for token, number in tokenizer.get_vocab().items():
        tokens[number], kinds[number] = token, gguf.TokenType.NORMAL
    for added in rules["added_tokens"]:
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = rules["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for kind in ("bos", "eos", "unk", "pad"):
        if (number := getattr(tokenizer, f"{kind}_token_id")) is not None:
            getattr(writer, f"add_{kind}_token_id")(number)
    ids = tokenizer("a")["input_ids"]  # tried out, because transformers' settings contradict each other
    writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)
    writer.add_add_space_prefix(False)
    if (template := tokenizer.chat_template) is not None:  # of several, llama.cpp takes the one named default
        if isinstance(template, dict) and "default" not in template:
            raise UserError(
                f"cannot export {name}: of its chat templates ({', '.join(sorted(template))}) none is called default; "
                f"call one so, and save the tokenizer again"
            )
        named = template if isinstance(template, str) else [{"name": k, "template": v} for k, v in template.items()]
        writer.add_chat_template(named)


def pre_tokenizer(rules: dict[str, Any]) -> str | None:
    """llama.cpp's name for how tokenizer.json cuts text before and in BPE, or None if none is known."""
    model = rules.get("model", {})
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if model.get("type") != "BPE" or any(model.get(key) for key in odd) or rules.get("normalizer"):
        return None
    given = rules["pre_tokenizer"] or {}
    steps = []
    for step in given.get("pretokenizers", [given]):
        steps.append({key: value for key, value in step.items() if key != "trim_offsets"})  # it changes offsets only

    def byte_level(use_regex: bool) -> dict[str, Any]:
        return {"type": "ByteLevel", "add_prefix_space": False, "use_regex": use_regex}

    digits = {"type": "Digits", "individual_digits": True}
    split = {"type": "Split", "pattern": {"Regex": _LLAMA3}, "behavior": "Isolated", "invert": False}
    # llama.cpp takes a piece that is a token as it is, without merging, for llama-bpe only.
    known = {
        "smollm": ([digits, byte_level(True)], False),
        "gpt-2": ([byte_level(True)], False),
        "llama-bpe": ([split, byte_level(False)], True),
    }
    found = steps, bool(model.get("ignore_merges"))
    return next((name for name, rules_and_merges in known.items() if rules_and_merges == found), None)


def write_file(writer: Any, tensors: dict[str, Part], dtype: str, path: Path) -> None:
    """Write the file with one tensor in memory at a time."""
    kinds = {
        name: np.dtype(np.float16 if dtype == "f16" and len(shape) > 1 else np.float32)
        for name, (shape, _) in tensors.items()
    }
    for name, (shape, _) in tensors.items():
        writer.add_tensor_info(name, shape, kinds[name], math.prod(shape) * kinds[name].itemsize)
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, (_, read) in tensors.items():
            value = read()
            if kinds[name] == np.float16 and np.abs(value).max() > np.finfo(np.float16).max:
                raise UserError(
                    f"{name} has a weight of {np.abs(value).max():.3g}, too large for f16: take --dtype f32"
                )
            writer.write_tensor_data(value.astype(kinds[name]))
        writer.flush()
        for file in writer.fout:
            os.fsync(file.fileno())
    finally:
        writer.close()
