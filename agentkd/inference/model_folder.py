"""A model's directory, opened alike by students, teachers, evaluation and export: tokenizer, weights, context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.models import list_weight_files
from agentkd.pretrained import CONFIG_BYTES, first_line, load_pretrained
from agentkd.runs.progress import say
from agentkd.runs.untrusted import parse_json, read_small

CONTEXTS = "max_position_embeddings", "n_positions", "max_seq_len", "seq_length"


def open_tokenizer(folder: Path, name: str, *, trust: bool = False, **options: Any) -> Any:
    """Load a tokenizer, with a token that ends a text and one that fills up a batch.

    An end that the model's config alone names is taken from there; where nothing is for filling up, the end is. Raises
    UserError for a model that has no end: a student could not learn to stop."""
    from transformers import AutoTokenizer

    tokenizer = load_pretrained(AutoTokenizer, folder, trust=trust, **options)
    if tokenizer.eos_token_id is None:
        tokens = tokenizer.convert_ids_to_tokens([end for end in _configured_ends(folder) if 0 <= end < len(tokenizer)])
        if not tokens:
            raise UserError(
                f"the tokenizer of {name} has no token that ends a text: "
                f"set eos_token in {folder}/tokenizer_config.json"
            )
        tokenizer.eos_token = tokens[0]
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _configured_ends(folder: Path) -> list[int]:
    """The end tokens that generation_config.json or config.json names."""
    found: list[int] = []
    for file in ("generation_config.json", "config.json"):
        try:
            value = parse_json(read_small(folder / file, CONFIG_BYTES)).get("eos_token_id")
        except (OSError, UserError, ValueError, AttributeError):
            continue
        found += [end for end in (value if isinstance(value, list) else [value]) if isinstance(end, int)]
    return found


def context_length(settings: Any) -> int | None:
    """The number of tokens that a model reads, by its config; None where that sets no bound (Mamba)."""
    found = (getattr(settings, name, None) for name in CONTEXTS)
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def refuse_pickles(folder: Path) -> None:
    """Raise UserError if a model's weights are not stored as safetensors."""
    for file in list_weight_files(folder):
        if file.suffix != ".safetensors":
            raise UserError(
                f"{folder} has pickled weights ({file.name}), which are not read here: load the model with "
                f"transformers and save it again, which writes safetensors"
            )


def load_weights(folder: Path, name: str, dtype: Any, *, trust: bool = False, **options: Any) -> Any:
    """Load a causal model, tied as its weights are (`settle_ties`). `options` are those of `from_pretrained`.

    Raises UserError if weights and config do not agree: transformers would fill what is missing with noise."""
    from transformers import AutoModelForCausalLM

    refuse_pickles(folder)
    model, found = load_pretrained(
        AutoModelForCausalLM, folder, trust=trust, dtype=dtype, output_loading_info=True, **options
    )
    missing = settle_ties(model, set(found["missing_keys"]), name)
    if missing:
        first, *more = sorted(missing)
        others = f" and {len(more)} more" if more else ""
        raise UserError(f"the weights of {name} lack {first!r}{others}: save or copy the model again")
    check_causal(model, name)
    return model


def check_causal(model: Any, name: str) -> None:
    """Raise UserError if a model cannot read a text, or if what follows a token changes what the model says before
    it."""
    import torch

    size = len(model.get_input_embeddings().weight)
    ids = torch.arange(1, 7, device=model.device).repeat(2, 1) % size
    ids[1, 3:] = (ids[1, 3:] + 1) % size
    training = model.training
    try:
        with torch.no_grad():
            one, other = model.eval()(input_ids=ids).logits[:, :3].float()
    except Exception as error:
        raise UserError(f"{name} cannot read a text ({first_line(error)}): save or copy the model again") from error
    finally:
        model.train(training)
    if not torch.allclose(one, other, rtol=1e-2, atol=1e-2 * float(one.abs().max())):
        raise UserError(f"{name} is no causal language model: later tokens change what it says of earlier ones")


def settle_ties(model: Any, missing: set[str], name: str) -> set[str]:
    """Tie a loaded model's embedding and output matrix if its weights are tied, whatever its config says, and let the
    config say so. Returns the missing tensors that are left.

    They are tied if the output matrix is not stored, or if both are equal. Other tools leave checkpoints in which they
    were trained apart although the config ties them, and transformers then reads both."""
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    if outer is None or inner.weight.shape != outer.weight.shape:
        return missing
    said = bool(model.config.get_text_config().tie_word_embeddings)
    stored = {key: f"{key}.weight" for key, module in model.named_modules() if module is outer}
    lacking = missing & set(stored.values())
    tied = bool(lacking) or is_tied(model)
    if tied:
        outer.weight = inner.weight
    if tied != said:
        what = (
            "no output matrix of its own: its embedding is both" if tied else "an output matrix of its own: it is kept"
        )
        say(f"config.json of {name} has tie_word_embeddings: {str(said).lower()}, but the weights have {what}")
    set_tied(model, tied)
    return missing - lacking


def is_tied(model: Any) -> bool:
    """Whether a model's embedding and output matrix are one, or have equal values."""
    import torch

    inner, outer = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    return inner is outer or (inner.shape == outer.shape and torch.equal(inner, outer))


def set_tied(model: Any, tied: bool) -> None:
    """Let a model's config say whether embedding and output matrix are one."""
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = tied
