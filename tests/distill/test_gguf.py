"""GGUF files of tiny students, run by llama.cpp: its output, refused models, and a full disk."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.distill.publish import gguf as module
from agentkd.distill.publish.gguf import (
    add_tokenizer,
    export,
    interleave_halves,
    llama3_factors,
    pre_tokenizer,
)
from agentkd.errors import UserError, WorldError
from agentkd.eval.bench.truth import gguf as bench
from agentkd.inference.in_process import format_chat
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Message
from tests.support.lazy import lazily, require
from tests.support.vocabularies import first_tokens

torch = lazily("torch")
require("xllamacpp")


LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
KINDS: dict[str, dict[str, Any]] = {
    "tied": {"tie_word_embeddings": True},
    "grouped": {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "attention_bias": True,
        "rope_parameters": {**LLAMA3, "original_max_position_embeddings": 32},
    },
    "linear": {
        "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
        "rms_norm_eps": 1e-3,
        "mlp_bias": True,
        "vocab_size": 4160,  # more than there are tokens
    },
}


def made(folder: Path, **changes: Any) -> Path:
    """A random Llama with weights so wide that its next token is seldom in doubt."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = first_tokens()
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    settings = LlamaConfig(**{"vocab_size": len(tokenizer), "initializer_range": 0.3, **shape, **changes})
    model = LlamaForCausalLM(settings)
    for name, value in model.named_parameters():  # biases and norms begin as zeros and ones, which would hide them
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.normal_(value, 1.0 if "norm" in name else 0.0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: made(tmp_path_factory.mktemp(name), **changes) for name, changes in KINDS.items()}


@pytest.fixture
def tokenizer() -> Any:
    return first_tokens()


def compared(student: Path, folder: Path, dtype: str = "f32") -> dict[str, Any]:
    export(str(student), dtype=dtype, out=folder / "model.gguf")
    return asyncio.run(bench.compare_engines(str(student), folder, "model.gguf", 120, 35, 0))


@pytest.mark.whole
@pytest.mark.parametrize(("kind", "dtype"), [("grouped", "f32"), ("linear", "f16")])
def test_llama_cpp_says_what_transformers_says(
    students: dict[str, Path], kind: str, dtype: str, tmp_path: Path
) -> None:
    report = compared(students[kind], tmp_path, dtype)
    assert [row["name"] for row in report["rows"]] == ["questions", "prose", "traces", "all"]
    everything = report["rows"][-1]
    assert everything["positions"] == 120 and everything["agreement"] >= 97 and everything["delta"] < 0.02, everything
    assert sum(row["n"] for row in report["strings"]) == 35 and report["differences"] == []


def test_rows_in_the_wrong_order_are_seen(
    students: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "interleave_halves", lambda rows, heads: rows)
    everything = compared(students["grouped"], tmp_path)["rows"][-1]
    assert everything["agreement"] < 90 and everything["delta"] > 0.1, everything


