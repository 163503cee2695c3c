"""Models of strangers: nothing of theirs is run, nothing is asked, and each refusal is one line."""

from __future__ import annotations

import ast
import json
import os
import pty
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkd.distill.student import load_model, open_student
from agentkd.errors import UserError
from agentkd.models import find_weights
from agentkd.pretrained import load_encoder, load_pretrained, load_settings
from tests.support.lazy import lazily
from tests.support.paths import ROOT

torch, transformers = lazily("torch"), lazily("transformers")

CODE = """
import os
os.mkdir({made!r})
from transformers import LlamaConfig, LlamaForCausalLM as EvilModel
from transformers import PreTrainedTokenizerFast as EvilTokenizer

class EvilConfig(LlamaConfig):  # of its own, because transformers marks the class of a config that it loads
    pass
"""


@pytest.fixture
def stranger(student: Path, tmp_path: Path) -> Path:
    """A student's folder with a file of code beside it that makes the folder `made`."""
    folder = tmp_path / "stranger"
    shutil.copytree(student, folder)
    (folder / "evil.py").write_text(CODE.format(made=str(tmp_path / "made")))
    return folder


@pytest.fixture
def says_yes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A user at a terminal who answers every question with y."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    ours, theirs = pty.openpty()
    os.write(ours, b"y\n" * 9)
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield
    os.close(ours)


def change(file: Path, **fields: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **fields}))


def own_config(folder: Path) -> None:
    change(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig"})


def own_tokenizer(folder: Path) -> None:
    auto_map = {"AutoTokenizer": [None, "evil.EvilTokenizer"]}
    change(folder / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=auto_map)
    change(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig"})


REFUSAL = r"wants to run code of its own \(evil.Evil\w+\), .*: read it, then allow it with --trust-remote-code"
KINDS: dict[str, Callable[[Path], None]] = {
    "AutoConfig": own_config,
    "AutoTokenizer": own_tokenizer,
    "AutoModelForCausalLM": own_config,
}


@pytest.mark.parametrize("kind", KINDS)
def test_code_of_a_model_is_neither_run_nor_asked_about(
    kind: str, stranger: Path, says_yes: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    KINDS[kind](stranger)
    with pytest.raises(UserError, match=REFUSAL) as refused:
        load_pretrained(getattr(transformers, kind), stranger)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists() and "[y/N]" not in capfd.readouterr().out
    if kind == "AutoConfig":  # what this protects from
        transformers.AutoConfig.from_pretrained(stranger)
        assert (tmp_path / "made").is_dir() and "[y/N]" in capfd.readouterr().out


def test_a_known_kind_of_model_takes_the_librarys_code(stranger: Path, says_yes: None, tmp_path: Path) -> None:
    code = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"}
    change(stranger / "config.json", auto_map=code)
    change(stranger / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil.EvilTokenizer"]})
    model = load_model(open_student(str(stranger)), None)
    assert type(model).__module__.startswith("transformers.") and not (tmp_path / "made").exists()


class Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_pickled_weights_are_one_line(stranger: Path, tmp_path: Path) -> None:
    (stranger / "model.safetensors").unlink()
    torch.save({"x": Evil(tmp_path / "made")}, stranger / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"has pickled weights .pytorch_model.bin., which are not") as refused:
        load_model(open_student(str(stranger)), None)
    assert "\n" not in str(refused.value) and not (tmp_path / "made").exists()
    torch.load(stranger / "pytorch_model.bin", weights_only=False)  # what this protects from
    assert (tmp_path / "made").is_dir()


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "1_Transformer/config.json"])
def test_compiled_code_on_the_hub_is_not_fetched(name: str, stranger: Path) -> None:
    (stranger / name).parent.mkdir(exist_ok=True)
    change(stranger / name, text={"attn_implementation": "org/kernel"})
    with pytest.raises(UserError, match=r"names compiled code, attn_implementation 'org/kernel'"):
        load_settings(stranger)


def test_an_adapter_leads_to_no_other_model(stranger: Path) -> None:
    change(stranger / "adapter_config.json", base_model_name_or_path="another/model", peft_type="LORA")
    with pytest.raises(UserError, match="holds an adapter, not a model: merge it"):
        find_weights(str(stranger))


@pytest.mark.parametrize("kind", ["evil.Pooling", "os.system", "sentence_transformers.util.import_from_string", None])
def test_an_encoder_names_no_class_of_its_own(kind: Any, stranger: Path, tmp_path: Path) -> None:
    (stranger / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    with pytest.raises(UserError, match=r"modules.json names .*: an encoder consists of Transformer, Pooling, Normal"):
        load_encoder(str(stranger))
    assert not (tmp_path / "made").exists()


def test_a_chat_template_reaches_nothing(stranger: Path, tmp_path: Path) -> None:
    """transformers renders templates in Jinja's sandbox; this holds it to that."""
    made = tmp_path / "made"
    (stranger / "chat_template.jinja").write_text(
        "{{ messages.__class__.__base__.__subclasses__() }}"
        f"{{{{ cycler.__init__.__globals__.os.mkdir({str(made)!r}) }}}}"
    )
    tokenizer = open_student(str(stranger)).tokenizer
    with pytest.raises(Exception, match=r"unsafe|undefined"):
        tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert not made.exists()


RUNS = ("from_pretrained", "from_config", "SentenceTransformer", "CrossEncoder", "pipeline")
LOADS = ("torch.load", "np.load", "yaml.", "read_pickle")
PICKLES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


def test_models_are_loaded_in_one_place_and_nothing_is_unpickled() -> None:
    found = []
    for folder in ("agentkd", "agents", "retrievers", "eval", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            name, text = path.relative_to(ROOT).as_posix(), path.read_text()
            if not any(word in text for word in (*RUNS, *PICKLES, *LOADS)):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                    found += [f"{name}:{node.lineno} {item}" for item in names if item.split(".")[0] in PICKLES]
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                    call = ast.unparse(node.func)
                    if is_unsafe(call, {word.arg: ast.unparse(word.value) for word in node.keywords}, name):
                        found.append(f"{name}:{node.lineno} {call}")
    assert not found


def is_unsafe(call: str, given: dict[str | None, str], name: str) -> bool:
    last = call.rpartition(".")[2]
    allowed = ("False", "trust") if name == "agentkd/pretrained.py" else ("False",)  # the user's word, by default no
    return (
        (last in RUNS and given.get("trust_remote_code") not in allowed and "Options" not in call)
        or (call == "torch.load" and given.get("weights_only") != "True")
        or (call == "np.load" and given.get("allow_pickle", "False") != "False")
        or call in ("yaml.unsafe_load", "yaml.full_load", "pd.read_pickle")
        or (call == "yaml.load" and name != "agentkd/runs/untrusted.py")
    )
