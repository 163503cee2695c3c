"""torchdistill's promise on small images: one loop for all objectives, hooks, cached teachers, and recipes that repeat.

`kd, again` runs the recipe of `kd` a second time, `kd, cached` reads the teacher's logits from the disk; `kd` asks the
teacher in each step. The other arms are the classic objectives, each added to the cross-entropy with the weight of its
published CIFAR-100 scripts and hooked to the same networks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from agentkd.methods.features.contrast import Banks, crd
from agentkd.methods.features.factors import boundaries, channel_variance, factors, information, simple_recipe
from agentkd.methods.features.maps import attention, fsp, hcl, ickd, nst
from agentkd.methods.features.relations import congruence, pkt, rkd, similarity
from agentkd.methods.hooks import Outputs, pool
from agentkd.methods.logits import dist, dkd, kd, logit_standardisation, mutual
from agentkd.reproduce.beds.digits import Split
from agentkd.reproduce.beds.images import make_images
from agentkd.reproduce.fit import Plan, accuracy, fit, predict
from agentkd.reproduce.nets.staged import PATHS, Staged, make_staged_cnn
from agentkd.reproduce.teacher_cache import LOGITS, cached_outputs

ARMS = {
    "scratch": "labels alone",
    "kd": "KD at T = 4, .1 CE + .9 KL; the teacher is asked in each step",
    "kd, again": "the same recipe once more",
    "kd, cached": "the same recipe, the teacher's logits read from the disk",
    "dkd": "DKD, alpha 1, beta 8, T = 4",
    "dist": "DIST, beta 1, gamma 1",
    "logit std": "logit standardisation, T = 2, weight 9",
    "fitnet": "FitNet: mean squared error of the last maps, weight 100",
    "at": "attention transfer on all stages, weight 1000",
    "fsp": "FSP between the first and the last stage, weight 50",
    "pkt": "PKT, weight 30000",
    "rkd": "RKD, distances 25, angles 50",
    "spkd": "similarity-preserving KD, weight 3000",
    "cckd": "correlation congruence, weight .02",
    "ft": "factor transfer on projected maps, weight 200",
    "ab": "activation boundaries of the last stage, weight 1",
    "nst": "neuron selectivity transfer, weight 50",
    "vid": "variational information distillation, weight 1",
    "crd": "contrastive representation distillation, 256 negatives, weight .8",
    "srd": "the simple recipe of projected features, weight 1",
    "ickd": "inter-channel correlation, weight 2.5",
    "hcl": "hierarchical context loss on projected stages, weight 1",
    "dml": "deep mutual learning: a peer of the same size in the teacher's place",
}
CLASSES, LAST, BEFORE_RELU = 10, PATHS[-1], f"{PATHS[-1]}.1"
HOOKED = [*PATHS, BEFORE_RELU]
TEACHER_WIDTH, STUDENT_WIDTH, NEGATIVES, EMBEDDING = 16, 4, 256, 32


@cache
def prepare(bed: str, seed: int, quick: bool) -> tuple[Split, Staged]:
    """The images and the teacher of a seed."""
    torch.manual_seed(seed)
    data, teacher = make_images(bed, seed), make_staged_cnn(CLASSES, TEACHER_WIDTH)
    plan = Plan(epochs=2 if quick else 20, seed=seed)
    fit([teacher], data[:2], lambda x, y: cross_entropy(teacher(x), y), plan)
    return data, teacher.requires_grad_(False)


def one(arm: str, seed: int, quick: bool, bed: str = "digits") -> dict[str, float]:
    """Percent correct on test images, and a fingerprint of the student: the sum of its logits on them."""
    data, teacher = prepare(bed, seed, quick)
    student = train(arm, data, teacher, Plan(epochs=1 if quick else 12, lr=4e-3, seed=seed))
    return {
        "accuracy": accuracy(student, data.x_test, data.y_test),
        "fingerprint": float(predict(student, data.x_test).double().sum()),
    }


def train(arm: str, data: Split, teacher: Staged, plan: Plan) -> nn.Module:
    """The student of an arm, by the one loop."""
    torch.manual_seed(plan.seed)
    student, peer = make_staged_cnn(CLASSES, STUDENT_WIDTH), make_staged_cnn(CLASSES, STUDENT_WIDTH)
    bridge = Bridge(plan.seed, len(data.x_train))
    with tempfile.TemporaryDirectory() as folder:
        targets = (
            cached_outputs(teacher, data.x_train, Path(folder))[LOGITS]
            if arm == "kd, cached"
            else torch.zeros(len(data.x_train), CLASSES)
        )

    def loss(x: Tensor, y: Tensor, z: Tensor, rows: Tensor) -> Tensor:
        with Outputs(student, HOOKED) as own, Outputs(teacher, HOOKED) as guide:
            logits = student(x)
            with torch.no_grad():
                target = z if arm == "kd, cached" else teacher(x)
        labels = cross_entropy(logits, y)
        if arm == "scratch":
            return labels
        if arm == "dml":
            other = peer(x)
            return labels + cross_entropy(other, y) + mutual(logits, [other]) + mutual(other, [logits])
        if arm.startswith("kd"):
            return 0.1 * labels + 0.9 * kd(logits, target, 4.0)
        if arm in ON_LOGITS:
            return labels + ON_LOGITS[arm](logits, target, y)
        return labels + ON_FEATURES[arm](own, guide, bridge, rows)

    bridge.classifier = teacher.head
    teacher.eval()
    plan_data = (*data[:2], targets, torch.arange(len(data.x_train)))
    fit([student, bridge, peer], plan_data, loss, plan)
    return student


class Bridge(nn.Module):
    """What joins the two networks: each stage's projection to the teacher's channels, embeddings, variances, banks."""

    def __init__(self, seed: int, count: int) -> None:
        super().__init__()
        widths = [(STUDENT_WIDTH * 2**stage, TEACHER_WIDTH * 2**stage) for stage in range(len(PATHS))]
        self.project = nn.ModuleList([nn.Conv2d(own, other, 1) for own, other in widths])
        self.embed = nn.ModuleList([nn.Linear(width, EMBEDDING) for width in widths[-1]])
        self.log_scale = nn.Parameter(torch.full((widths[-1][1],), 5.0).expm1().log())
        self.generator = torch.Generator().manual_seed(seed)
        own, other = (normalize(torch.randn(count, EMBEDDING, generator=self.generator)) for _ in range(2))
        self.banks = Banks(own, other)
        self.classifier: nn.Module = nn.Identity()


Features = Outputs
ON_LOGITS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "dkd": lambda own, other, labels: dkd(own, other, labels),
    "dist": lambda own, other, labels: dist(own, other),
    "logit std": lambda own, other, labels: 9 * logit_standardisation(own, other, 2.0, scale=True),
}


def _fsp(own: Features, guide: Features, bridge: Bridge, rows: Tensor) -> Tensor:
    ends = (0, len(PATHS) - 1)
    mine = tuple(bridge.project[place](own[PATHS[place]]) for place in ends)
    return 50 * fsp((mine[0], mine[1]), (guide[PATHS[0]], guide[LAST]))


def _crd(own: Features, guide: Features, bridge: Bridge, rows: Tensor) -> Tensor:
    pairs = zip(bridge.embed, (own[LAST], guide[LAST]), strict=True)
    mine, other = (normalize(embed(pool(maps))) for embed, maps in pairs)
    others = torch.randint(len(bridge.banks.student), (len(rows), NEGATIVES), generator=bridge.generator)
    found = crd(mine, other, bridge.banks, torch.cat([rows[:, None], others], 1))
    bridge.banks = found.banks
    return 0.8 * found.total


def _srd(own: Features, guide: Features, bridge: Bridge, rows: Tensor) -> Tensor:
    mine, other = pool(bridge.project[-1](own[LAST])), pool(guide[LAST])
    return simple_recipe(mine, other, bridge.classifier(mine), bridge.classifier(other))


def _last(own: Features, bridge: Bridge) -> Tensor:
    """The student's last maps, projected to the teacher's channels."""
    maps: Tensor = bridge.project[-1](own[LAST])
    return maps


ON_FEATURES: dict[str, Callable[[Features, Features, Bridge, Tensor], Tensor]] = {
    "fitnet": lambda own, guide, bridge, rows: 100 * mse_loss(_last(own, bridge), guide[LAST]),
    "at": lambda own, guide, bridge, rows: 1000 * sum((attention(own[p], guide[p]) for p in PATHS), torch.tensor(0.0)),
    "fsp": _fsp,
    "pkt": lambda own, guide, bridge, rows: 30000 * pkt(pool(own[LAST]), pool(guide[LAST])),
    "rkd": lambda own, guide, bridge, rows: rkd(pool(own[LAST]), pool(guide[LAST])),
    "spkd": lambda own, guide, bridge, rows: 3000 * similarity(own[LAST], guide[LAST]),
    "cckd": lambda own, guide, bridge, rows: 0.02 * congruence(pool(_last(own, bridge)), pool(guide[LAST])),
    "ft": lambda own, guide, bridge, rows: 200 * factors(_last(own, bridge), guide[LAST]),
    "ab": lambda own, guide, bridge, rows: boundaries(bridge.project[-1](own[BEFORE_RELU]), guide[BEFORE_RELU]),
    "nst": lambda own, guide, bridge, rows: 50 * nst(own[LAST], guide[LAST]),
    "vid": lambda own, guide, bridge, rows: information(
        _last(own, bridge), channel_variance(bridge.log_scale), guide[LAST]
    ),
    "crd": _crd,
    "srd": _srd,
    "ickd": lambda own, guide, bridge, rows: 2.5 * ickd(_last(own, bridge), guide[LAST]),
    "hcl": lambda own, guide, bridge, rows: sum(
        (hcl(project(own[path]), guide[path]) for project, path in zip(bridge.project, PATHS, strict=True)),
        torch.tensor(0.0),
    ),
}
