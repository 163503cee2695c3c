"""Divergences: their limits, what is missing beyond the top K, and logits that no divergence may turn into NaN."""

from __future__ import annotations

import math

import pytest

from tests.support.lazy import Lazy, lazily

torch = lazily("torch")
divergences = Lazy("agentkd.methods.divergences")

NAMES = ["forward", "reverse", "jsd", "skew", "skew-reverse"]


def kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * (a / b).log()).sum(-1)


def test_the_limits_of_jsd_are_the_two_kls() -> None:
    log_p, log_q = (torch.randn(5, 11, generator=torch.Generator().manual_seed(s)).log_softmax(-1) for s in (0, 1))
    assert torch.equal(divergences.jsd(log_p, log_q, 0.0), divergences.forward_kl(log_p, log_q))
    assert torch.equal(divergences.jsd(log_p, log_q, 1.0), divergences.forward_kl(log_q, log_p))
    near = divergences.jsd(log_p.double(), log_q.double(), 1e-6) / 1e-6
    torch.testing.assert_close(near, divergences.forward_kl(log_p, log_q).double(), rtol=1e-3, atol=1e-4)
    assert torch.equal(divergences.skew_forward_kl(log_p, log_q, 0.0), divergences.forward_kl(log_p, log_q))
    with pytest.raises(ValueError, match=r"beta is 1\.5"):
        divergences.jsd(log_p, log_q, 1.5)


@pytest.mark.parametrize("name", NAMES)
def test_equal_distributions_do_not_diverge(name: str) -> None:
    log_p = torch.randn(4, 9, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    assert divergences.find_divergence(name)(log_p, log_p).abs().max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rest", ["bucket", "renormalise"])
def test_all_tokens_known_is_the_full_divergence(name: str, rest: str) -> None:
    """With K = V nothing is missing: the bucket is all but empty on both sides."""
    log_p, log_q = (torch.randn(6, 7, generator=torch.Generator().manual_seed(s)).log_softmax(-1) for s in (3, 4))
    top, ids = log_p.topk(7)
    full, measure = divergences.find_divergence(name)(log_p, log_q), divergences.find_divergence(name)
    torch.testing.assert_close(
        measure(*divergences.restrict_to_top_k(top, ids, log_q, rest)), full, rtol=1e-4, atol=1e-5
    )


def test_the_missing_mass_is_a_choice_that_counts() -> None:
    """A flat student and the top 2 of 100 tokens: the bucket sees what the student leaves to the others."""
    log_p = torch.full((1, 100), 0.2 / 98).log()
    log_p[0, :2] = torch.tensor([0.5, 0.3]).log()
    log_q = torch.full((1, 100), 0.01).log()
    top, ids = log_p.topk(2)
    bucket = divergences.forward_kl(*divergences.restrict_to_top_k(top, ids, log_q, "bucket"))
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.01, 0.01, 0.98])
    torch.testing.assert_close(bucket[0], kl(p, q))
    among = divergences.forward_kl(*divergences.restrict_to_top_k(top, ids, log_q, "renormalise"))
    torch.testing.assert_close(among[0], kl(torch.tensor([0.625, 0.375]), torch.tensor([0.5, 0.5])))
    # The full divergence is never below that of coarser outcomes (data processing).
    assert among < bucket <= divergences.forward_kl(log_p, log_q) + 1e-6
    with pytest.raises(ValueError, match="choose bucket or renormalise"):
        divergences.restrict_to_top_k(top, ids, log_q, "zero")


def test_a_name_that_is_no_divergence_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown divergence 'tvd'"):
        divergences.find_divergence("tvd")


def test_impossible_and_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[math.inf * -1, 0.0, 3.0], [1e38, -1e38, 0.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    for temperature in (1e-6, 1.0, 1e6):
        log_p = divergences.log_probs(logits.requires_grad_(), temperature)
        total = divergences.forward_kl(log_p, log_p.roll(1, 0)).sum()
        assert torch.isfinite(log_p).all() and torch.isfinite(torch.autograd.grad(total, logits)[0]).all()
    torch.testing.assert_close(divergences.log_probs(logits[2:]), logits[2:].log_softmax(-1))


@pytest.mark.parametrize(
    ("row", "temperature", "words"),
    [
        ([math.nan, 1.0], 1.0, "NaN"),
        ([math.inf, 1.0], 1.0, "NaN or"),
        ([-math.inf, -math.inf], 1.0, "no possible class"),
        ([0.0, 1.0], 0.0, "temperature is 0.0"),
        ([0.0, 1.0], -2.0, "above 0"),
        ([], 1.0, "no class"),
    ],
)
def test_what_is_no_distribution_is_refused_in_one_line(row: list[float], temperature: float, words: str) -> None:
    from agentkd.errors import UserError

    with pytest.raises(UserError, match=words) as refused:
        divergences.log_probs(torch.tensor([row]), temperature)
    assert "\n" not in str(refused.value)
