"""CKA, mIoU and exposure against what they are defined as."""

from __future__ import annotations

import math

import pytest

from tests.support.lazy import Lazy, lazily

torch, np = lazily("torch"), lazily("numpy")
cka, exposure, miou = (Lazy(f"agentkd.methods.metrics.{name}") for name in ("cka", "exposure", "miou"))


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cka_is_that_of_centred_kernels() -> None:
    x, y = rand(7, 3), rand(7, 5, seed=1)
    centre = torch.eye(7, dtype=torch.float64) - 1 / 7
    k, ell = centre @ (x @ x.T) @ centre, centre @ (y @ y.T) @ centre
    expected = (k * ell).sum() / (k.norm() * ell.norm())
    torch.testing.assert_close(cka.linear_cka(x, y), expected)
    torch.testing.assert_close(cka.linear_cka_of_features(x, y), expected)
    unbiased = cka.linear_cka(x, y, debiased=True)
    torch.testing.assert_close(cka.linear_cka_of_features(x, y, debiased=True), unbiased)
    assert unbiased < expected
    turn = torch.linalg.qr(rand(3, 3, seed=2))[0]
    for measure in (cka.linear_cka, cka.linear_cka_of_features, cka.rbf_cka):
        assert measure(x, 3.0 * x @ turn + 1.0).item() == pytest.approx(1.0)
        assert measure(x, torch.full_like(y, 0.3)).isnan()  # constant features have none
    with pytest.raises(Exception, match="at least 4"):
        cka.linear_cka(x[:3], y[:3], debiased=True)
    with pytest.raises(Exception, match="7 and 6 examples"):
        cka.linear_cka(x, y[:6])


def test_unbiased_cka_of_independent_features_is_about_zero() -> None:
    values = [cka.linear_cka(rand(12, 30, seed=s), rand(12, 30, seed=s + 50), debiased=True).item() for s in range(20)]
    assert abs(np.mean(values)) < 0.1 < cka.linear_cka(rand(12, 30), rand(12, 30, seed=50)).item()


def test_miou_sums_over_images_before_it_divides() -> None:
    predictions = [torch.tensor([[0, 0, 1]]), torch.tensor([[1], [2]])]
    labels = [torch.tensor([[0, 1, 1]]), torch.tensor([[1], [255]])]
    found = miou.measure_segments(predictions, labels, 4)
    assert found.iou.tolist()[:2] == pytest.approx([1 / 2, 2 / 3])
    assert all(math.isnan(value) for value in found.iou.tolist()[2:])  # 2 is predicted where nothing is labelled
    assert found.mean_iou == pytest.approx((1 / 2 + 2 / 3) / 2) and found.pixel_accuracy == pytest.approx(3 / 4)
    counted = miou.measure_segments(predictions, labels, 4, absent=0.0)
    assert counted.mean_iou == pytest.approx((1 / 2 + 2 / 3) / 4)
    assert miou.measure_segments(labels[:1], labels[:1], 2).mean_dice == 1.0
    with pytest.raises(Exception, match=r"a prediction of \[1, 3\] for a label of \[2, 1\]"):
        miou.measure_segments(predictions[:1], labels[1:], 4)


def test_exposure_is_the_bits_of_the_rank() -> None:
    references = [float(value) for value in range(1, 17)]
    assert exposure.exposure_by_rank([0.5, 8.5, 99.0], references).tolist() == pytest.approx(
        [4.0, 4 - math.log2(9), 4 - math.log2(17)]
    )
    assert exposure.exposure_by_rank([math.inf], references)[0] == pytest.approx(4 - math.log2(17))
    assert exposure.exposure_by_rank([3.0], references)[0] == pytest.approx(4 - math.log2(4))  # a tie counts as better
    for wrong, words in (([math.nan], "NaN"), ([1.0], "compares with references")):
        with pytest.raises(Exception, match=words):
            exposure.exposure_by_rank(wrong, [] if wrong == [1.0] else references)


def test_extrapolated_exposure_goes_on_where_ranks_end() -> None:
    references = np.random.default_rng(0).normal(10.0, 1.0, size=400)
    near, far, beyond = exposure.exposure_by_fit([10.0, 4.0, -60.0], references)
    assert near == pytest.approx(exposure.exposure_by_rank([10.0], references)[0], abs=0.3)
    assert math.log2(400) < far < beyond < math.inf
    with pytest.raises(Exception, match="1 different references"):
        exposure.exposure_by_fit([1.0], [2.0, 2.0])
