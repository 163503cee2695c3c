"""`--trust-remote-code`: a model with code of its own, which does with its logits what no model of the library does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.inference.in_process import continuation_ids, open_in_process
from agentkd.pretrained import load_pretrained
from tests.support.families import family_student
from tests.support.lazy import lazily
from tests.support.students import byte_tokenizer, sft_config

torch = lazily("torch")

CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, *args, **options):
        out = super().forward(*args, **options)
        out.logits = out.logits * self.config.sharpness
        return out
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    folder = family_student(tmp_path / "own", "llama")
    (folder / "modeling_own.py").write_text(CODE)
    content = json.loads((folder / "config.json").read_text())
    content |= {"model_type": "own", "architectures": ["OwnForCausalLM"], "sharpness": 2.5}
    content["auto_map"] = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
    }
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_a_models_own_code_runs_only_where_the_user_says_so(own: Path, traces: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    values: dict[str, Any] = {"epochs": 1, "limit": 2, "lr": 1e-9, "top_k": 258, "trust_remote_code": True}
    values |= {"method": "logits", "teacher": str(own)}
    line = r"own wants to run code of its own \(modeling_own.OwnConfig\), .* allow it with --trust-remote-code"
    with pytest.raises(UserError, match=line):
        distill(sft_config(own, traces, tmp_path / "out", **{**values, "trust_remote_code": False}))
    assert not (tmp_path / "out").exists()
    metrics = distill(sft_config(own, traces, tmp_path / "out", **values))
    assert abs(metrics["divergence"][0]) < 1e-3  # it is its own teacher
    assert (tmp_path / "out" / "modeling_own.py").is_file()

    async def ask(trust: bool) -> Any:
        async with open_in_process(str(tmp_path / "out"), name="s", run=tmp_path, trust=trust) as student:
            return await student.complete("Path:\n", choices=["capital", "river"])

    with pytest.raises(UserError, match="wants to run code of its own"):
        asyncio.run(ask(False))
    model = load_pretrained(AutoModelForCausalLM, own, trust=True, dtype=torch.float32).eval()
    assert model.config.sharpness == 2.5
    tokenizer, expected = byte_tokenizer(), []
    for choice in ("capital", "river"):
        prompt, ids = tokenizer("Path:\n")["input_ids"], continuation_ids(tokenizer, choice)
        with torch.no_grad():
            log_p = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected.append(float(log_p[range(len(ids)), ids].sum()))
    assert asyncio.run(ask(True)).log_p == pytest.approx(expected, abs=1e-3)
