"""A student as it is opened and loaded for training: its chat template, its attention, and weights of 4 bits (QLoRA).

QLoRA (Dettmers et al., arXiv 2305.14314): the weights lie in memory as 4-bit NormalFloats with quantised constants
(section 3), adapters of the usual precision learn on top, and are merged into the float32 weights at the end.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from agentkd.config import DistillConfig
from agentkd.distill import processes
from agentkd.distill.student import Student, load_model, open_student
from agentkd.errors import UserError, did_you_mean, near_file
from agentkd.inference.in_process import fit_roles
from agentkd.inference.model_folder import open_tokenizer
from agentkd.models import find_weights, is_hub_name
from agentkd.pretrained import first_line, make_model
from agentkd.runs.progress import say
from agentkd.runs.untrusted import CONFIG_BYTES, read_small
from agentkd.trace import Message

NF4_BYTES = 0.516  # per parameter of a quantised matrix: 4 bits, and its constants after double quantisation


def open_for_training(name: str, config: DistillConfig) -> Student:
    """Open and check a student, with the chat template that the config names, and what it says of its weights."""
    student = open_student(name, trust=config.trust_remote_code)
    if config.chat_template:
        choose_template(student, config.chat_template, trust=config.trust_remote_code)
    if config.attn_implementation:
        check_attention(student, config.attn_implementation)
    if config.load_in_4bit:
        check_4bit(config)
    return student


def load_for_training(student: Student, config: DistillConfig) -> Any:
    """Load a student's weights as the config says: fewer layers, another attention, or 4 bits.

    Raises UserError as `load_model` does."""
    options: dict[str, Any] = {}
    if config.attn_implementation:
        options["attn_implementation"] = config.attn_implementation
    if config.load_in_4bit:
        import torch
        from transformers import BitsAndBytesConfig

        options["device_map"] = {"": torch.cuda.current_device()}
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if config.half else torch.float32,
        )
    return load_model(student, config.layers, **options)


# ---- the chat template ----------------------------------------------------------------------------------------------


def find_template(tokenizer: Any, named: str, *, trust: bool = False) -> str:
    """The text of a chat template: a file, one of the tokenizer's own by name, or that of another model.

    Raises UserError, with the nearest name, for anything else."""
    own = tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {}
    path = Path(named).expanduser()
    if path.is_file():
        return read_small(path, CONFIG_BYTES).decode(errors="replace")
    if named in own:
        return str(own[named])
    if path.is_dir() or is_hub_name(named):
        other = open_tokenizer(find_weights(named), named, trust=trust).chat_template
        if isinstance(other, str):
            return other
        raise UserError(f"chat_template={named}: that model has no chat template, or several; give its file")
    near = did_you_mean(named, own) or near_file(path)
    has = f"the student's own ({', '.join(sorted(own))}), " if own else ""
    raise UserError(f"chat_template={named} is none{near or ':'} give {has}a .jinja file, or a model that has it")


def choose_template(student: Student, named: str, *, trust: bool = False) -> None:
    """Give a student another chat template, which is saved with it. Raises UserError for one that cannot be used."""
    tokenizer = student.tokenizer
    text = find_template(tokenizer, named, trust=trust)
    tokenizer.chat_template = text
    fit_roles(tokenizer, [Message(role="user", content="a question")])  # raises for one that renders nothing
    reply = [Message(role=role, content=f"some words of the {role}") for role in ("user", "assistant")]
    rendered = str(tokenizer.apply_chat_template([turn.model_dump() for turn in reply], tokenize=False))
    after = rendered.rpartition(reply[1].content)[2].strip()
    if not after.startswith(tokenizer.eos_token):
        say(
            f"chat_template={named}: it ends a turn with {after[:40]!r}, the student with {tokenizer.eos_token!r}, "
            f"which it is taught"
        )


def hash_template(named: str, student: str, *, trust: bool = False) -> str:
    """The hash of a template's text, for the identity of a run: a file may change."""
    tokenizer = open_tokenizer(find_weights(student), student, trust=trust)
    return hashlib.sha256(find_template(tokenizer, named, trust=trust).encode()).hexdigest()


# ---- attention and quantised weights --------------------------------------------------------------------------------


def check_attention(student: Student, name: str) -> None:
    """Raise UserError for an attention that the model does not have, or that this machine cannot run."""
    import torch
    from transformers import AutoModelForCausalLM

    if name.startswith("flash") and not torch.cuda.is_available():
        raise UserError(f"attn_implementation={name} needs a GPU, and none is seen: choose sdpa or eager")
    settings = type(student.settings).from_dict(student.settings.to_dict())
    settings._attn_implementation = name
    try:
        with torch.device("meta"):
            make_model(AutoModelForCausalLM, settings, trust=student.trust)
    except (ValueError, ImportError) as error:
        raise UserError(
            f"attn_implementation={name} is not for {student.name} here ({first_line(error)}): choose sdpa or eager"
        ) from None


def check_4bit(config: DistillConfig) -> None:
    """Raise UserError where weights of 4 bits cannot be trained on."""
    import torch

    if not config.lora:
        raise UserError("load_in_4bit trains adapters on quantised weights: add lora=16, or another rank")
    if config.layers:
        raise UserError(f"load_in_4bit does not go with layers={config.layers}: quantised layers are not taken out")
    if not torch.cuda.is_available():
        raise UserError("load_in_4bit needs a GPU, and none is seen: leave it out, lora= alone runs on a CPU")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("load_in_4bit needs bitsandbytes: pip install bitsandbytes")
    if processes.is_sharded():
        raise UserError("load_in_4bit does not go with FSDP: launch it with recipes/accelerate/ddp.yaml")
