"""Loads configs, tokenizers and weights of others without running anything of theirs.

transformers can run Python files of a model's folder, asks on the terminal whether it should, and can fetch compiled
kernels that a config names. sentence-transformers imports the classes that a folder names. All loading goes through
here, where none of that happens, but for a folder whose code the user trusts by name (`--trust-remote-code`). Weights
are safetensors, or pickles that torch reads as plain tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentkd.errors import UserError

CONFIG_BYTES = 16_000_000
ENCODER_MODULES = ("Transformer", "Pooling", "Normalize")


def load_pretrained(kind: Any, folder: Path | str, *, trust: bool = False, **options: Any) -> Any:
    """Load with a class of transformers that has `from_pretrained`: a config, a tokenizer or a model.

    With `trust` the folder's own code may run. Raises UserError where the folder cannot be read, or wants to run code
    that is not trusted."""
    refuse_kernels(Path(folder))
    try:
        return kind.from_pretrained(folder, trust_remote_code=trust, **options)
    except Exception as error:  # transformers passes on errors of json, torch, safetensors, huggingface_hub and its own
        if not trust and (code := _own_code(Path(folder))):
            raise UserError(
                f"{folder} wants to run code of its own ({code}), which could do anything: read it, then allow it with "
                f"--trust-remote-code"
            ) from error
        raise UserError(
            f"{_complaint(kind.__name__, folder)} ({first_line(error)}): save or copy the model again"
        ) from error


def load_settings(folder: Path, *, trust: bool = False) -> Any:
    """Read a model's config.json."""
    from transformers import AutoConfig

    return load_pretrained(AutoConfig, folder, trust=trust)


def make_model(kind: Any, settings: Any, *, trust: bool = False) -> Any:
    """Build a model from its config, without weights."""
    return kind.from_config(settings, trust_remote_code=trust)


def load_encoder(name: str, **options: Any) -> Any:
    """Load a sentence encoder from a folder or the hub.

    Raises UserError where the folder names a class that is not among ENCODER_MODULES."""
    _check_modules(Path(name))
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(name, trust_remote_code=False, **options)


def load_cross_encoder(name: str, **options: Any) -> Any:
    """Load a cross-encoder from a folder, or make one of a sentence encoder's weights, with a new head.

    Raises UserError where the folder cannot be read, or names a class that is not among ENCODER_MODULES."""
    _check_modules(Path(name))
    from sentence_transformers.cross_encoder import CrossEncoder

    try:
        return CrossEncoder(name, trust_remote_code=False, **options)
    except Exception as error:  # missing or damaged files: each raises its own kind
        raise UserError(f"{name} is no cross-encoder ({first_line(error)}): run `agentkd feedback` again") from error


def _check_modules(folder: Path) -> None:
    if folder.is_dir():
        refuse_kernels(folder)
        modules = _read_json(folder / "modules.json")
        for module in modules if isinstance(modules, list) else []:
            kind = str(module.get("type") if isinstance(module, dict) else module)
            if not kind.startswith("sentence_transformers.") or kind.rpartition(".")[2] not in ENCODER_MODULES:
                raise UserError(
                    f"{folder}/modules.json names {kind[:80]!r}: an encoder consists of {', '.join(ENCODER_MODULES)}"
                )


def refuse_kernels(folder: Path) -> None:
    """Raise UserError if a config in a folder names compiled code on the hub, as `org/kernel`."""
    for file in (*folder.glob("*config*.json"), *folder.glob("*/*config*.json")):
        for key, value in _entries(_read_json(file)):
            if key.endswith("_implementation") and "/" in str(value):
                raise UserError(
                    f"{file} names compiled code, {key} {str(value)[:80]!r}: agentkd runs no code of a model's folder; "
                    f"remove that entry"
                )


def first_line(error: Exception) -> str:
    """The first non-empty line of another library's error, at most 160 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]


def _own_code(folder: Path) -> str:
    """The first class of a folder's own code that its configs name; empty if there is none."""
    for name in ("config.json", "tokenizer_config.json"):
        content = _read_json(folder / name)
        named = content.get("auto_map") if isinstance(content, dict) else None
        for value in named.values() if isinstance(named, dict) else []:
            found = next((str(item) for item in (value if isinstance(value, list) else [value]) if item), "")
            if found:
                return found[:80]
    return ""


def _complaint(kind: str, folder: Path | str) -> str:
    if "Tokenizer" in kind:
        return f"cannot read the tokenizer in {folder}"
    if "Processor" in kind:
        return f"cannot read the processor in {folder}"
    if "Config" in kind:
        return f"cannot read {folder}/config.json"
    return f"the weights in {folder} are damaged, or do not fit its config.json"


def _read_json(file: Path) -> Any:
    """A file's JSON; None where it is missing or damaged, which whoever loads it will say."""
    try:
        return json.loads(file.read_bytes()) if file.stat().st_size <= CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values of nested objects."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from item.items()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
