"""Clients with data of their own: images of digits split by label skew, and by concept: what a label means.

Under `concept`, every second client calls the digit y by y + 1. Clients of the other group are right about the images
and wrong about the words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agentkd.reproduce.beds.images import make_images

CLASSES = 10


class Clients(NamedTuple):
    """Each client's images and labels, the shared images without labels, and test images with each client's labels."""

    x: list[Tensor]
    y: list[Tensor]
    shared: Tensor
    x_test: Tensor
    y_test: list[Tensor]


def make_clients(
    seed: int,
    *,
    bed: str = "digits",
    clients: int = 10,
    images: int = 100,
    shared: int = 200,
    skew: float = 10.0,
    concept: bool = False,
) -> Clients:
    """Draw the clients: label shares from Dirichlet(skew), a small number meaning few labels a client. Images may be
    with several clients."""
    rng = np.random.default_rng(seed)
    data = make_images(bed, seed)
    x, y = data.x_train[shared:], data.y_train[shared:]
    places = [np.flatnonzero(y.numpy() == label) for label in range(CLASSES)]
    picks = []
    for _ in range(clients):
        labels = rng.choice(CLASSES, images, p=rng.dirichlet([skew] * CLASSES))
        picks.append(torch.tensor([int(rng.choice(places[label])) for label in labels]))
    turns = [int(concept) * (client % 2) for client in range(clients)]
    return Clients(
        x=[x[pick] for pick in picks],
        y=[(y[pick] + turn) % CLASSES for pick, turn in zip(picks, turns, strict=True)],
        shared=data.x_train[:shared],
        x_test=data.x_test,
        y_test=[(data.y_test + turn) % CLASSES for turn in turns],
    )
