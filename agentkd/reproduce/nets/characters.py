"""A recurrent language model over characters."""

from __future__ import annotations

from torch import Tensor, nn


class CharacterModel(nn.Module):
    """Embedding, a GRU of `width`, and a head over `vocabulary` characters."""

    def __init__(self, vocabulary: int, width: int, embedding: int = 24) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, embedding)
        self.gru = nn.GRU(embedding, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Logits [B, L, V] of the next character."""
        return self.read(ids_BL)[0]

    def read(self, ids_BL: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [B, L, V], and the state [1, B, width] from which reading goes on."""
        hidden, state = self.gru(self.embed(ids_BL), state)
        logits: Tensor = self.head(hidden)
        return logits, state
