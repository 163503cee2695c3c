"""KnFu on digits: ten clients, a shared set of unlabelled images, and rounds of local training and fusion.

Two beds: `concept`, where half of the clients mean something else by the labels, and `skew`, where they agree and have
few labels each. The score is ALMA, the average accuracy of the clients' models, on test images with their own labels.
Clients live in one process here.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from agentkd.methods.knfu import fedmd_consensus, fedmd_digest_loss, fuse, knowledge_loss
from agentkd.reproduce.beds.clients import Clients, make_clients
from agentkd.reproduce.fit import Loss, Plan, accuracy, fit, predict
from agentkd.reproduce.nets.small import make_mlp

ARMS = {
    "local": "each client alone",
    "fedavg": "the weights are averaged after each round",
    "fedmd": "each client's logits on the shared images are regressed on the mean of all",
    "mean": "each client learns the plain mean of all predictions: KnFu with beta = 0",
    "knfu": "each client learns the predictions that agree with its own, beta = 10",
}
BEDS = {"concept": {"skew": 10.0, "concept": True}, "skew": {"skew": 0.3, "concept": False}}
BETA = {"mean": 0.0, "knfu": 10.0}


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Percent correct on each bed, averaged over the clients."""
    return {
        name: run_rounds(arm, make_clients(seed, skew=bed["skew"], concept=bool(bed["concept"])), seed, quick)
        for name, bed in BEDS.items()
    }


def run_rounds(arm: str, clients: Clients, seed: int, quick: bool) -> float:
    """Rounds of local training and exchange, and a last local fine-tuning; returns ALMA in percent."""
    torch.manual_seed(seed)
    models: list[nn.Module] = [make_mlp(64, (32,), 10) for _ in clients.x]
    if arm == "fedavg":
        average(models)
    for turn in range(1 if quick else 3):
        plan = Plan(epochs=8 if quick else 25, batch=20, lr=5e-3, seed=seed + turn)
        for model, x, y in zip(models, clients.x, clients.y, strict=True):
            fit([model], (x, y), label_loss(model), plan)
        if arm == "fedavg":
            average(models)
        elif arm != "local":
            exchange(arm, models, clients, Plan(epochs=4 if quick else 12, batch=20, lr=5e-3, seed=seed + turn))
    if arm != "fedavg":
        for model, x, y in zip(models, clients.x, clients.y, strict=True):
            fit([model], (x, y), label_loss(model), Plan(epochs=5, batch=20, lr=1e-3, seed=seed))
    scores = [accuracy(model, clients.x_test, y) for model, y in zip(models, clients.y_test, strict=True)]
    return sum(scores) / len(scores)


def label_loss(model: nn.Module) -> Loss:
    """The cross-entropy of one client's model."""
    return lambda x, y: cross_entropy(model(x), y)


def exchange(arm: str, models: list[nn.Module], clients: Clients, plan: Plan) -> None:
    """Every client learns on the shared images, from targets that all predictions give together."""
    logits = torch.stack([predict(model, clients.shared) for model in models])
    targets = fedmd_consensus(logits).expand_as(logits) if arm == "fedmd" else fuse(logits, BETA[arm])
    lesson = fedmd_digest_loss if arm == "fedmd" else knowledge_loss
    for model, target in zip(models, targets, strict=True):
        fit([model], (clients.shared, target), lambda x, t, model=model: lesson(model(x), t), plan)


def average(models: list[nn.Module]) -> None:
    """FedAvg with equal weights: all models get the mean of all."""
    states = [model.state_dict() for model in models]
    mean = {key: torch.stack([state[key] for state in states]).mean(0) for key in states[0]}
    for model in models:
        model.load_state_dict(mean)
