"""SKD on generated radio signals: does a signal transformer help small networks to tell modulations apart?

Eight modulations through a channel with echoes and offsets, at seven ratios of signal to noise. The teacher, ClST, has
seen all training signals; students learn from all of them, or from a tenth. Accuracy is also given by ratio.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.methods.signals.generator import make_signals
from agentkd.methods.signals.networks import ClST, KdCnn, KdMobileNet, count_flops, count_parameters
from agentkd.methods.signals.skd import accuracy_by_ratio, skd_loss
from agentkd.reproduce.fit import Plan, accuracy, fit, predict

ARMS = {
    "scratch": "labels alone",
    "skd": "labels and the teacher, T = 4, half each",
    "skd, T = 1": "as skd, without a temperature",
}
MODULATIONS = ("bpsk", "qpsk", "8psk", "16qam", "pam4", "gfsk", "cpfsk", "ook")
RATIOS = (-6.0, -2.0, 2.0, 6.0, 10.0, 14.0, 18.0)  # dB
TRAIN, TEST, SAMPLES = 1120, 1120, 128
TEMPERATURE = {"skd": 4.0, "skd, T = 1": 1.0}


class Radio(NamedTuple):
    """Training and test signals with labels, the test's ratios, and the trained teacher."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    ratios: Tensor
    teacher: nn.Module


@cache
def prepare(seed: int, quick: bool) -> Radio:
    """Signals and teacher of a seed."""
    made = make_signals(TRAIN + TEST, modulations=MODULATIONS, snr_db=RATIOS, samples=SAMPLES, seed=seed)
    order = torch.randperm(TRAIN + TEST, generator=torch.Generator().manual_seed(seed))
    x, y, ratios = (torch.as_tensor(part)[order] for part in made)
    torch.manual_seed(seed)
    teacher = ClST(len(MODULATIONS), widths=(16, 32))
    plan = Plan(epochs=1 if quick else 20, lr=3e-3, weight_decay=0.01, seed=seed)
    fit([teacher], (x[:TRAIN], y[:TRAIN]), lambda a, b: cross_entropy(teacher(a), b), plan)
    return Radio(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], ratios[TRAIN:], teacher)


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Percent correct of KD-CNN and KD-MobileNet, with all signals and with a tenth; the tenth's by ratio; sizes."""
    radio = prepare(seed, quick)
    targets = predict(radio.teacher, radio.x)
    students: dict[str, nn.Module] = {}
    for name, make, count in (
        ("CNN", KdCnn, TRAIN),
        ("MobileNet", KdMobileNet, TRAIN),
        ("CNN, a tenth", KdCnn, TRAIN // 10),
    ):
        torch.manual_seed(seed)
        students[name] = train(make(len(MODULATIONS)), arm, radio, targets, Plan(1 if quick else 12, seed=seed), count)
    metrics = {name: accuracy(student, radio.x_test, radio.y_test) for name, student in students.items()}
    by_ratio = accuracy_by_ratio(predict(students["CNN, a tenth"], radio.x_test), radio.y_test, radio.ratios)
    metrics |= {f"a tenth, {ratio:.0f} dB": share * 100 for ratio, share in by_ratio.items()}
    metrics["teacher"] = accuracy(radio.teacher, radio.x_test, radio.y_test)
    for name, model in {"teacher": radio.teacher, "CNN": students["CNN"], "MobileNet": students["MobileNet"]}.items():
        metrics[f"parameters, {name}"] = count_parameters(model)
        metrics[f"MFLOPs, {name}"] = count_flops(model, radio.x_test[:1]) / 1e6
    return metrics


def train(student: nn.Module, arm: str, radio: Radio, targets: Tensor, plan: Plan, count: int) -> nn.Module:
    """A student of the first `count` signals, for as many steps whatever their number."""

    def loss(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        if arm == "scratch":
            return cross_entropy(student(x), y)
        return skd_loss(student(x), z, y, alpha=0.5, temperature=TEMPERATURE[arm])

    steps = plan.epochs * (TRAIN // plan.batch)
    rows = [tensor[:count] for tensor in (radio.x, radio.y, targets)]
    fit([student], rows, loss, Plan(steps // (count // plan.batch), lr=5e-3, seed=plan.seed))
    return student
