"""A small vision-language model: an encoder of patches, a projector, and a decoder of transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold


class PatchEncoder(nn.Module):
    """Features of patches with their row and column: images [B, 3, H, W] → [B, N, width + H / patch + W / patch], row
    by row. `patch` is the side in pixels."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch, self.width = patch, width
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * (patch // 2) ** 2, width),
            nn.BatchNorm1d(width),  # so that shape and colour are of one scale
        )

    def forward(self, images: Tensor) -> Tensor:
        patches = unfold(images, self.patch, stride=self.patch).mT
        features: Tensor = self.layers(patches.reshape(-1, 3, self.patch, self.patch))
        count, places = patches.shape[:2]
        rows, columns = images.shape[-2] // self.patch, images.shape[-1] // self.patch
        where = [torch.eye(rows).repeat_interleave(columns, 0), torch.eye(columns).repeat(rows, 1)]
        return torch.cat([features.view(count, places, -1), *(each.expand(count, -1, -1) for each in where)], -1)


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
