"""Tokenizers without an end or padding, and chat templates without a system role or with several names."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.distill.publish.gguf import export
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.inference.in_process import apply_template, format_chat, open_in_process
from agentkd.inference.model_folder import open_tokenizer
from agentkd.teacher.chat import merge_system
from agentkd.trace import Message
from tests.support.families import family_student
from tests.support.lazy import require
from tests.support.students import TEMPLATE, byte_tokenizer, sft_config

require("torch")
CHAT = [Message(role="system", content="Be short."), Message(role="user", content="Name a river.")]
MERGED = "<|im_start|>user\nBe short.\n\nName a river.<|im_end|>\n<|im_start|>assistant\n"
REFUSES = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TEMPLATE
)
DROPS = TEMPLATE.replace("{% for message in messages %}", "{% for message in messages if message.role != 'system' %}")
ALTERNATES = "{% if messages[0].role != 'user' %}{{ raise_exception('must alternate') }}{% endif %}" + TEMPLATE


def edit(file: Path, **fields: Any) -> None:
    content = {**json.loads(file.read_text()), **fields} if file.exists() else fields
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def without_end(folder: Path, **config: Any) -> Path:
    """A student whose tokenizer names no end and no padding."""
    family_student(folder, "llama")
    edit(folder / "tokenizer_config.json", eos_token=None, pad_token=None)
    edit(folder / "config.json", eos_token_id=None, pad_token_id=None)
    edit(folder / "generation_config.json", eos_token_id=None, pad_token_id=None)
    edit(folder / "config.json", **config)
    return folder


def test_a_model_without_an_end_is_refused_before_anything_is_made(traces: Path, tmp_path: Path) -> None:
    folder = without_end(tmp_path / "student")
    line = "the tokenizer of .*student has no token that ends a text: set eos_token in .*tokenizer_config.json"
    with pytest.raises(UserError, match=line):
        distill(sft_config(folder, traces, tmp_path / "out"))
    assert not (tmp_path / "out").exists()

    async def ask() -> None:
        async with open_in_process(str(folder), name="student", run=tmp_path):
            pass

    with pytest.raises(UserError, match="has no token that ends a text"):
        asyncio.run(ask())


@pytest.mark.parametrize("end", [256, [7, 256]])
def test_an_end_that_the_config_names_is_learned_and_ends(end: Any, traces: Path, tmp_path: Path) -> None:
    folder, out = without_end(tmp_path / "student", eos_token_id=end), tmp_path / "out"
    first = end if isinstance(end, int) else end[0]
    tokenizer = open_tokenizer(folder, "student")
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == first
    if first != 256:
        return
    distill(sft_config(folder, traces, out, epochs=1, limit=2))
    assert open_tokenizer(out, "out").eos_token_id == 256

    async def ask() -> Any:
        async with open_in_process(str(out), name="out", run=tmp_path) as student:
            assert student.model.generation_config.eos_token_id is not None
            return await student.chat(CHAT, max_tokens=4)

    assert asyncio.run(ask()).usage.completion_tokens <= 4


@pytest.mark.parametrize("template", [REFUSES, DROPS, ALTERNATES], ids=["refused", "dropped", "alternating"])
def test_a_system_text_goes_into_the_first_turn_where_it_has_no_place(template: str) -> None:
    tokenizer = byte_tokenizer()
    assert format_chat(tokenizer, CHAT).startswith("<|im_start|>system\nBe short.<|im_end|>")
    tokenizer.chat_template = template
    assert format_chat(tokenizer, CHAT) == MERGED
    assert merge_system(CHAT[1:]) == CHAT[1:] and merge_system(CHAT[:1]) == [Message(role="user", content="Be short.")]


def test_a_student_without_a_system_role_learns_what_it_is_asked(traces: Path, tmp_path: Path) -> None:
    folder = family_student(tmp_path / "student", "llama")
    (folder / "chat_template.jinja").write_text(REFUSES)
    options: dict[str, Any] = {"method": "on-policy", "teacher": str(folder), "rollout_tokens": 4}
    for method in ({}, options):  # TRL formats the prompts of rollouts itself
        out = tmp_path / str(len(method))
        distill(sft_config(folder, traces, out, epochs=1, limit=2, **method))
        assert '"system"' in (out / "dataset.jsonl").read_text(), "the data keep the roles"


def test_several_templates(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    folder = family_student(tmp_path / "student", "llama")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = {"default": TEMPLATE, "tool_use": TEMPLATE + "{# tools #}"}
    tokenizer.save_pretrained(folder)
    assert format_chat(open_tokenizer(folder, "x"), CHAT) == format_chat(byte_tokenizer(), CHAT)
    fields = gguf.GGUFReader(export(str(folder))["out"]).fields
    assert fields["tokenizer.chat_template"].contents() == TEMPLATE
    tokenizer.chat_template = {"rag": TEMPLATE, "tool_use": TEMPLATE}
    with pytest.raises(UserError, match=r"refuses a prompt of roles system, user \(.*multiple chat templates"):
        apply_template(tokenizer, CHAT)
    for file in folder.glob("**/*.jinja"):
        file.unlink()
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"of its chat templates \(rag, tool_use\) none is called default"):
        export(str(folder))
