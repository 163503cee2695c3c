"""Students of a few random layers, how they are trained, and their weights.

Most of such a model's time is its vocabulary's: `little_student` has 258 tokens, `packaged_student` 4,096.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.config import DistillConfig
from tests.support.vocabularies import first_tokens

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT = "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"  # noqa: E501


def byte_tokenizer() -> Any:
    """A tokenizer of single bytes and two special tokens."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    bytes_ = Tokenizer(BPE({char: number for number, char in enumerate(sorted(ByteLevel.alphabet()))}, []))
    bytes_.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=TEMPLATE,
    )


def little_student(folder: Path, *, layers: int = 2, width: int = 32, seed: int = 0, spread: float = 0.02) -> Path:
    """Random layers over single bytes; `spread` is the standard deviation of the weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer()
    torch.manual_seed(seed)
    shape = {"hidden_size": width, "intermediate_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2}
    settings = LlamaConfig(
        vocab_size=len(tokenizer),
        initializer_range=spread,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    LlamaForCausalLM(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def packaged_student(folder: Path, *, layers: int, width: int, seed: int, spread: float = 0.02) -> Path:
    """Random layers with the packaged tokenizer's first tokens; `spread` is the standard deviation of their weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = first_tokens()
    torch.manual_seed(seed)
    shape = {"hidden_size": width, "intermediate_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2}
    settings = LlamaConfig(vocab_size=len(tokenizer), initializer_range=spread, **shape)
    LlamaForCausalLM(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def student_with(folder: Path, tokenizer: Any, *, seed: int, spread: float = 0.02, chat: str | None = CHAT) -> Path:
    """Two random layers for this tokenizer; `spread` is the standard deviation of their weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), initializer_range=spread, **shape)).save_pretrained(folder)
    tokenizer.chat_template = chat
    tokenizer.save_pretrained(folder)
    return folder


def sft_config(student: Path, traces: Path, out: Path, **changes: Any) -> DistillConfig:
    values = {"student": str(student), "traces": str(traces), "out": str(out), "epochs": 3, "batch": 2, "lr": 1e-2}
    return DistillConfig.model_validate({**values, "form": "one-call", "precision": "fp32", **changes})


def teacher_config(student: Path | str, teacher: Path | str, traces: Path, out: Path, **changes: Any) -> DistillConfig:
    values: dict[str, Any] = {"student": str(student), "teacher": str(teacher), "traces": str(traces), "out": str(out)}
    values |= {"method": "cross-tokenizer", "epochs": 3, "batch": 2, "lr": 1e-2, "top_k": 16, "precision": "fp32"}
    return DistillConfig.model_validate({"form": "one-call", **values, **changes})


def weights(out: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(out / "model.safetensors")
