"""The losses against naive float64 references, in value and gradient."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from agentkd.distill import losses  # noqa: E402 (torch is optional)

NAMES = ["forward", "reverse", "jsd", "skew", "skew-reverse"]


def kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * (a / b).log()).sum(-1)


def reference(name: str, p: torch.Tensor, q: torch.Tensor, beta: float, alpha: float) -> torch.Tensor:
    """The papers' formulas on probabilities, float64."""
    if name == "jsd":
        m = beta * p + (1 - beta) * q
        return beta * kl(p, m) + (1 - beta) * kl(q, m)
    return {
        "forward": lambda: kl(p, q),
        "reverse": lambda: kl(q, p),
        "skew": lambda: kl(p, alpha * p + (1 - alpha) * q),
        "skew-reverse": lambda: kl(q, (1 - alpha) * p + alpha * q),
    }[name]()


def states(n: int = 37, v: int = 53, d: int = 8, seed: int = 0) -> list[torch.Tensor]:
    """Hidden states and heads of a student and a teacher of another width, float64."""
    g = torch.Generator().manual_seed(seed)
    sizes = [(n, d), (v, d), (n, d + 3), (v, d + 3)]
    return [torch.randn(size, generator=g, dtype=torch.float64) for size in sizes]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_chunked_equals_the_dense_reference(name: str, seed: int) -> None:
    hidden, head, teacher_hidden, teacher_head = states(seed=seed)
    hidden.requires_grad_(), head.requires_grad_()
    p, q = (teacher_hidden @ teacher_head.T).softmax(-1), (hidden @ head.T).softmax(-1)
    expected = reference(name, p, q, beta=0.3, alpha=0.2).sum()
    expected_grads = torch.autograd.grad(3 * expected, (hidden, head))

    measure = losses.divergence(name, beta=0.3, alpha=0.2)
    small = [tensor.detach().float().requires_grad_() for tensor in (hidden, head)]

    def loss(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return measure((teacher @ teacher_head.float().T).log_softmax(-1), logits.log_softmax(-1))

    for chunk in (1, 10, 37, 64):
        total = losses.chunked(loss, *small, teacher_hidden.float(), chunk=chunk)
        grads = torch.autograd.grad(3 * total, small)
        torch.testing.assert_close(total.double(), expected.detach(), rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(grads, expected_grads, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)


def test_the_limits_of_jsd_are_the_two_kls() -> None:
    log_p, log_q = (torch.randn(5, 11, generator=torch.Generator().manual_seed(s)).log_softmax(-1) for s in (0, 1))
    assert torch.equal(losses.jsd(log_p, log_q, 0.0), losses.forward_kl(log_p, log_q))
    assert torch.equal(losses.jsd(log_p, log_q, 1.0), losses.forward_kl(log_q, log_p))
    near = losses.jsd(log_p.double(), log_q.double(), 1e-6) / 1e-6
    torch.testing.assert_close(near, losses.forward_kl(log_p, log_q).double(), rtol=1e-3, atol=1e-4)
    assert torch.equal(losses.skew_forward_kl(log_p, log_q, 0.0), losses.forward_kl(log_p, log_q))
    with pytest.raises(ValueError, match=r"beta is 1\.5"):
        losses.jsd(log_p, log_q, 1.5)


@pytest.mark.parametrize("name", NAMES)
def test_equal_distributions_do_not_diverge(name: str) -> None:
    log_p = torch.randn(4, 9, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    assert losses.divergence(name)(log_p, log_p).abs().max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rest", ["bucket", "renormalise"])
def test_all_tokens_known_is_the_full_divergence(name: str, rest: str) -> None:
    """With K = V nothing is missing: the bucket is all but empty on both sides."""
    log_p, log_q = (torch.randn(6, 7, generator=torch.Generator().manual_seed(s)).log_softmax(-1) for s in (3, 4))
    top, ids = log_p.topk(7)
    full, measure = losses.divergence(name)(log_p, log_q), losses.divergence(name)
    torch.testing.assert_close(measure(*losses.on_top_k(top, ids, log_q, rest)), full, rtol=1e-4, atol=1e-5)


def test_the_missing_mass_is_a_choice_that_counts() -> None:
    """A flat student and the top 2 of 100 tokens: the bucket sees what the student leaves to the others."""
    log_p = torch.full((1, 100), 0.2 / 98).log()
    log_p[0, :2] = torch.tensor([0.5, 0.3]).log()
    log_q = torch.full((1, 100), 0.01).log()
    top, ids = log_p.topk(2)
    bucket = losses.forward_kl(*losses.on_top_k(top, ids, log_q, "bucket"))
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.01, 0.01, 0.98])
    torch.testing.assert_close(bucket[0], kl(p, q))
    among = losses.forward_kl(*losses.on_top_k(top, ids, log_q, "renormalise"))
    torch.testing.assert_close(among[0], kl(torch.tensor([0.625, 0.375]), torch.tensor([0.5, 0.5])))
    # The full divergence is never below that of coarser outcomes (data processing).
    assert among < bucket <= losses.forward_kl(log_p, log_q) + 1e-6
    with pytest.raises(ValueError, match="choose bucket or renormalise"):
        losses.on_top_k(top, ids, log_q, "zero")


def test_frozen_parts_get_no_gradient_and_rows_must_match() -> None:
    hidden, head, _, _ = (tensor.float() for tensor in states())
    labels = torch.arange(len(hidden)) % len(head)

    def nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    with torch.no_grad():
        silent = losses.chunked(nll, hidden, head, labels)
    torch.testing.assert_close(silent, torch.nn.functional.cross_entropy(hidden @ head.T, labels, reduction="sum"))
    hidden.requires_grad_()
    losses.chunked(nll, hidden, head, labels).backward()
    expected = torch.autograd.grad(torch.nn.functional.cross_entropy(hidden @ head.T, labels, reduction="sum"), hidden)[
        0
    ]
    torch.testing.assert_close(hidden.grad, expected)
    assert head.grad is None
    twice = losses.chunked(nll, hidden, head, labels)
    twice.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="goes backward once"):
        twice.backward()
    with pytest.raises(ValueError, match=r"37 tokens, but aligned tensors of \[36\] rows"):
        losses.chunked(nll, hidden, head, labels[1:])
    with pytest.raises(ValueError, match="unknown divergence 'tvd'"):
        losses.divergence("tvd")
