"""The losses against naive float64 references, in value and gradient."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lazy import Lazy, lazily

torch = lazily("torch")
losses, divergences = Lazy("agentkd.distill.losses"), Lazy("agentkd.methods.divergences")

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


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(NAMES),
    beta=st.floats(0.05, 0.95),
    alpha=st.floats(0.0, 0.9),
    tokens=st.integers(1, 40),
    chunk=st.one_of(st.none(), st.integers(1, 45)),
    rows=st.integers(1, 45),
    seed=st.integers(0, 2**16),
)
def test_chunked_equals_the_dense_reference(
    name: str, beta: float, alpha: float, tokens: int, chunk: int | None, rows: int, seed: int
) -> None:
    hidden, head, teacher_hidden, teacher_head = states(n=tokens, seed=seed)
    hidden.requires_grad_(), head.requires_grad_()
    p, q = (teacher_hidden @ teacher_head.T).softmax(-1), (hidden @ head.T).softmax(-1)
    expected = reference(name, p, q, beta, alpha).sum()
    expected_grads = torch.autograd.grad(3 * expected, (hidden, head))

    measure = divergences.find_divergence(name, beta=beta, alpha=alpha)
    small = [tensor.detach().float().requires_grad_() for tensor in (hidden, head)]
    teacher = losses.Head(teacher_hidden.float(), teacher_head.float())

    def between_heads(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return measure(teacher.log_softmax(-1), logits.log_softmax(-1))

    def from_known(logits: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
        return measure(log_p, logits.log_softmax(-1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agentkd.distill.losses.LOGITS", 11 * len(head))
        patch.setattr("agentkd.distill.losses.IN_CACHE", rows * len(head))
        for loss, aligned in ((between_heads, teacher), (from_known, p.log().float())):
            total = losses.chunked_loss(loss, *small, aligned, chunk=chunk)
            grads = torch.autograd.grad(3 * total, small)
            torch.testing.assert_close(total.double(), expected.detach(), rtol=1e-4, atol=1e-4)
            for ours, theirs in zip(grads, expected_grads, strict=True):
                torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-4)


def test_no_array_is_larger_than_a_chunks_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Sizes(TorchDispatchMode):
        largest, losses = 0, 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, tuple | list) else (made,):
                if isinstance(tensor, torch.Tensor):
                    self.largest = max(self.largest, tensor.numel())
            if func is torch.ops.aten._log_softmax.default:
                self.losses = max(self.losses, made.numel())
            return made

    hidden, head, teacher_hidden, teacher_head = (tensor.float() for tensor in states(n=64, d=2))
    monkeypatch.setattr("agentkd.distill.losses.LOGITS", 16 * 53 + 7)
    monkeypatch.setattr("agentkd.distill.losses.IN_CACHE", 4 * 53)
    with Sizes() as seen:
        losses.chunked_loss(
            lambda logits, teacher: divergences.jsd(teacher.log_softmax(-1), logits.log_softmax(-1)),
            hidden.requires_grad_(),
            head.requires_grad_(),
            losses.Head(teacher_hidden, teacher_head),
        ).backward()
    assert seen.largest == 16 * 53 and seen.losses == 4 * 53


def test_frozen_parts_get_no_gradient_and_rows_must_match() -> None:
    hidden, head, _, _ = (tensor.float() for tensor in states())
    labels = torch.arange(len(hidden)) % len(head)

    def nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    with torch.no_grad():
        silent = losses.chunked_loss(nll, hidden, head, labels)
    torch.testing.assert_close(silent, torch.nn.functional.cross_entropy(hidden @ head.T, labels, reduction="sum"))
    hidden.requires_grad_()
    losses.chunked_loss(nll, hidden, head, labels).backward()
    expected = torch.autograd.grad(torch.nn.functional.cross_entropy(hidden @ head.T, labels, reduction="sum"), hidden)[
        0
    ]
    torch.testing.assert_close(hidden.grad, expected)
    assert head.grad is None
    twice = losses.chunked_loss(nll, hidden, head, labels)
    twice.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="goes backward once"):
        twice.backward()
    with pytest.raises(ValueError, match=r"37 tokens, but aligned tensors of \[36\] rows"):
        losses.chunked_loss(nll, hidden, head, labels[1:])
    with pytest.raises(ValueError, match=r"37 tokens, but aligned tensors of \[37, 5\] rows"):
        losses.chunked_loss(nll, hidden, head, labels, losses.Head(hidden[:5], head))
