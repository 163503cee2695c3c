"""Laws that hold whatever the numbers, and what is refused in one line: shapes that cannot meet, NaN, one class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lazy import Lazy, lazily

torch = lazily("torch")
root = "agentkd.methods"
bounds, collaborative, compodistill, distiller, divergences, hard, knfu, llava_kd, logits, mcmi, miniplm, mixkd, ofa = (
    Lazy(f"{root}.{name}")
    for name in (
        "bounds", "collaborative", "compodistill", "distiller", "divergences", "hard", "knfu", "llava_kd", "logits",
        "mcmi", "miniplm", "mixkd", "ofa",
    )
)  # fmt: skip
factors, maps, relations, contrast = (
    Lazy(f"{root}.features.{name}") for name in ("factors", "maps", "relations", "contrast")
)
distillm, gkd, masked, minillm, ranking, topk, uld = (
    Lazy(f"{root}.tokens.{name}") for name in ("distillm", "gkd", "masked", "minillm", "ranking", "topk", "uld")
)
skd = Lazy(f"{root}.signals.skd")
Tensors = Any
IGNORED = -100


def rand(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensors:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = [0, 2, 1, 2]
SAME_AT_EQUAL: dict[str, Callable[[Tensors, Tensors], Tensors]] = {
    "kd": lambda s, t: logits.kd(s, t),
    "dkd": lambda s, t: logits.dkd(s, t, torch.tensor(LABELS)),
    "logit-std": lambda s, t: logits.logit_standardisation(s, t),
    "mix-kd": lambda s, t: mixkd.mixkd_loss(s, t, torch.eye(4, dtype=torch.float64), gamma=0.0).total,
    "skew": lambda s, t: divergences.skew_forward_kl(*(x.log_softmax(-1) for x in (t, s))).mean(),
    "jsd": lambda s, t: gkd.generalised_jsd(s, t),
    "tvd": lambda s, t: divergences.total_variation(*(x.log_softmax(-1) for x in (t, s))).mean(),
    "adaptive": lambda s, t: ranking.adaptive_kl(*(x.log_softmax(-1) for x in (t, s))).mean(),
    "pkt": lambda s, t: relations.pkt(s, t),
    "rkd": lambda s, t: relations.rkd(s, t),
    "spkd": lambda s, t: relations.similarity(s, t),
    "cckd": lambda s, t: relations.congruence(s, t),
    "ft": lambda s, t: factors.factors(s, t),
    "hid-mse": lambda s, t: distiller.hidden_mse(s[None], t[None]),
    "cos": lambda s, t: distiller.hidden_cosine(s[None], t[None]),
    "relation": lambda s, t: llava_kd.relation_loss(s[None], t[None]),
    "visual": lambda s, t: llava_kd.visual_loss(s[None], t[None]),
    "fedmd": lambda s, t: knfu.fedmd_digest_loss(s, t),
}
SHIFT = (
    "kd",
    "dkd",
    "logit-std",
    "mix-kd",
    "skew",
    "jsd",
    "tvd",
    "adaptive",
)  # a constant added to a row changes nothing
SCALE = ("logit-std", "mix-kd", "pkt", "rkd", "spkd", "ft", "cos", "relation")
ROTATE = ("pkt", "rkd", "spkd", "cckd", "relation")


@pytest.mark.parametrize("name", SAME_AT_EQUAL)
def test_equal_sides_have_no_loss_and_others_do(name: str) -> None:
    loss, teacher = SAME_AT_EQUAL[name], rand(4, 4)
    assert abs(loss(teacher, teacher).item()) < 1e-7
    assert loss(rand(4, 4, seed=1), teacher).item() > 1e-4


@pytest.mark.parametrize("name", SAME_AT_EQUAL)
@settings(max_examples=8)
@given(seed=st.integers(0, 99), factor=st.floats(0.1, 9.0))
def test_what_the_student_may_do_without_a_change(name: str, seed: int, factor: float) -> None:
    loss, student, teacher = SAME_AT_EQUAL[name], rand(4, 4, seed=seed), rand(4, 4, seed=seed + 100)
    value = loss(student, teacher).item()
    assert value > -1e-12
    if name in SHIFT:
        assert loss(student + rand(4, 1, seed=seed), teacher).item() == pytest.approx(value)
    if name in SCALE:
        assert loss(factor * student, teacher).item() == pytest.approx(value, rel=1e-4)
    if name in ROTATE:
        turn = torch.linalg.qr(rand(4, 4, seed=seed))[0]
        assert loss(student @ turn, teacher).item() == pytest.approx(value)


def test_limits() -> None:
    student, teacher, labels = rand(4, 5), rand(4, 5, seed=1), torch.tensor(LABELS)
    log_q, log_p = student.log_softmax(-1), teacher.log_softmax(-1)
    kd = divergences.soft_cross_entropy(log_p, log_q).mean()
    torch.testing.assert_close(ofa.adaptive_target_loss(student, teacher, labels, eps=1.0), kd)  # eps = 1 is KD
    torch.testing.assert_close(distiller.logits_ce(student, teacher), kd)
    shares = []
    for eps in (1.0, 1.5, 2.0):  # an unsure teacher and a flat student: loss = W log 5, gradient = W / 5 - w
        flat = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
        loss = ofa.adaptive_target_loss(flat, torch.zeros_like(flat), torch.tensor([2]), eps)
        total = loss.item() / math.log(5)
        shares.append((total / 5 - torch.autograd.grad(loss, flat)[0][0, 2].item()) / total)
    assert shares == pytest.approx([0.2, (1.2**1.5 - 1) / (1.2**1.5 - 1 + 4 * 0.2**1.5), 0.44 / 0.6])  # the target's
    stages = ofa.ofa_loss(student, [student], teacher, labels, eps=[1.0, 1.0], weights=ofa.OfaWeights(1.0, 0.0, 0.0))
    torch.testing.assert_close(stages.total, torch.nn.functional.cross_entropy(student, labels))
    far = logits.kd(1e-3 * student, 1e-3 * teacher, 1.0)  # at a high temperature KD regresses centred logits
    centred = ((student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))).square()
    torch.testing.assert_close(far, 1e-6 * centred.sum(-1).mean() / (2 * 5), rtol=1e-2, atol=0)
    scores, baseline = rand(5, 5), rand(5, seed=2)
    torch.testing.assert_close(bounds.interpolated(scores, torch.ones(5, dtype=torch.float64), 0.0), bounds.nwj(scores))
    near = [bounds.interpolated(scores, baseline, w) for w in (1.0, 1.0 - 1e-9)]
    torch.testing.assert_close(*near)
    assert bounds.infonce(9.0 * torch.eye(5)).item() == pytest.approx(math.log(5), abs=1e-2)
    assert mixkd.mix(rand(3, 2), mixkd.Mix(torch.arange(3), torch.arange(3).flip(0), torch.ones(3))).equal(rand(3, 2))


def test_mixing_keeps_the_share_that_is_drawn_with_replacement() -> None:
    how = mixkd.draw_mix(4000, pure=0.9, generator=torch.Generator().manual_seed(0))
    assert (how.weight == 1.0).double().mean().item() == pytest.approx(1 - math.exp(-0.9), abs=0.02)
    full = mixkd.draw_mix(4000, generator=torch.Generator().manual_seed(0))
    assert full.weight.mean().item() == pytest.approx(0.5, abs=0.02) and (full.weight < 1).all()
    again = mixkd.draw_mix(4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(full.weight, again.weight) and torch.equal(full.first, again.first)
    assert sorted(full.second.tolist()) == list(range(4000))


def test_no_token_no_sample_and_no_pair_is_no_loss() -> None:
    s, t = rand(2, 3, 4).requires_grad_(), rand(2, 3, 4, seed=1)
    none, mask = torch.full((2, 3), IGNORED), torch.zeros(2, 3).bool()
    found = distillm.sequence_divergences(s, t, none)
    zeros = [
        gkd.generalised_jsd(s, t, none), compodistill.logit_loss(s, t, none), llava_kd.answer_loss(s, t, none),
        found.forward.sum(), found.reverse.sum(), miniplm.vanilla_kd(s, t, mask).sum(), uld.uld_loss(uld.Side(s, none),
        uld.Side(t, none)), distiller.hidden_mse(s, t, mask), distiller.hidden_cosine(s, t, mask),
        minillm.single_step(s[..., 0], t[..., 0], mask), relations.rkd(s[:1], t[:1]),
        relations.congruence_of_neighbours(s[:1], t[:1]), ranking.logistic_ranking(s, torch.zeros(2, 3, 2).long(),
        torch.zeros(2, 3, 2)), topk.sum_of_tokens(s[..., 0], mask),
    ]  # fmt: skip
    assert [value.item() for value in zeros] == [0.0] * len(zeros)
    total = torch.stack([value for value in zeros if value.requires_grad]).sum()
    assert not torch.autograd.grad(total, s)[0].any()
    with pytest.raises(Exception, match="a document has no token"):
        miniplm.document_nll(t, none, mask)


FLAT = {
    "logit-std": lambda s, t: logits.logit_standardisation(s, t),
    "mix-kd": lambda s, t: mixkd.mixkd_loss(s, t, torch.full_like(s, 1 / s.shape[-1])).total,
    "dkd": lambda s, t: logits.dkd(s, t, torch.zeros(len(s)).long()),
    "dist": lambda s, t: logits.dist(s, t),
    "kd": lambda s, t: logits.kd(s, t),
    "mcmi": lambda s, t: mcmi.cmi(s, torch.zeros_like(t).index_fill(1, torch.tensor([0]), 1.0)),
    "pkt": lambda s, t: relations.pkt(s, t),
    "rkd": lambda s, t: relations.rkd(s, t),
    "cos": lambda s, t: distiller.hidden_cosine(s[None], t[None]),
    "pkd": lambda s, t: distiller.first_token(s, t),
    "srd": lambda s, t: factors.simple_recipe(s, t, s, t),
    "adaptive": lambda s, t: ranking.adaptive_kl(*(x.log_softmax(-1) for x in (t, s))).mean(),
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("value", [0.0, 0.3, -1e4])
def test_constant_rows_and_one_class_stay_finite(name: str, classes: int, value: float) -> None:
    for teacher in (torch.full((2, classes), value, dtype=torch.float64), rand(2, classes, scale=1e3)):
        student = torch.full((2, classes), value, dtype=torch.float64, requires_grad=True)
        loss = FLAT[name](student, teacher)
        (grad,) = torch.autograd.grad(loss, student, allow_unused=True)
        assert loss.isfinite() and (grad is None or grad.isfinite().all())


def test_half_precision_and_extreme_temperatures_stay_finite() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        student, teacher = (1e4 * rand(3, 5, seed=1)).to(dtype).requires_grad_(), (1e4 * rand(3, 5)).to(dtype)
        for temperature in (1e-4, 1.0, 1e4):
            loss = logits.kd(student, teacher, temperature, scale=False)
            assert loss.isfinite() and torch.autograd.grad(loss, student)[0].isfinite().all()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "classes differ": (lambda: logits.kd(rand(2, 3), rand(2, 4)), r"are \[2, 3\] and \[2, 4\]"),
    "a label that is no class": (lambda: logits.label_loss(rand(2, 3), torch.tensor([0, 3])), "labels run from 0 to 3"),
    "NaN logits": (lambda: logits.kd(rand(2, 3) * math.nan, rand(2, 3)), "NaN"),
    "NaN features": (lambda: maps.attention(rand(2, 3, 2, 2) * math.nan, rand(2, 3, 2, 2)), "feature maps are NaN"),
    "infinite embeddings": (lambda: relations.rkd(rand(2, 3) + math.inf, rand(2, 3)), "NaN or infinite"),
    "no maps": (lambda: maps.nst(rand(2, 3), rand(2, 3)), "give .batch, channels, height, width."),
    "channels differ": (lambda: maps.ickd(rand(2, 3, 2, 2), rand(2, 4, 2, 2)), "channel correlations"),
    "batches differ": (lambda: relations.pkt(rand(2, 3), rand(3, 3)), "of 2 and 3 samples"),
    "widths differ": (lambda: factors.factors(rand(2, 3), rand(2, 4)), "a projector brings them together"),
    "variance of 0": (lambda: factors.information(rand(2), torch.zeros(2), rand(2)), r"a variance is 0\.0"),
    "vocabularies differ": (
        lambda: llava_kd.answer_loss(rand(1, 3, 4), rand(1, 3, 5), torch.zeros(1, 3).long()),
        "the teacher has 5 tokens and the student 4",
    ),
    "one pair": (lambda: bounds.tuba(rand(1, 1)), "at least two samples"),
    "no square": (lambda: bounds.infonce(rand(2, 3)), "give a square matrix"),
    "overflow": (lambda: bounds.tuba(1e4 * rand(3, 3)), "overflows: scale the critic down"),
    "weight of MI-alpha": (lambda: bounds.interpolated(rand(2, 2), rand(2), 1.2), r"is 1\.2"),
    "eps of stages": (
        lambda: ofa.ofa_loss(rand(2, 3), [rand(2, 3)], rand(2, 3), torch.tensor([0, 1]), eps=[1.0]),
        "1 values of eps for 1 stages",
    ),
    "score NaN": (lambda: miniplm.difference(torch.tensor([1.0, math.nan]), rand(2).float()), "document 1 has"),
    "share": (lambda: miniplm.keep_largest(rand(3), 1.5), "share to keep is 1.5"),
    "unknown form": (lambda: logits.dist(rand(2, 3), rand(2, 3), form="x"), "choose official, scaled or torchdistill"),
    "reduction": (lambda: gkd.generalised_jsd(rand(1, 2, 3), rand(1, 2, 3), reduction="x"), "choose batchmean"),
    "logits without mass": (
        lambda: topk.sparse_loss(
            divergences.forward_kl, rand(1, 1, 4), torch.zeros(1, 1, 1).long(), rand(1, 1, 1),
            missing="symmetric_uniform", log_target=False,
        ),
        "take missing=zero",
    ),
    "spans without offsets": (
        lambda: uld.uld_loss(
            *[uld.Side(rand(1, 2, 3), torch.tensor([[IGNORED, 1]]))] * 2, uld.Rules("observed", spans=True)
        ),
        "spans need",
    ),
    "negative beta": (lambda: knfu.fusion_weights(rand(2, 3).log_softmax(-1), -1.0), "beta is -1.0"),
    "means of other classes": (lambda: mcmi.cmi(rand(2, 3), rand(2, 4)), r"\[2, 3\] and class means of \[2, 4\]"),
    "NaN class means": (lambda: mcmi.teacher_loss(rand(2, 3), torch.tensor([0, 1]), rand(3, 3) * math.nan), "means"),
    "NaN of a client": (lambda: knfu.fuse(rand(3, 4, 2) * math.nan), "NaN"),
    "NaN fused": (lambda: knfu.knowledge_loss(rand(2, 3), rand(2, 3) * math.nan), "fused targets are NaN"),
    "other shared images": (lambda: knfu.fedmd_digest_loss(rand(2, 3), rand(4, 3)), r"\[2, 3\] and \[4, 3\]"),
    "maps of other channels": (lambda: collaborative.feature_loss(rand(2, 3, 4, 4), rand(2, 5, 4, 4)), "projector"),
    "NaN maps": (lambda: collaborative.feature_loss(rand(2, 3, 4, 4) * math.nan, rand(2, 3, 4, 4)), "maps are NaN"),
    "labels of other pixels": (
        lambda: collaborative.pixel_losses(rand(2, 3, 4, 4), torch.zeros(2, 4, 5).long()), "give a label a pixel"
    ),
    "NaN of a segmentation": (
        lambda: collaborative.pixel_losses(rand(1, 2, 2, 2) * math.nan, torch.zeros(1, 2, 2).long()), "pixels are NaN"
    ),
    "NaN in HARD": (
        lambda: hard.augmentor_loss(rand(2, 3), rand(2, 3) * math.nan, rand(2, 3), keep=0.1), "NaN"
    ),
    "NaN in SKD": (lambda: skd.skd_loss(rand(2, 3) * math.nan, rand(2, 3), torch.tensor([0, 1])), "NaN"),
    "a label of no class": (lambda: mcmi.class_means(rand(2, 3), torch.tensor([0, 5]), 3), "0 to 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(name: str) -> None:
    from agentkd.errors import UserError

    call, words = REFUSED[name]
    with pytest.raises(UserError, match=words) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_a_class_without_samples_stays_finite() -> None:
    """MCMI's means of it are uniform; an omitted class of OFA-KD, KD and SKD is one that no label names."""
    labels = torch.tensor([0, 0])
    means = mcmi.class_means(rand(2, 3), labels)
    assert (
        torch.allclose(means[1:], torch.full_like(means[1:], 1 / 3)) and mcmi.cmi(rand(2, 3), means[labels]).isfinite()
    )
    assert ofa.ofa_loss(rand(2, 3), [rand(2, 3)], rand(2, 3), labels, eps=[1.0, 1.0]).total.isfinite()
    assert skd.skd_loss(rand(2, 3), rand(2, 3), labels).isfinite()


