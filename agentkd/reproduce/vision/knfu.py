"""KnFu on images of digits: ten clients, a shared set of unlabelled images, and rounds of local training and fusion.

Two beds: `concept`, where half of the clients mean something else by the labels, and `skew`, where they agree and have
few labels each. The score is ALMA, the average accuracy of the clients' models, on test images with their own labels.
Clients live in one process here, as copies of one network that are trained at once.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from agentkd.methods.knfu import fedmd_consensus, fedmd_digest_loss, fuse, knowledge_loss
from agentkd.reproduce.beds.clients import Clients, make_clients
from agentkd.reproduce.fit import Plan, fit, predict
from agentkd.reproduce.nets.stacked import StackedMlp

ARMS = {
    "local": "each client alone",
    "fedavg": "the weights are averaged after each round",
    "fedmd": "each client's logits on the shared images are regressed on the mean of all",
    "mean": "each client learns the plain mean of all predictions: KnFu with beta = 0",
    "knfu": "each client learns the predictions that agree with its own, beta = 10",
}
BEDS = {"concept": (10.0, True), "skew": (0.3, False)}  # the labels' Dirichlet, and whether half of them shift labels
BETA = {"mean": 0.0, "knfu": 10.0}
CLIENTS, CLASSES = 10, 10


def one(arm: str, seed: int, quick: bool, bed: str = "digits") -> dict[str, float]:
    """Percent correct on each bed, averaged over the clients."""
    return {
        name: run_rounds(arm, make_clients(seed, bed=bed, clients=CLIENTS, skew=skew, concept=concept), seed, quick)
        for name, (skew, concept) in BEDS.items()
    }


def run_rounds(arm: str, clients: Clients, seed: int, quick: bool) -> float:
    """Rounds of local training and exchange, and a last local fine-tuning; returns ALMA in percent."""
    torch.manual_seed(seed)
    models = StackedMlp(CLIENTS, clients.shared[0].numel(), 32, CLASSES, alike=arm == "fedavg")
    own = [torch.stack(parts, 1) for parts in (clients.x, clients.y)]  # [N, K, …]

    def label_loss(x: Tensor, y: Tensor) -> Tensor:
        return CLIENTS * cross_entropy(models(x.flatten(2)).flatten(0, 1), y.flatten())

    for turn in range(1 if quick else 3):
        fit([models], own, label_loss, Plan(8 if quick else 25, batch=20, lr=5e-3, seed=seed + turn))
        if arm == "fedavg":
            models.average()
        elif arm != "local":
            exchange(arm, models, clients.shared, Plan(4 if quick else 12, batch=20, lr=5e-3, seed=seed + turn))
    if arm != "fedavg":
        fit([models], own, label_loss, Plan(5, batch=20, lr=1e-3, seed=seed))
    answers = predict(models, spread(clients.x_test)).argmax(-1)
    return float((answers == torch.stack(clients.y_test, 1)).double().mean() * 100)


def exchange(arm: str, models: StackedMlp, shared: Tensor, plan: Plan) -> None:
    """Every client learns on the shared images, from targets that all predictions give together."""
    x = spread(shared)
    logits = predict(models, x).transpose(0, 1)
    targets = fedmd_consensus(logits).expand_as(logits) if arm == "fedmd" else fuse(logits, BETA[arm])
    lesson = fedmd_digest_loss if arm == "fedmd" else knowledge_loss

    def loss(rows: Tensor, target: Tensor) -> Tensor:
        return CLIENTS * lesson(models(rows).flatten(0, 1), target.flatten(0, 1))

    fit([models], (x, targets.transpose(0, 1)), loss, plan)


def spread(x: Tensor) -> Tensor:
    """The same images for every client [N, K, D]."""
    return x.flatten(2).expand(-1, CLIENTS, -1)
