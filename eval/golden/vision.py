"""Golden cases of objectives on logits and features of classifiers, and of their metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from agentkd.eval.golden.cases import Case
from agentkd.methods import logits
from agentkd.methods.features import contrast, factors, maps, relations


def _kd(case: Case) -> Tensor:
    student, teacher = case.inputs["student_logits"], case.inputs["teacher_logits"]
    temperature = case.params["T"]
    if case.variant == "total":
        labels, alpha = case.inputs["labels"], case.params["alpha"]
        return logits.kd_with_labels(student, teacher, labels, temperature, alpha)
    return logits.kd(student, teacher, temperature, scale={"kd": True, "soft_only": False}[case.variant])


def _dkd(case: Case) -> Tensor:
    x, p = case.inputs, case.params
    labels = x["labels"]
    weights = {"alpha": p.get("alpha", 1.0), "beta": p.get("beta", 8.0), "temperature": p.get("T", 4.0)}
    return logits.dkd(x["student_logits"], x["teacher_logits"], labels, **weights)


def _dist(case: Case) -> Tensor:
    x, p = case.inputs, case.params
    form = {"official": "official", "tau": "scaled", "torchdistill": "torchdistill"}[case.variant]
    weights = {"beta": p.get("beta", 1.0), "gamma": p.get("gamma", 1.0), "temperature": p.get("tau", 1.0)}
    return logits.dist(x["student_logits"], x["teacher_logits"], form=form, **weights)


def _logit_std(case: Case) -> Tensor:
    x, temperature = case.inputs, case.params["T"]
    student, teacher = x["student_logits"], x["teacher_logits"]
    if case.variant == "total":
        return logits.logit_standardisation_with_labels(
            student, teacher, x["labels"], temperature, case.params["alpha"]
        )
    return {"soft": logits.logit_standardisation}[case.variant](student, teacher, temperature)


def _dml(case: Case) -> Tensor:
    return logits.mutual(case.inputs["own_logits"], [case.inputs["peer_logits"]])


def _at(case: Case) -> Tensor:
    return maps.attention(case.inputs["student"], case.inputs["teacher"], form=case.variant)


def _pair(loss: Callable[..., Tensor]) -> Callable[[Case], Tensor]:
    return lambda case: loss(case.inputs["student"], case.inputs["teacher"])


def _fsp(case: Case) -> Tensor:
    x = case.inputs
    student, teacher = ((x[f"{side}_first"], x[f"{side}_second"]) for side in ("student", "teacher"))
    loss: Tensor = case.params.get("weight", 1.0) * maps.fsp(student, teacher)
    return loss


def _rkd(case: Case) -> Tensor:
    weights = {"distance": case.params.get("w_distance", 25.0), "angle": case.params.get("w_angle", 50.0)}
    return relations.rkd(case.inputs["student"], case.inputs["teacher"], **weights)


def _cckd(case: Case) -> Tensor:
    student, teacher = case.inputs["student"], case.inputs["teacher"]
    if case.variant == "correlation":
        return relations.congruence_of_neighbours(student, teacher)
    kernel = dict(case.params["kernel"])
    options: dict[str, Any] = {"kernel": kernel["type"], "mean": case.params.get("reduction", "batchmean") != "sum"}
    if "gamma" in kernel:
        options |= {"gamma": kernel["gamma"], "order": kernel["max_p"]}
    return relations.congruence(student, teacher, **options)


def _ft_ab(case: Case) -> Tensor:
    student, teacher = case.inputs["student"], case.inputs["teacher"]
    if case.variant == "ab":
        return factors.boundaries(student, teacher, case.params.get("margin", 1.0))
    return {"ft": factors.factors}[case.variant](student, teacher, case.params.get("p", 1))


def _vid(case: Case) -> Tensor:
    x = case.inputs
    name = {"given_var": "var", "softplus": "log_scale"}[case.variant]
    variance = x[name] if name == "var" else factors.channel_variance(x[name], **pick(case.params, "eps"))
    return factors.information(x["mean"], variance, x["teacher"])


def _srd(case: Case) -> Tensor:
    x, p = case.inputs, case.params
    return factors.simple_recipe(
        x["student_feature"],
        x["teacher_feature"],
        x["student_logits"],
        x["teacher_logits"],
        exponent=p["exponent"],
        temperature=p["T"],
    )


def _crd(case: Case) -> dict[str, Any]:
    x, p = case.inputs, case.params
    banks = contrast.Banks(x["bank_student"], x["bank_teacher"], p["z_student"], p["z_teacher"])
    settings = {"temperature": p["T"], "momentum": p["momentum"]}
    found = contrast.crd(x["student"], x["teacher"], banks, x["contrast_index"], **settings)
    return {
        "student_loss": found.student,
        "teacher_loss": found.teacher,
        "total": found.total,
        "z_student": found.banks.z_student,
        "z_teacher": found.banks.z_teacher,
        "bank_student_after": found.banks.student,
        "bank_teacher_after": found.banks.teacher,
    }


def pick(params: dict[str, Any], *names: str) -> dict[str, Any]:
    """The parameters of these names that a case gives."""
    return {name: params[name] for name in names if name in params}


ADAPTERS: dict[str, Callable[[Case], Any]] = {
    "kd": _kd,
    "dkd": _dkd,
    "dist": _dist,
    "logit_std": _logit_std,
    "dml": _dml,
    "at": _at,
    "nst": _pair(maps.nst),
    "fsp": _fsp,
    "ickd": _pair(maps.ickd),
    "review_hcl": _pair(maps.hcl),
    "pkt": _pair(relations.pkt),
    "rkd": _rkd,
    "spkd": _pair(relations.similarity),
    "cckd": _cckd,
    "ft_ab": _ft_ab,
    "vid": _vid,
    "srd": _srd,
    "crd": _crd,
}
