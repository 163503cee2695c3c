"""A small variational autoencoder of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


class Vae(nn.Module):
    """Images [B, 1, S, S] with values 0 to 1; an MLP to a Gaussian code of `code` numbers, and one back."""

    def __init__(self, side: int, code: int = 8, hidden: int = 128) -> None:
        super().__init__()
        self.side = side
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(side * side, hidden), nn.ReLU(), nn.Linear(hidden, 2 * code)
        )
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, side * side))

    def encode(self, x: Tensor) -> Tensor:
        """The mean code [B, D]."""
        mean: Tensor = self.encoder(x).chunk(2, -1)[0]
        return mean

    def decode(self, code_BD: Tensor) -> Tensor:
        """Images of codes."""
        pixels: Tensor = self.decoder(code_BD).sigmoid()
        return pixels.reshape(-1, 1, self.side, self.side)

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The negative evidence lower bound, in nats an image."""
        mean, log_var = self.encoder(x).chunk(2, -1)
        code = mean + (0.5 * log_var).exp() * torch.randn(mean.shape, generator=generator)
        missed = binary_cross_entropy_with_logits(self.decoder(code), x.flatten(1), reduction="none").sum(-1)
        apart = 0.5 * (mean.square() + log_var.exp() - 1.0 - log_var).sum(-1)
        bound: Tensor = (missed + apart).mean()
        return bound
