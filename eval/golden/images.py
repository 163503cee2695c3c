"""Golden cases of the founding papers on images and clients, and of their metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from agentkd.eval.golden.cases import Case
from agentkd.methods import knfu, logits, mcmi, mixkd, ofa
from agentkd.methods.metrics import cka, miou


def _ofa(case: Case) -> Any:
    x, p = case.inputs, case.params
    if case.variant == "ofa":
        return ofa.adaptive_target_loss(x["student_logits"], x["teacher_logits"], x["labels"], p["eps"], p["T"])
    weights = {"total": ofa.OfaWeights(p["w_gt"], p["w_kd"], p["w_ofa"])}[case.variant]
    options = {"eps": p["eps"], "weights": weights, "temperature": p["T"]}
    found = ofa.ofa_loss(x["student_logits"], x["heads"], x["teacher_logits"], x["labels"], **options)
    return {"loss_gt": found.labels, "loss_kd": found.logits, "loss_ofa": found.stages, "total": found.total}


def _mcmi(case: Case) -> Any:
    x, p = case.inputs, case.params
    labels = x["labels"]
    ce = logits.label_loss(x["logits"], labels)
    if case.variant == "loss":
        cmi = mcmi.cmi(x["logits"], x["centroid_rows"])
        return {"ce": ce, "cmi": cmi, "total": p["w0"] * ce + p["w1"] * cmi}
    means = mcmi.class_means(x["logits"], labels, p["n_classes"])
    if case.variant == "centroids":
        return {"centroids": means}
    return {"dataset": {"ce": ce, "cmi": mcmi.cmi(x["logits"], means[labels])}}[case.variant]


def _mixkd(case: Case) -> Any:
    x, p = case.inputs, case.params
    if case.variant == "mix":
        classes = len(case.expected["mixed_targets"][0])
        weight = x["lam"].index_fill(0, x["pure"], 1.0)
        how = mixkd.Mix(x["perm1"], x["perm2"], weight)
        targets = one_hot(x["labels"], classes).double()
        return {"mixed_value": mixkd.mix(x["values"], how), "mixed_targets": mixkd.mix(targets, how)}
    weights = {"loss": {"gamma": p["gamma"], "alpha": p["alpha"]}}[case.variant]
    found = mixkd.mixkd_loss(x["student_logits"], x["teacher_logits"], x["targets"], **weights)
    return {"loss_cls": found.labels, "loss_div": found.teacher, "total": found.total}


def _fedmd(case: Case) -> Any:
    x, rounds = case.inputs, case.params["rounds"]
    consensus = torch.stack([knfu.fedmd_consensus(logits_KNC) for logits_KNC in x["logits"][:rounds]])
    scores = {
        str(party): [float(knfu.accuracy(logits_NC, x["test_labels"])) for logits_NC in x["test_logits"][:, party]]
        for party in range(x["test_logits"].shape[1])
    }
    return {"consensus": consensus, "targets_per_round": len(consensus), "accuracy": scores}


def _cka(case: Case) -> dict[str, Tensor]:
    x, y, p = case.inputs["x"], case.inputs["y"], case.params
    debiased = p.get("debiased", False)
    if case.variant == "rbf":
        return {"rbf": cka.rbf_cka(x, y, threshold=p["threshold"], debiased=debiased)}
    return {
        "linear": {
            "linear_examples": cka.linear_cka(x, y, debiased=debiased),
            "linear_features": cka.linear_cka_of_features(x, y, debiased=debiased),
        }
    }[case.variant]


def _miou(case: Case) -> dict[str, Any]:
    x, p = case.inputs, case.params
    options = {"ignore": p["ignore_index"], "absent": p["nan_to_num"]}
    found = miou.measure_segments(x["preds"], x["labels"], p["num_classes"], **options)
    names = ("aAcc", "IoU", "Acc", "Dice", "mIoU", "mAcc", "mDice")
    return dict(zip(names, found, strict=True))


ADAPTERS: dict[str, Callable[[Case], Any]] = {
    "ofa": _ofa,
    "mcmi": _mcmi,
    "mixkd": _mixkd,
    "fedmd": _fedmd,
    "cka": _cka,
    "miou": _miou,
}
