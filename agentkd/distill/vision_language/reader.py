"""Vision-language models of transformers, opened from a folder, the hub or a config, with their processors; and whether
two of them can be teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.distill.images.classifier import find_classifier
from agentkd.distill.images.decoded import open_image
from agentkd.distill.vision_language.questions import Question
from agentkd.errors import UserError
from agentkd.inference.model_folder import context_length, refuse_pickles
from agentkd.pretrained import first_line, load_pretrained, load_settings, make_model

PROCESSORS = ("processor_config.json", "preprocessor_config.json")
FAMILIES = "a LLaVA, Idefics3 or the like"


@dataclass(frozen=True)
class Reader:
    """A model that reads images and text, and its processor. `fresh`: it has not been trained yet."""

    name: str
    model: Any
    processor: Any
    fresh: bool

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def image_token(self) -> int:
        """The number of the token that stands where the image's features go."""
        return int(self.model.config.image_token_id)

    def prompt(self, question: str) -> str:
        """A question about an image, in the model's own chat format."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return str(text)

    def look(self, questions: Sequence[Question], *, side: str = "right") -> dict[str, Any]:
        """The inputs of prompts with their images, padded on one side."""
        texts = [self.prompt(question.question) for question in questions]
        images = [[to_rgb(question.file)] for question in questions]
        begins = bool(self.tokenizer.bos_token) and texts[0].startswith(self.tokenizer.bos_token)
        made = self.processor(
            text=texts,
            images=images,
            padding=True,
            padding_side=side,
            add_special_tokens=not begins,
            return_tensors="pt",
        )
        return dict(made)

    def answer_ids(self, answer: str) -> list[int]:
        """The tokens of an answer, and the one that ends it."""
        return [*self.tokenizer(answer, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]

    def save(self, folder: Path) -> None:
        """Write an ordinary model directory with its processor."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def to_rgb(file: Path) -> Any:
    """The image in colours, as processors expect."""
    image: Any = open_image(file)
    return image.convert("RGB")


def open_reader(name: str, *, seed: int, trust: bool = False, processor: Any = None) -> Reader:
    """Open a model by a folder, a hub name, or a config file (then with fresh weights).

    One without a processor of its own takes `processor`. Raises UserError for a model without an image tower, and for
    one that has no processor or chat template."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    path = find_classifier(name)
    settings = load_settings(path, trust=trust)
    check_kind(name, settings)
    if path.is_dir() and any((path / file).is_file() for file in PROCESSORS):
        processor = load_pretrained(AutoProcessor, path, trust=trust)
    if processor is None:
        raise UserError(f"{name} has no processor ({' or '.join(PROCESSORS)}): save one beside its config.json")
    has_weights = path.is_dir() and any(file.suffix in (".safetensors", ".bin") for file in path.iterdir())
    torch.manual_seed(seed)
    if has_weights:
        refuse_pickles(path)
        model = load_pretrained(AutoModelForImageTextToText, path, trust=trust, dtype=torch.float32)
    else:
        model = make_model(AutoModelForImageTextToText, settings, trust=trust)
    reader = Reader(name, model.eval(), processor, not has_weights)
    split_parts(reader)
    if getattr(processor, "chat_template", None) is None:
        raise UserError(f"the processor of {name} has no chat template: save it with one (chat_template.jinja)")
    if reader.tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {name} has no token that ends an answer: set its eos_token")
    if reader.tokenizer.pad_token_id is None:
        reader.tokenizer.pad_token = reader.tokenizer.eos_token
    return reader


def check_kind(name: str, settings: Any) -> None:
    """Raise UserError for a model that transformers does not give an image to, or that has no image tower."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

    tower = getattr(settings, "vision_config", None)
    if settings.model_type not in KNOWN or tower is None or getattr(settings, "image_token_id", None) is None:
        raise UserError(f"{name} is a {settings.model_type}, which has no image tower: choose {FAMILIES}")


def split_parts(reader: Reader) -> dict[str, list[Any]]:
    """The parameters of `tower`, `projector` and `language`. Raises UserError where a model has no such parts."""
    model = reader.model
    tower, decoder, head = model.get_encoder(modality="image"), model.get_decoder(), model.get_output_embeddings()
    if tower is model or decoder is model or head is None:
        raise UserError(f"{reader.name} has no image tower beside a language model: choose {FAMILIES}")
    parts = {"tower": list(tower.parameters()), "language": [*decoder.parameters(), *head.parameters()]}
    known = {id(value) for values in parts.values() for value in values}
    parts["projector"] = [value for value in model.parameters() if id(value) not in known]
    if not parts["projector"]:
        raise UserError(f"{reader.name} has no projector between images and words: choose {FAMILIES}")
    return parts


def check_pair(teacher: Reader, student: Reader, questions: Sequence[Question]) -> None:
    """Let both read the longest question. Raises UserError for two vocabularies, for images in different numbers of
    tokens, and for a model that cannot read its own inputs."""
    one, other = teacher.tokenizer.get_vocab(), student.tokenizer.get_vocab()
    if one != other:
        differing = len(set(one.items()) ^ set(other.items()))
        raise UserError(
            f"the vocabulary of the teacher {teacher.name} differs from that of the student {student.name} in "
            f"{differing} tokens: llava-kd compares next tokens, so choose two of one family"
        )
    if teacher.image_token != student.image_token:
        raise UserError(
            f"the image token of the teacher {teacher.name} is {teacher.image_token}, that of the student "
            f"{student.image_token}: set image_token_id alike"
        )
    longest = max(questions, key=lambda each: len(each.question) + len(each.answer))
    counts = {reader.name: try_reading(reader, longest) for reader in (teacher, student)}
    if len(set(counts.values())) > 1:
        listed = " and ".join(f"{count} tokens for {name}" for name, count in counts.items())
        raise UserError(f"an image has {listed}: llava-kd compares them one by one, so give both the same patches")


def try_reading(reader: Reader, question: Question) -> int:
    """The number of tokens that the image of a question has. Raises UserError where the model cannot read them."""
    import torch

    try:
        inputs = reader.look([question])
        with torch.inference_mode():
            width = reader.model(**inputs).logits.shape[-1]
    except Exception as error:  # processors and models raise many kinds where config and processor disagree
        raise UserError(
            f"{reader.name} cannot read {question.image} with its question ({first_line(error)}): its config.json and "
            "its processor must fit each other"
        ) from error
    count = int((inputs["input_ids"] == reader.image_token).sum())
    if not count:
        raise UserError(f"the chat template of {reader.name} has no place for an image: write its image token")
    if width < len(reader.tokenizer):
        raise UserError(f"{reader.name} has {width} outputs for {len(reader.tokenizer)} tokens: set its vocab_size")
    length = inputs["input_ids"].shape[1] + len(reader.answer_ids(question.answer))
    limit = context_length(reader.model.config.get_text_config())
    if limit is not None and length > limit:
        raise UserError(
            f"the question {question.question[:60]!r} has {length} tokens with its image and answer, and {reader.name} "
            f"reads {limit}: shorten it, or choose smaller images"
        )
    return count
