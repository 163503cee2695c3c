"""Bootstrap intervals and paired differences against theory."""

from collections.abc import Callable

import numpy as np
import pytest

from agentkd.errors import UserError
from agentkd.stats import bootstrap_interval, paired_difference, ratio_interval


def test_bootstrap_interval_is_the_normal_one_for_many_coins() -> None:
    values = [1.0] * 600 + [0.0] * 400
    low, high = bootstrap_interval(values)
    half = 1.96 * (0.6 * 0.4 / 1000) ** 0.5
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.003)
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < 0.6 < narrow[1] < high
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(values, seed=1) != (low, high)
    assert bootstrap_interval([0.25]) == (0.25, 0.25)


def test_bootstrap_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.random(60) < 0.3, level=0.8, samples=500, seed=i) for i in range(300)]
    covered = np.mean([low <= 0.3 <= high for low, high in intervals])
    assert 0.72 < covered < 0.88


def test_paired_difference_removes_the_shared_spread() -> None:
    rng = np.random.default_rng(0)
    b = rng.random(200)
    a = b + rng.normal(0.05, 0.01, 200)
    mean, low, high = paired_difference(a, b)
    assert mean == pytest.approx(float((a - b).mean()))
    assert 0.045 < low < mean < high < 0.055
    a_low, a_high = bootstrap_interval(a)
    assert high - low < (a_high - a_low) / 5
    assert paired_difference(b, a) == pytest.approx((-mean, -high, -low), abs=2e-4)
    assert paired_difference(a, a) == (0, 0, 0)


def test_ratio_interval_is_clopper_and_pearsons_for_coins() -> None:
    """7 of 10 right beside a teacher that is always right: the known bounds are 0.3475 and 0.9333."""
    low, high = ratio_interval([1] * 7 + [0] * 3, [1] * 10, samples=200_000)
    assert low == pytest.approx(0.3475, abs=0.003)
    assert ratio_interval([1] * 10, [1] * 10, samples=200_000)[0] == pytest.approx(0.025**0.1, abs=0.003)
    assert high > 0.9333  # the teacher might have failed where the student did not


def test_ratio_interval_of_many_is_the_normal_one() -> None:
    """By the delta method; pairing makes it narrower."""
    rng = np.random.default_rng(0)
    b = rng.random(4_000) * 0.5 + 0.5
    a = np.clip(0.9 * b + rng.normal(0, 0.05, 4_000), 0, 1)
    ratio = a.mean() / b.mean()
    half = 1.96 * float(np.std(a - ratio * b)) / b.mean() / 4_000**0.5
    low, high = ratio_interval(a, b)
    assert (low, high) == pytest.approx((ratio - half, ratio + half), abs=0.001)
    assert ratio_interval(rng.permutation(a), b)[0] < low
    many = ratio_interval(a, b, repeats=100)
    assert many[1] - many[0] < (high - low) / 8


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_interval([]),
        lambda: bootstrap_interval([1.0, float("nan")]),
        lambda: bootstrap_interval([[1.0], [0.0]]),
        lambda: bootstrap_interval([1.0], level=95),
        lambda: bootstrap_interval([1.0], samples=0),
        lambda: paired_difference([1.0, 0.0], [1.0]),
        lambda: ratio_interval([1.0, 0.0], [1.0]),
        lambda: ratio_interval([], []),
        lambda: ratio_interval([1.2], [1.0]),
        lambda: ratio_interval([float("nan")], [1.0]),
        lambda: ratio_interval([1.0], [1.0], repeats=0),
    ],
)
def test_bad_statistics_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r": (give|take|compare) "):
        call()