def test_layers_are_paired_in_order_and_the_last_with_the_last() -> None:
    assert distiller.map_layers(4, 12) == [(0, 2), (1, 5), (2, 8), (3, 11)]
    assert distiller.map_layers(3, 5, "last") == [(0, 2), (1, 3), (2, 4)]
    for student, teacher in ((1, 1), (5, 7), (6, 6)):
        pairs = distiller.map_layers(student, teacher)
        assert pairs[-1] == (student - 1, teacher - 1) and sorted({b for _, b in pairs}) == [b for _, b in pairs]
    with pytest.raises(Exception, match="7 layers of a student for 6"):
        distiller.map_layers(7, 6)


def test_a_critic_learns_what_two_sides_share() -> None:
    """Of 16 pairs that share a feature, InfoNCE comes near log 16; of pairs that share none, it stays near 0."""
    torch.manual_seed(0)
    critic, shared = bounds.Critic(3, 5, 32), torch.randn(256, 2)
    student, teacher = torch.cat([shared, torch.randn(256, 1)], 1), torch.cat([torch.randn(256, 3), shared], 1)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    for step in range(100):
        rows = torch.randperm(256, generator=torch.Generator().manual_seed(step))[:16]
        scores, baseline = critic(student[rows], teacher[rows])
        loss = -bounds.interpolated(scores, baseline, 0.9)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = bounds.infonce(critic(student[:16], teacher[:16])[0]).item()
    assert 1.0 < found <= math.log(16)
    assert bounds.infonce(critic(student[:16], teacher[16:32])[0]).item() < 0.5
