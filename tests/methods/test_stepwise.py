"""Weights by step, and the place where a rollout fails, by hand."""

from __future__ import annotations

import math

import pytest

from tests.support.lazy import lazily

torch = lazily("torch")
stepwise = lazily("agentkd.methods.tokens.stepwise")
refined = lazily("agentkd.methods.tokens.refined")


def test_a_strange_step_keeps_its_weight_and_what_follows_loses_it() -> None:
    own = torch.zeros(1, 5)
    teacher = torch.tensor([[0.0, -2.0, -4.0, 0.0, -9.0]])
    steps = stepwise.number_steps(torch.tensor([[True, False, True, False, True]]))
    assert steps.tolist() == [[0, 1, 1, 2, 2]]
    mask = torch.tensor([[True, True, True, True, False]])
    weights = stepwise.step_weights(own, teacher, steps, mask, scale=0.5)
    assert weights[0].tolist() == pytest.approx([1.0, 1.0, 1.0, math.exp(-1.5), math.exp(-1.5)])
    plain = stepwise.step_weights(own, teacher, steps, mask, scale=0.0)
    assert plain.tolist() == [[1.0] * 5]


def test_what_the_teacher_likes_better_is_not_strange() -> None:
    steps, mask = torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool)
    assert stepwise.step_weights(torch.tensor([[-3.0, 0.0]]), torch.zeros(1, 2), steps, mask).tolist() == [[1.0, 1.0]]


def test_the_first_fault_is_the_first_token_below_the_floor() -> None:
    logp = torch.tensor([[-1.0, -5.0, -9.0], [-1.0, -1.0, -1.0], [-1.0, -1.0, -9.0]])
    mask = torch.tensor([[True] * 3, [True] * 3, [True, True, False]])
    assert refined.first_fault(logp, mask).tolist() == [1, 3, 3]
    assert refined.splice([1, 2, 3], 1, [7, 8, 9], 3) == [1, 7, 8]
