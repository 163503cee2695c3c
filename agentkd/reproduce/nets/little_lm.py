"""Small causal language models made from a config of transformers, with fresh weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class LittleLm(nn.Module):
    """A Llama of a few layers; token ids [B, L] go in, logits [B, L, V] come out."""

    def __init__(self, vocabulary: int, width: int, layers: int, *, heads: int = 4, context: int = 128) -> None:
        super().__init__()
        from transformers import LlamaConfig, LlamaForCausalLM

        shape: dict[str, Any] = {"hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": layers}
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                num_attention_heads=heads,
                max_position_embeddings=context,
                tie_word_embeddings=True,
                **shape,
            )
        )

    def forward(self, ids_BL: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids_BL, use_cache=False).logits
        return logits


def next_token_loss(model: nn.Module, ids_BL: Tensor) -> Tensor:
    """The mean negative log-likelihood of all tokens but the first, in nats."""
    logits = model(ids_BL)[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), ids_BL[:, 1:].flatten())
