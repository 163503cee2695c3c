"""Open a student and check it, load its weights, keep fewer of its layers.

Which layers to keep follows what most depth-pruning papers found to be a strong and simple start before distillation:
the first, the last, and evenly between (Sanh et al., DistilBERT, arXiv 1910.01108, section 3, every second one;
Muralidharan et al., Minitron, arXiv 2407.14679, section 2.3, compares other choices).
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.distill import processes
from agentkd.errors import UserError
from agentkd.inference.head import Head
from agentkd.inference.model_folder import check_causal, load_weights, open_tokenizer, refuse_pickles
from agentkd.models import find_weights
from agentkd.pretrained import first_line, load_settings, make_model
from agentkd.runs.progress import say


class Model(NamedTuple):
    """A model by the name that the user gave, the folder of its weights, and whether code in it may run."""

    name: str
    folder: Path
    trust: bool = False


class Student(NamedTuple):
    """A student before its weights are loaded. `settings` is the content of config.json."""

    name: str
    folder: Path
    settings: Any
    tokenizer: Any
    trust: bool = False


def find_model(name: str, *, trust: bool = False) -> Model:
    """Find a model's weights. Rank 0 goes first, so that they are downloaded or unpacked once."""
    if processes.world_size() > 1:
        processes.on_rank_0(lambda: find_weights(name) and None)
    return Model(name, find_weights(name), trust)


def open_student(name: str, *, trust: bool = False) -> Student:
    """Find and check a student. Raises UserError for a model that is no decoder, whose parts do not fit together, or
    whose config or tokenizer cannot be read."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    folder = find_model(name).folder
    settings = load_settings(folder, trust=trust)
    kinds = settings.architectures or [CAUSAL.get(settings.model_type, settings.model_type)]
    own = trust and "AutoModelForCausalLM" in (getattr(settings, "auto_map", None) or {})
    if settings.is_encoder_decoder or not (own or kinds[0] in set(CAUSAL.values())):
        raise UserError(
            f"the student {name} is a {kinds[0]}, not a causal language model: choose one whose config.json names a "
            f"…ForCausalLM"
        )
    refuse_pickles(folder)
    tokenizer = open_tokenizer(folder, name, trust=trust)
    check_embedding(f"the student {name}", settings, tokenizer)
    return Student(name, folder, settings, tokenizer, trust)


def check_embedding(who: str, settings: Any, tokenizer: Any) -> None:
    """Raise UserError if a model has no embedding for some of its tokenizer's tokens."""
    embedded, tokens = int(settings.get_text_config().vocab_size), max(tokenizer.get_vocab().values()) + 1
    if tokens > embedded:
        raise UserError(
            f"{who} has a tokenizer of {tokens:,} tokens and an embedding of {embedded:,}: "
            f"take the tokenizer it was saved with, or resize_token_embeddings({tokens}) and save it again"
        )


def make_skeleton(settings: Any, layers: int | None = None, *, trust: bool = False) -> Any:
    """Build the model without weights, on torch's meta device: it has sizes and takes no memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = make_model(AutoModelForCausalLM, settings, trust=trust)
    if layers:
        prune_layers(model, layers)
    return model


def check_head(settings: Any, *, trust: bool = False) -> None:
    """Raise UserError if a model makes its logits in an unknown way, as far as its code tells without weights.

    Its forward pass is run on the meta device, with a small output layer that computes. Code that needs numbers on the
    way there cannot be run so; such a model is tried when its weights are loaded."""
    import torch

    skeleton = make_skeleton(settings, trust=trust)
    with contextlib.suppress(RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError):
        layer = skeleton.get_output_embeddings()
        bias = getattr(layer, "bias", None) is not None
        small = torch.nn.Linear(layer.weight.shape[1], 32, bias=bias, device="meta").to_empty(device="cpu")
        for number, parameter in enumerate(small.parameters()):  # without a draw from the global generator
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
        skeleton.set_output_embeddings(small)
        Head.of(skeleton)


def can_checkpoint(settings: Any, *, trust: bool = False) -> bool:
    """Whether a model can compute activations twice instead of keeping them."""
    return bool(make_skeleton(settings, trust=trust).supports_gradient_checkpointing)


def check_checkpointing(student: Student) -> None:
    """Raise UserError for a student that cannot compute activations twice."""
    if not can_checkpoint(student.settings, trust=student.trust):
        raise UserError(
            f"grad_checkpointing: the student {student.name} ({student.settings.model_type}) keeps all of its "
            f"activations: leave it out, and take a smaller batch="
        )


def load_model(student: Student, layers: int | None, **options: Any) -> Any:
    """Load the weights in float32, with `layers` of the layers; `options` are those of `from_pretrained`.

    Raises UserError as `load_weights` and `prune_layers` do."""
    import torch

    model = load_weights(student.folder, student.name, torch.float32, trust=student.trust, **options)
    if layers:
        say(f"layers {', '.join(map(str, prune_layers(model, layers)))} of {student.name}")
        model = rebuild(model)
        check_causal(model, f"{student.name} with layers={layers}")
    return model


def choose_layers(total: int, wanted: int) -> list[int]:
    """Choose `wanted` of `total` layer numbers, with the first and the last. Raises UserError for more than there are.

    >>> choose_layers(30, 4)
    [0, 10, 19, 29]
    """
    if not 1 <= wanted <= total:
        raise UserError(f"layers is {wanted}: the student has {total}, choose from 1 to that")
    if wanted == 1:
        return [0]
    return [round(number * (total - 1) / (wanted - 1)) for number in range(wanted)]


def prune_layers(model: Any, wanted: int) -> list[int]:
    """Keep `wanted` layers of a decoder, in place, and return their numbers. Raises UserError for a model without a
    plain list of layers."""
    from torch.nn import ModuleList

    backbone, config = model.base_model, model.config
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, ModuleList) or len(layers) != config.num_hidden_layers:
        raise UserError(f"{type(model).__name__} has no plain list of layers: layers=N cannot prune it")
    kept = choose_layers(len(layers), wanted)
    lists = {name: value for name, value in vars(config).items() if re.search("layer|block", name)}
    backbone.layers = ModuleList(layers[number] for number in kept)
    for number, layer in enumerate(backbone.layers):
        for module in layer.modules():  # attention finds its cache by this number
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
    for name, value in lists.items():
        if isinstance(value, list | tuple) and len(value) == len(layers):
            setattr(config, name, [value[number] for number in kept])
    config.num_hidden_layers = wanted
    return kept


def rebuild(model: Any) -> Any:
    """Build a pruned model anew from its config, with its weights.

    It is then what loading it again gives: some models compute with the number of their layers (MiniCPM). Raises
    UserError if its config describes other layers than those that were kept."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            fresh = type(model)(model.config)
        fresh.load_state_dict(model.state_dict())
    except (RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"the layers of {type(model).__name__} are of several kinds ({first_line(error)}): choose another layers=N"
        ) from None
    fresh.generation_config = model.generation_config
    return fresh.eval()


def count_parameters(model: Model) -> int:
    """A model's number of parameters, without loading its weights."""
    settings = load_settings(model.folder, trust=model.trust)
    return sum(parameter.numel() for parameter in make_skeleton(settings, trust=model.trust).parameters())
