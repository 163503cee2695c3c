"""A small vision-language model: a frozen encoder of patches, a projector, and a decoder of transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold


class PatchEncoder(nn.Module):
    """Random features of patches, without training: images [B, 3, H, W] → [B, N, width]. The seed is fixed, as teacher
    and student look through one encoder."""

    def __init__(self, patch: int, width: int = 128) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        inputs = 3 * patch * patch
        self.patch = patch
        self.register_buffer("weights", torch.randn(inputs, width, generator=generator) / inputs**0.5)
        self.register_buffer("shift", torch.rand(width, generator=generator) - 0.5)

    def forward(self, images: Tensor) -> Tensor:
        patches = unfold(images - 0.4, self.patch, stride=self.patch).mT
        weights: Any = self.weights
        shift: Any = self.shift
        features: Tensor = (4 * patches @ weights + shift).relu()
        return features


class VisionLanguageModel(nn.Module):
    """A projector and a Llama of `layers` layers of `width`. The image's tokens come first, then the text."""

    def __init__(self, features: int, vocabulary: int, *, width: int, layers: int, heads: int) -> None:
        super().__init__()
        from transformers import LlamaConfig, LlamaForCausalLM

        self.projector = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))
        settings = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.language: Any = LlamaForCausalLM(settings)

    def forward(self, patches_BND: Tensor, tokens_BL: Tensor) -> Tensor:
        """Logits [B, N + L, V] of patch features and text."""
        words = self.language.get_input_embeddings()(tokens_BL)
        inputs = torch.cat([self.projector(patches_BND), words], 1)
        logits: Tensor = self.language(inputs_embeds=inputs, use_cache=False).logits
        return logits

    def read(self, tokens_BL: Tensor) -> Tensor:
        """Logits [B, L, V] of text alone."""
        logits: Tensor = self.language(input_ids=tokens_BL, use_cache=False).logits
        return logits
