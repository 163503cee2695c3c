"""Two small tokenizers of unlike families, and the first tokens of the packaged one."""

from __future__ import annotations

import functools
import json
from typing import Any

from agentkd.distill.lessons.alignment import token_bytes
from agentkd.models import find_weights

TEXTS = [
    "Question: What is the capital of France?\nTopic: France",
    "path: capital\nanswers:\nParis\nWrocław\nŁódź",
    "country, border, river: Côte d'Ivoire → 日本 (1 234 km²)",
] * 3


def byte_level(size: int = 420) -> Any:
    """BPE over bytes, as GPT-2's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|end|>", "<|user|>", "<|assistant|>"]
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet))  # fmt: skip  # noqa: E501
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>")


def sentencepiece(size: int = 470, *, dummy: bool = False) -> Any:
    """BPE over characters with `▁` for blanks and lone bytes for what it does not know, as Gemma's; `dummy` puts a
    blank before every text, as Llama 2's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    replace = normalizers.Replace(" ", "▁")
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if dummy else replace
    split = pre_tokenizers.Split("▁", "merged_with_next")
    trained = Tokenizer(models.BPE())
    trained.normalizer, trained.pre_tokenizer = normalizer, split
    trained.train_from_iterator([text.replace("ó", "") for text in TEXTS], trainers.BpeTrainer(vocab_size=size - 259))
    model = json.loads(trained.to_str())["model"]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    vocabulary = {name: number for number, name in enumerate(names)}
    merges = [tuple(pair) for pair in model["merges"]]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer, backend.pre_tokenizer = normalizer, split
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@functools.cache
def pair() -> tuple[Any, Any]:
    """One of each."""
    return byte_level(), sentencepiece()


@functools.cache
def pieces() -> tuple[list[bytes], list[bytes]]:
    """The bytes of the tokens of each of the pair."""
    one, other = pair()
    return token_bytes(one), token_bytes(other)


def first_tokens(count: int = 4096) -> Any:
    """The packaged tokenizer with its first `count` tokens, and the merges that make them: nothing else of it is
    changed, and a model over it takes a twelfth of the time."""
    from tokenizers.models import BPE
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(find_weights("smollm2-135m"))
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = {token: number for token, number in model["vocab"].items() if number < count}
    merges = [(one, other) for one, other in model["merges"] if one + other in vocabulary]
    tokenizer.backend_tokenizer.model = BPE(vocabulary, merges)
    return tokenizer
