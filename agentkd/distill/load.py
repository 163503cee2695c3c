"""Open a student, or say in one line why the model that was named cannot be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from agentkd.distill.students import prune_layers
from agentkd.errors import UserError
from agentkd.models import find_weights
from agentkd.runs.progress import say


class Student(NamedTuple):
    """A student before its weights are in memory: `settings` is the content of config.json."""

    name: str
    folder: Path
    settings: Any
    tokenizer: Any


def open_student(name: str) -> Student:
    """Find and check a student. Raises UserError for a model that is no decoder, whose parts do
    not fit together, or whose config or tokenizer cannot be read."""
    from transformers import AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    folder = find_weights(name)
    settings = open_config(folder)
    kinds = settings.architectures or [CAUSAL.get(settings.model_type, settings.model_type)]
    if settings.is_encoder_decoder or kinds[0] not in set(CAUSAL.values()):
        raise UserError(
            f"the student {name} is a {kinds[0]}, not a causal language model: choose one whose config.json names a "
            f"…ForCausalLM"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        raise UserError(f"cannot read the tokenizer in {folder} ({brief(error)}): save or copy it again") from None
    known = int(settings.get_text_config().vocab_size)
    if len(tokenizer) > known:
        raise UserError(
            f"the student {name} has a tokenizer of {len(tokenizer):,} tokens and an embedding of {known:,}: "
            f"take the tokenizer it was saved with, or resize_token_embeddings({len(tokenizer)}) and save it again"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Student(name, folder, settings, tokenizer)


def open_config(folder: Path) -> Any:
    """A model's config.json. Raises UserError where it cannot be read."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except Exception as error:  # transformers lets JSON's, huggingface_hub's and its own errors through
        raise UserError(f"cannot read {folder}/config.json ({brief(error)}): save or copy the model again") from None


def skeleton(settings: Any, layers: int | None = None) -> Any:
    """The model without its weights, on torch's meta device: sizes for the price of nothing."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)
    if layers:
        prune_layers(model, layers)
    return model


def load_model(student: Student, layers: int | None) -> Any:
    """The weights in float32, with `layers` of the layers. Raises UserError where weights and config do not agree:
    transformers would fill what is missing with noise and go on."""
    import torch
    from transformers import AutoModelForCausalLM

    remedy = "save or copy the model again"
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            student.folder, dtype=torch.float32, output_loading_info=True
        )
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"the weights of {student.name} do not fit its config.json ({brief(error)}): {remedy}"
        ) from None
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"the weights of {student.name} lack {missing[0]!r}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}: {remedy}"
        )
    if layers:
        say(f"layers {', '.join(map(str, prune_layers(model, layers)))} of {student.name}")
    return model


def brief(error: Exception) -> str:
    """The first line that says something of an error of another library."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