def test_the_command_writes_a_file_that_a_teacher_runs(students: dict[str, Path]) -> None:
    from transformers import AutoTokenizer

    student = students["tied"]
    done = CliRunner().invoke(app, ["export", str(student), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    file = student / "model-f32.gguf"
    assert report["out"] == str(file) and report["bytes"] == file.stat().st_size
    assert report["tensors"] == 20  # 9 a layer, embeddings and the last norm; no output matrix, for it is tied
    messages = [Message(role="system", content="Be short."), Message(role="user", content="Name  3 rivers.")]

    async def asked() -> Any:
        async with open_teacher(f"local:{file}", run=student / "run", options=TeacherOptions(slots=1)) as teacher:
            return await teacher.chat(messages, max_tokens=4)

    reply = asyncio.run(asked())
    prompt = AutoTokenizer.from_pretrained(student)(format_chat(AutoTokenizer.from_pretrained(student), messages))
    assert reply.usage.prompt_tokens == len(prompt["input_ids"])  # the template, and no token put before it


def test_rows_and_factors_by_their_definitions() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rows = np.arange(2 * 6 * 5).reshape(12, 5)
    moved = interleave_halves(rows, heads=2)
    for head in range(2):
        for pair in range(3):
            assert (moved[head * 6 + 2 * pair] == rows[head * 6 + pair]).all()
            assert (moved[head * 6 + 2 * pair + 1] == rows[head * 6 + 3 + pair]).all()
    rope = {**LLAMA3, "original_max_position_embeddings": 256}
    config = LlamaConfig(hidden_size=128, num_attention_heads=2, rope_parameters=rope)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1e4 ** (-torch.arange(0, 64, 2) / 64)
    np.testing.assert_allclose(llama3_factors(rope, 64), (plain / scaled).numpy(), rtol=1e-5)


def test_pre_tokenizers_are_named_or_refused(tokenizer: Any) -> None:
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    _, letters = rules["pre_tokenizer"]["pretokenizers"]
    assert pre_tokenizer(rules) == "smollm"
    assert pre_tokenizer({**rules, "pre_tokenizer": letters}) == "gpt-2"
    assert pre_tokenizer({**rules, "normalizer": {"type": "NFC"}}) is None
    assert pre_tokenizer({**rules, "pre_tokenizer": {**letters, "add_prefix_space": True}}) is None
    split = {"type": "Split", "pattern": {"Regex": module._LLAMA3}, "behavior": "Isolated", "invert": False}
    llama3 = {"type": "Sequence", "pretokenizers": [split, {**letters, "use_regex": False}]}
    whole = {**rules["model"], "ignore_merges": True}
    assert pre_tokenizer({**rules, "pre_tokenizer": llama3, "model": whole}) == "llama-bpe"
    assert pre_tokenizer({**rules, "pre_tokenizer": llama3}) is None  # llama.cpp would not merge
    assert pre_tokenizer({"model": {"type": "Unigram"}}) is None


def test_the_tokenizers_own_habits_are_written(tokenizer: Any) -> None:
    from gguf import GGUFWriter, TokenType
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    tokenizer.add_tokens(["<|mine|>"])
    writer = GGUFWriter(None, "llama")
    add_tokenizer(writer, tokenizer, len(tokenizer) + 1, "any")
    written = {key.removeprefix("tokenizer."): value.value for key, value in writer.kv_data[0].items()}
    assert written["ggml.add_bos_token"] is True and written["ggml.add_eos_token"] is False
    assert [written[f"ggml.{name}_token_id"] for name in ("bos", "eos", "padding")] == [1, 2, 2]
    assert written["ggml.tokens"][-2:] == ["<|mine|>", "[PAD4097]"]
    kinds = [TokenType.CONTROL, TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.UNUSED]
    assert [written["ggml.token_type"][place] for place in (0, 100, -2, -1)] == kinds
    assert written["ggml.merges"][0] == "Ġ t" and "<|im_start|>" in written["chat_template"]
    with pytest.raises(UserError, match="4097 tokens, but embeddings for 4096; save it again"):
        add_tokenizer(GGUFWriter(None, "llama"), tokenizer, 4096, "any")


def test_what_llama_cpp_would_run_otherwise_is_refused(students: dict[str, Path], tmp_path: Path) -> None:
    def changed(name: str, file: str, change: Any) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for path in students["tied"].iterdir():
            if path.is_file() and path.suffix != ".gguf":
                (folder / path.name).write_bytes(path.read_bytes())
        content = json.loads((folder / file).read_text())
        change(content)
        (folder / file).write_text(json.dumps(content))
        return str(folder)

    remedy = r"; name a checkout of llama\.cpp, .* with --llama-cpp DIR; or serve it: vllm:DIR"
    qwen = changed("qwen", "config.json", lambda c: c.update(architectures=["Qwen3ForCausalLM"], model_type="qwen3"))
    with pytest.raises(UserError, match=f"its architecture is Qwen3ForCausalLM, known is LlamaForCausalLM{remedy}"):
        export(qwen)
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    with pytest.raises(UserError, match=f"its RoPE is yarn, known are default, linear and llama3{remedy}"):
        export(changed("yarn", "config.json", lambda c: c.update(rope_parameters=yarn)))
    nfc = changed("nfc", "tokenizer.json", lambda c: c.update(normalizer={"type": "NFC"}))
    with pytest.raises(UserError, match=f"its tokenizer is none of those that are known here{remedy}"):
        export(nfc)
    with pytest.raises(UserError, match="unknown dtype 'q4'; choose one of: f32, f16"):
        export(nfc, dtype="q4")
    from safetensors.torch import load_file, save_file

    large = Path(changed("large", "config.json", lambda c: None))
    tensors = load_file(large / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(tensors, large / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"ffn_up\.weight has a weight of 1e\+06, too large for f16: take --dtype f32"):
        export(str(large), dtype="f16")
    for folder in tmp_path.iterdir():
        assert not list(folder.glob("*.gguf*")) and not list(folder.glob(".*"))


def test_a_full_disk_leaves_the_old_file(students: dict[str, Path], tmp_path: Path) -> None:
    """A limit on the file size stands for the full disk: the kernel cuts the write in the same way."""
    out = tmp_path / "model.gguf"
    out.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for bytes_left in (1000, 400_000):  # within the header, within a tensor
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, before[1]))
        try:
            with pytest.raises(WorldError, match=r"cannot write .*model\.gguf: .*make room and run the same command"):
                export(str(students["tied"]), out=out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"] and out.read_bytes() == b"old"


def test_the_bench_writes_its_figures_and_tells_a_missed_bar(
    students: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "DELTA", 0.0)
    options = ["--positions", "30", "--strings", "14", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, ["bench", "gguf", str(students["tied"]), *options])
    report = json.loads((tmp_path / "gguf.json").read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == report
    assert [item["ok"] for item in report["checks"]][1:] == [False, True]
    assert report["rows"][-1]["agreement"] >= 96 and report["rows"][-1]["delta"] < 0.02
    assert isinstance(done.exception, WorldError) and "mean |Δ log p|, nats is" in str(done.exception)


def test_rows_of_figures() -> None:
    said = bench.Prediction
    passages = [bench.Passage("a", [1, 2, 3], 1), bench.Passage("b", [1, 2], 1)]
    ours = [[said(2, -1.0), said(3, -2.0)], [said(5, -3.0)]]
    theirs = [[said(2, -1.5), said(4, -2.0)], [said(5, -2.0)]]
    a, b, everything = bench.summarise_kinds(passages, ours, theirs)
    assert a == {"name": "a", "positions": 2, "agreement": 50.0, "delta": 0.25, "delta_max": 0.5}
    assert b["agreement"] == 100.0 and b["delta"] == 1.0
    assert everything["positions"] == 3 and everything["delta"] == pytest.approx(0.5) and everything["delta_max"] == 1.0
