"""Golden cases of objectives on next-token distributions, of language and vision-language models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from agentkd.eval.golden.cases import Case
from agentkd.methods import bounds, compodistill, distiller, divergences, llava_kd, miniplm
from agentkd.methods.divergences import log_probs
from agentkd.methods.tokens import distillm, gkd, minillm, ranking, topk, uld


def _logs(case: Case, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """log p and log q of the two sides' logits."""
    return log_probs(case.inputs["teacher_logits"], temperature), log_probs(case.inputs["student_logits"], temperature)


def _gjsd(case: Case) -> Tensor:
    x, p = case.inputs, case.params
    if case.variant == "gold_probs":
        return gkd.jsd_of_parts(x["student_probs"], x["teacher_probs"], beta=p["beta"])
    if case.variant == "kdflow":
        return gkd.mixture_jsd(*_logs(case, p.get("temperature", 1.0)), 1.0 - p["jsd_beta"])
    options = {"beta": p["beta"], "temperature": p["temperature"], "reduction": p["reduction"]}
    return {"gkd": gkd.generalised_jsd}[case.variant](
        x["student_logits"], x["teacher_logits"], x.get("labels"), **options
    )


def _skew_kl(case: Case) -> Any:
    x, p = case.inputs, case.params
    if case.variant != "distillm":
        skew = {"skl": divergences.skew_forward_kl, "srkl": divergences.skew_reverse_kl}[case.variant]
        return skew(*_logs(case, p.get("temperature", 1.0)), p.get("skew_lambda", distillm.ALPHA))
    kind = {"distillm_v1": "skew", "distillm_v2": "skew", "gkd": "gkd", "kd": "kl"}[p["loss_type"]]
    adaptive = p["loss_type"] == "distillm_v2"
    anchors = (p.get("logp_logq"), p.get("logq_logp")) if adaptive else (None, None)
    found = distillm.sequence_divergences(
        x["student_logits"], x["teacher_logits"], x["labels"], kind=kind, anchors=anchors
    )
    if kind == "kl":  # the official second value is minus the reverse KL
        found = found._replace(reverse=-found.reverse)
    return found._asdict() | {"objective": found.forward.sum() + found.reverse.sum()}


def _akl_tvd_rank(case: Case) -> Tensor:
    x, p = case.inputs, case.params
    known: Any = x["student_logits"], x.get("ids"), x.get("logprobs")
    if case.variant == "hinge":
        margin = p.get("margin")
        return ranking.hinge_ranking(*known, margin=margin, mask_BS=x.get("mask"))
    if case.variant == "logistic":
        return ranking.logistic_ranking(*known, mask_BS=x.get("mask"))
    losses: dict[str, Callable[..., Tensor]] = {
        "akl": partial(ranking.adaptive_kl, tail=p.get("adaptive_kl_alpha", 0.5)),
        "tvd": divergences.total_variation,
        "rkl": divergences.reverse_kl,
        "top1_ce": ranking.top1_cross_entropy,
    }
    return losses[case.variant](*_logs(case, p.get("temperature", 1.0)))


def _topk_kd(case: Case) -> Tensor:
    x, p = case.inputs, case.params
    mask = x.get("mask")
    if mask is None and "mask" in p:
        mask = x["student_logits"].new_tensor(p["mask"]).bool()
    losses: dict[str, divergences.Divergence] = {
        "kl": divergences.forward_kl,
        "tvd": divergences.total_variation,
        "jsd": divergences.jsd,
    }
    if case.variant.startswith("dense_"):
        values = losses[case.variant.removeprefix("dense_")](*_logs(case, p["T"]))
    else:
        options = {"missing": p["missing"], "temperature": p["T"], "log_target": p.get("log_target", True)}
        values = topk.sparse_loss(losses[case.variant], x["student_logits"], x["ids"], x["values"], **options)
    return topk.sum_of_tokens(values, mask)


def _uld(case: Case) -> Any:
    x, p = case.inputs, case.params
    if case.variant == "align":
        own, other = (x[f"{side}_offsets"].reshape(-1, 2)[:, 1].tolist() for side in ("student", "teacher"))
        groups = uld.align_ends(own, other)
        return {"student_groups": [own for own, _ in groups], "teacher_groups": [other for _, other in groups]}
    student, teacher = (
        uld.Side(
            x[f"{side}_logits"],
            x[f"{side}_labels"],
            x.get(f"{side}_ids"),
            x.get(f"{side}_byte_offsets"),
            p.get(f"{side}_temperature", p.get(f"uld_{side}_temperature", 1.0)),
            p.get(f"uld_skip_{side}_eos", p.get(f"skip_{side}_eos", False)),
        )
        for side in ("student", "teacher")
    )
    if {"official": True, "trl": False}[case.variant]:
        return uld.uld_loss(student, teacher)
    rules = uld.Rules(p.get("uld_token_merge_strategy", "observed"), p.get("use_extended_uld", False))
    return uld.uld_loss(student, teacher, rules, _hybrid(p) if p.get("uld_use_hybrid_loss") else None)


def _hybrid(p: dict[str, Any]) -> uld.Hybrid:
    ours = {token: place for place, token in enumerate(p["student_vocab"])}
    both = [(ours[token], place) for place, token in enumerate(p["teacher_vocab"]) if token in ours]
    weights = None
    if p.get("uld_hybrid_matched_weight") is not None:
        weights = (p["uld_hybrid_matched_weight"], p["uld_hybrid_unmatched_weight"])
    return uld.Hybrid([own for own, _ in both], [other for _, other in both], weights, p.get("beta", 0.5))


