"""Small vision-language models of two families, over single bytes, and questions about grey images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.students import byte_tokenizer

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == 'image' %}<image>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
LANGUAGE = {"model_type": "llama", "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TOWER = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4}
ANSWERS = ("black", "dark", "bright", "white")


def tokenizer_with(*more: str) -> Any:
    """Single bytes, the special tokens of both families, and further ones."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *SPECIAL, *more]})
    tokenizer.chat_template = None
    return tokenizer


def settings_of(family: str, tokenizer: Any, *, width: int = 16, side: int = 8) -> dict[str, Any]:
    """A config with an image in (side / 4)² tokens for llava, and (side / 8)² for idefics3."""
    image = tokenizer.convert_tokens_to_ids("<image>")
    words = {"vocab_size": len(tokenizer), "hidden_size": width, "pad_token_id": tokenizer.pad_token_id}
    language = {**LANGUAGE, **words, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    tower = {**TOWER, "hidden_size": width, "image_size": side}
    if family == "llava":
        vision = {**tower, "model_type": "clip_vision_model"}
        return {"model_type": family, "text_config": language, "vision_config": vision, "image_token_index": image}
    return {
        "model_type": family, "text_config": language, "vision_config": tower, "image_token_id": image,
        "scale_factor": 2,
    }  # fmt: skip


def processor_of(family: str, tokenizer: Any, *, side: int = 8) -> Any:
    """The processor for images of side × side pixels."""
    if family == "llava":
        from transformers import LlavaProcessor
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        images = CLIPImageProcessorPil(size={"height": side, "width": side}, do_center_crop=False)
        return LlavaProcessor(
            images,
            tokenizer,
            patch_size=4,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=CHAT,
        )
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    edge = {"longest_edge": side}
    split = Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    return Idefics3Processor(split, tokenizer, image_seq_len=(side // 8) ** 2, chat_template=CHAT)


def make_model(
    folder: Path, family: str, *, seed: int = 0, width: int = 16, side: int = 8, tokenizer: Any = None
) -> Path:
    """Write random weights and their processor."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    tokenizer = tokenizer or tokenizer_with()
    settings = settings_of(family, tokenizer, width=width, side=side)
    torch.manual_seed(seed)
    AutoModelForImageTextToText.from_config(AutoConfig.for_model(**settings)).save_pretrained(folder)
    processor_of(family, tokenizer, side=side).save_pretrained(folder)
    return folder


def write_questions(folder: Path, *, images: int = 12) -> Path:
    """Images of 8 × 8 pixels of four lights, with two questions each."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(images):
        light = number % len(ANSWERS)
        noise = np.random.default_rng(number).integers(0, 30, (8, 8), dtype=np.uint8)
        Image.fromarray(noise + np.uint8(70 * light)).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "question": "how?", "answer": ANSWERS[light]})
        rows.append({"image": f"{number}.png", "question": "light?", "answer": "yes" if light > 1 else "no"})
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
