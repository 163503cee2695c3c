"""`agentkd export` through the programs of llama.cpp: which is taken, what it is asked, and what its failures say.

The programs are stand-ins that write down how they were called. That the real converter writes Qwen3 which llama.cpp
reads as transformers does was tried by hand (docs/log.md)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkd.cli.main import app, run_command
from agentkd.distill.publish.export import export
from agentkd.errors import UserError, WorldError
from tests.support.lazy import require
from tests.support.students import byte_tokenizer
from tests.support.vocabularies import first_tokens

require("torch", "transformers", "gguf")

CONVERTER = """import json, os, pathlib, sys
folder, _, out, _, kind = sys.argv[1:]
print("loading")
if os.environ.get("FAIL"):
    sys.exit(os.environ["FAIL"])
called = {"folder": folder, "type": kind, "offline": os.environ["HF_HUB_OFFLINE"], "path": os.environ.get("PYTHONPATH")}
pathlib.Path(out).write_text(json.dumps(called))
"""
QUANTISER = """#!{python}
import sys
whole, out, kind = sys.argv[1:]
open(out, "wb").write(open(whole, "rb").read(8) + kind.encode())
"""


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("qwen"), "Qwen3", first_tokens(), head_dim=16)


def saved(folder: Path, kind: str, tokenizer: Any, **changes: Any) -> Path:
    import transformers

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), num_key_value_heads=2, **shape, **changes
    )
    getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of llama.cpp that was built, with stand-ins; nothing is on PATH."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    folder = tmp_path / "llama.cpp"
    (folder / "build/bin").mkdir(parents=True)
    (folder / "convert_hf_to_gguf.py").write_text(CONVERTER)
    quantiser = folder / "build/bin/llama-quantize"
    quantiser.write_text(QUANTISER.format(python=sys.executable))
    quantiser.chmod(0o755)
    return folder


def test_what_is_not_written_here_is_left_to_llama_cpp(
    qwen: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export(str(qwen), dtype="BF16", llama_cpp=str(checkout), out=tmp_path / "a.gguf")
    called = json.loads((tmp_path / "a.gguf").read_text())
    assert called == {"folder": str(qwen.resolve()), "type": "bf16", "offline": "1", "path": None}
    assert (done["written_by"], done["dtype"]) == ("llama.cpp", "bf16")
    monkeypatch.setenv("LLAMA_CPP", str(checkout))
    assert export(str(qwen), out=tmp_path / "b.gguf")["written_by"] == "llama.cpp"
    monkeypatch.delenv("LLAMA_CPP")
    (checkout / "convert_hf_to_gguf.py").chmod(0o755)
    monkeypatch.setenv("PATH", str(checkout))
    assert export(str(qwen), dtype="q8_0", out=tmp_path / "c.gguf")["written_by"] == "llama.cpp"
    assert sorted(path.name for path in tmp_path.glob("*.gguf*")) == ["a.gguf", "b.gguf", "c.gguf"]


def test_a_llama_is_written_here_and_then_quantised(checkout: Path, tmp_path: Path) -> None:
    llama = saved(tmp_path / "llama", "Llama", first_tokens())
    done = export(str(llama), dtype="q4_k_m", llama_cpp=str(checkout))
    assert done["written_by"] == "agentkd" and done["out"] == str(llama / "model-q4_k_m.gguf")
    content = Path(done["out"]).read_bytes()
    assert content.startswith(b"GGUF") and content.endswith(b"Q4_K_M") and done["bytes"] == len(content)
    assert export(str(llama), dtype="f16", llama_cpp=str(checkout))["written_by"] == "agentkd"
    assert not list(llama.glob(".*"))


def test_what_is_missing_is_named(qwen: Path, checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"its architecture is Qwen3ForCausalLM, known is LlamaForCausalLM; name a checkout"
    ):
        export(str(qwen))
    with pytest.raises(
        UserError, match=r"--dtype bf16 needs convert_hf_to_gguf.py: name a checkout of llama.cpp with --ll"
    ):
        export(str(qwen), dtype="bf16")
    (checkout / "build/bin/llama-quantize").unlink()
    with pytest.raises(UserError, match=r"--dtype q4_k_m needs llama-quantize: build llama.cpp"):
        export(str(qwen), dtype="q4_k_m", llama_cpp=str(checkout))
    with pytest.raises(UserError, match="--llama-cpp /gone: no such folder"):
        export(str(qwen), llama_cpp="/gone")
    with pytest.raises(UserError, match="unknown dtype 'q4_k'; did you mean q4_k_"):
        export(str(qwen), dtype="q4_k")


def test_a_program_that_fails_is_one_line_and_leaves_nothing(
    qwen: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.gguf"
    monkeypatch.setenv("FAIL", "NotImplementedError: BPE pre-tokenizer was not recognized")
    with pytest.raises(
        UserError, match=r"convert_hf_to_gguf.py cannot write .* \(NotImplementedError: BPE.*take a newer"
    ):
        export(str(qwen), dtype="bf16", llama_cpp=str(checkout), out=target)
    monkeypatch.setenv("FAIL", "OSError: [Errno 28] No space left on device")
    with pytest.raises(WorldError, match="make room"):
        export(str(qwen), dtype="bf16", llama_cpp=str(checkout), out=target)
    monkeypatch.delenv("FAIL")
    os.chmod(checkout / "build/bin/llama-quantize", 0o644)
    with pytest.raises(WorldError, match=r"cannot run .*llama-quantize"):
        export(str(qwen), dtype="q6_k", llama_cpp=str(checkout), out=target)
    assert not target.exists() and not list(tmp_path.glob(".a*"))


def test_code_in_the_folder_is_not_handed_to_the_converter(checkout: Path, tmp_path: Path) -> None:
    own = saved(tmp_path / "own", "Llama", byte_tokenizer())
    (own / "modeling_own.py").write_text("raise SystemExit\n")
    argv = ["export", str(own), "--dtype", "bf16", "--llama-cpp", str(checkout)]
    with pytest.raises(UserError, match=r"has code of its own \(modeling_own.py\)"):
        export(str(own), dtype="bf16", llama_cpp=str(checkout))
    assert run_command(lambda: app(argv, standalone_mode=False)) == 2