def _minillm(case: Case) -> Any:
    x, p = case.inputs, case.params
    sides = x["student_logp"], x["teacher_logp"], x["mask"]
    if case.variant == "advantage":
        return {"advantage": minillm.advantages(*sides, gamma=p["gamma"], normalise=p["length_normalization"])}
    return {"single_step": minillm.single_step}[case.variant](*sides)


def _miniplm(case: Case) -> Any:
    x, p = case.inputs, case.params
    if case.variant == "select":
        scores = miniplm.difference(x["teacher_nll"], x["reference_nll"])
        kept = miniplm.keep_largest(scores, p["ratio"]).tolist()
        other = case.expected.get("kept")
        if other and sorted(set(other)) == other and scores[other].sort().values.equal(scores[kept].sort().values):
            kept = other  # among equal scores any choice is right
        return {"difference": scores, "kept": kept, "number_kept": len(kept)}
    if case.variant == "nll":
        return {"nll": miniplm.document_nll(x["logits"], x["labels"], x["mask"])}
    return {"kd": miniplm.vanilla_kd}[case.variant](x["student_logits"], x["teacher_logits"], x["mask"])


def _llava_kd(case: Case) -> Any:
    x, p = case.inputs, case.params
    if case.variant != "train":
        return _llava_helper(case)
    lm = x["student_logits"].new_tensor(p["lm_loss"])
    visual = slice(p["start"], p["start"] + p["n_v"]) if p["images"] else None
    labels = {"teacher_labels": x["teacher_labels"], "visual": visual}
    found = llava_kd.llava_kd_loss(lm, x["student_logits"], x["teacher_logits"], x["student_labels"], **labels)
    terms = {name: term for name, term in found._asdict().items() if term is not None}
    return terms | {"total": found.total}


def _llava_helper(case: Case) -> Tensor:
    lam = case.params.get("lam", 0.1)
    helpers: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "fkl_cross_entropy": divergences.soft_cross_entropy,
        "rkl": divergences.reverse_kl,
        "jsd": lambda log_p, log_q: gkd.mixture_jsd(log_p, log_q, 1.0 - case.params.get("lam", 0.9)),
        "tvd": divergences.total_variation,
        "skl_cross_entropy": lambda log_p, log_q: divergences.soft_cross_entropy(
            log_p, divergences.log_mixture(log_p, log_q, lam)
        ),
        "srkl": partial(divergences.skew_reverse_kl, alpha=lam),
    }
    values = helpers[case.variant.removesuffix("_all_tokens")](*_logs(case))
    if case.variant.endswith("_all_tokens"):
        return values.mean()
    return llava_kd.labelled_mean(values, case.inputs["labels"])


def _vlm_kd(case: Case) -> Tensor:
    x = case.inputs
    if case.variant == "attention":
        return compodistill.attention_loss(x["student_attention"], x["teacher_attention"])
    return {"logit": compodistill.logit_loss}[case.variant](x["student_logits"], x["teacher_logits"], x["labels"])


def _mi_bounds(case: Case) -> Tensor:
    x, scores = case.inputs, case.inputs["scores"]
    # The file's "loss" is the bound itself.
    if case.variant == "interpolated":
        return bounds.interpolated(scores, x["baseline"], case.params["alpha"])
    if case.variant == "tuba":
        return bounds.tuba(scores, x.get("log_baseline"))
    return {"infonce": bounds.infonce, "nwj": bounds.nwj}[case.variant](scores)


def _distiller(case: Case) -> Tensor:
    x, mask = case.inputs, case.inputs.get("mask")
    if case.variant in ("fsp", "mmd"):
        loss = {"fsp": distiller.layer_flow, "mmd": distiller.state_products}[case.variant]
        student, teacher = ((x[f"{side}1"], x[f"{side}2"]) for side in ("student", "teacher"))
        return loss(student, teacher, mask)
    pair = x["student"], x["teacher"]
    if case.variant in ("kd_ce", "kd_mse"):
        temperature = x.get("T", case.params.get("T", 1.0))
        return {"kd_ce": distiller.logits_ce, "kd_mse": distiller.logits_mse}[case.variant](*pair, temperature)
    if case.variant == "pkd":
        return distiller.first_token(*pair)
    losses: dict[str, Callable[..., Tensor]] = {
        "hid_mse": distiller.hidden_mse,
        "hid_ce": distiller.hidden_ce,
        "cos": distiller.hidden_cosine,
        "att_mse": distiller.attention_mse,
        "att_mse_sum": partial(distiller.attention_mse, heads="sum"),
        "att_ce": distiller.attention_ce,
        "att_ce_mean": partial(distiller.attention_ce, heads="mean"),
    }
    return losses[case.variant](*pair, mask)


ADAPTERS: dict[str, Callable[[Case], Any]] = {
    "gjsd": _gjsd,
    "skew_kl": _skew_kl,
    "akl_tvd_rank": _akl_tvd_rank,
    "topk_kd": _topk_kd,
    "uld": _uld,
    "minillm": _minillm,
    "miniplm": _miniplm,
    "llava_kd": _llava_kd,
    "vlm_kd": _vlm_kd,
    "mi_bounds": _mi_bounds,
    "distiller_losses": _distiller,
}
