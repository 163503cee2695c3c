"""Papers without public code: what each formula must do whatever its details."""

from __future__ import annotations

import math

import pytest

from tests.support.lazy import Lazy, lazily

torch, np = lazily("torch"), lazily("numpy")
collaborative, swing, knfu, logits = (
    Lazy(f"agentkd.methods.{name}") for name in ("collaborative", "swing", "knfu", "logits")
)
generator, networks, skd, pulses = (
    Lazy(f"agentkd.methods.signals.{name}") for name in ("generator", "networks", "skd", "pulses")
)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_student_with_the_lower_loss_teaches() -> None:
    labels = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(0))
    sure = 9.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).double()
    unsure = torch.zeros_like(sure)
    good, bad = (collaborative.pixel_losses(each, labels) for each in (sure, unsure))
    assert collaborative.better_pixels(bad, good).all() and not collaborative.better_pixels(good, bad).any()
    assert collaborative.better_regions(bad, good, 2).all() and not collaborative.better_regions(good, bad, 2).any()
    for chosen, moves in ((torch.ones(2, 4, 4).bool(), True), (torch.zeros(2, 4, 4).bool(), False)):
        own, other = unsure.clone().requires_grad_(), sure.clone().requires_grad_()
        collaborative.pixel_distillation(own, other, chosen).backward()
        assert other.grad is None and bool(own.grad.any()) == moves
    half = labels == 0
    everywhere = logits.mutual(unsure[:, :, :1, :1].flatten(1), [sure[:, :, :1, :1].flatten(1)])
    ones = collaborative.pixel_distillation(unsure[:, :, :1, :1], sure[:, :, :1, :1], torch.ones(2, 1, 1).bool())
    torch.testing.assert_close(ones, everywhere, atol=1e-6, rtol=1e-6)  # chosen everywhere it is mutual learning
    same = collaborative.same_size_mask(half, torch.Generator().manual_seed(1))
    assert torch.equal(same.sum((1, 2)), half.sum((1, 2))) and not torch.equal(same, half)


def test_features_follow_in_direction_and_the_other_side_stays() -> None:
    own, other = rand(2, 3, 4, 4).requires_grad_(), rand(2, 3, 4, 4, seed=1).requires_grad_()
    region = torch.ones(2, 2, 2).bool()
    assert collaborative.feature_loss(own, 3.0 * own).item() == pytest.approx(0.0, abs=1e-12)
    assert collaborative.region_distillation(own, 3.0 * own, region).item() == pytest.approx(0.0, abs=1e-12)
    assert collaborative.region_distillation(own, other, ~region).item() == 0.0
    (collaborative.feature_loss(own, other) + collaborative.region_distillation(own, other, region)).backward()
    assert other.grad is None and own.grad.any()


def test_a_secret_has_the_same_noise_in_any_text() -> None:
    """Tokens of one character; a token counts as private if it shares a character with a span."""
    one, other = "the code is 77", "77 is the code"
    seeds = [
        swing.token_seeds(text, [(begin, begin + 2)], [(n, n + 1) for n in range(14)])
        for text, begin in ((one, 12), (other, 0))
    ]
    assert seeds[0][12:] == seeds[1][:2] and seeds[0][12] != seeds[0][13] and not any(seeds[0][:12] + seeds[1][3:])
    assert seeds[1][2], "what follows a secret confirms it"
    assert not swing.token_seeds(other, [(0, 2)], [(0, 1), (1, 2), (2, 2)])[2], "the end of a text does not"
    assert swing.token_seeds(one, [(12, 14)], [(0, 11), (11, 13), (13, 14)], salt=1)[1] != seeds[0][12]
    assert swing.token_seeds(one, [(12, 14)], [(0, 11), (11, 13), (13, 14)])[1:] == seeds[0][12:]
    noise = swing.seeded_noise(seeds[0][12:], 7)
    assert torch.equal(noise, swing.seeded_noise(seeds[1][:2], 7)) and not torch.equal(noise[0], noise[1])


def test_public_tokens_keep_the_teacher_and_private_ones_flatten() -> None:
    teacher, privacy = rand(2, 3, 7), torch.tensor([0.0, 1.0, 0.5])
    plain = teacher.log_softmax(-1)
    target = swing.soften(teacher, privacy, tau_max=1e6)
    torch.testing.assert_close(target[:, 0], plain[:, 0])
    torch.testing.assert_close(target[:, 1].exp(), torch.full((2, 7), 1 / 7, dtype=torch.float64), atol=1e-4, rtol=0)
    assert torch.equal(swing.soften(teacher, 0 * privacy, tau_max=8.0), plain)
    noise = swing.seeded_noise([5, 6, 7], 7)
    noisy = swing.soften(teacher, privacy, tau_max=8.0, sigma=2.0, noise_LV=noise)
    torch.testing.assert_close(noisy[:, 0], plain[:, 0])
    mask = torch.ones(2, 3).bool()
    assert swing.swing_loss(teacher, plain, mask).item() == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(Exception, match="without noise"):
        swing.soften(teacher, privacy, tau_max=8.0, sigma=1.0)


def test_fusion_weighs_those_who_agree() -> None:
    views = torch.stack([rand(5, 4), rand(5, 4), -rand(5, 4)])  # two who agree, and one against them
    mean = views.softmax(-1).mean(0)
    torch.testing.assert_close(knfu.fuse(views, beta=0.0), mean.expand(3, -1, -1))
    fused = knfu.fuse(views, beta=200.0)
    torch.testing.assert_close(fused[0], views[0].softmax(-1), atol=1e-6, rtol=0)
    weights = knfu.fusion_weights(views.log_softmax(-1).transpose(0, 1))
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    torch.testing.assert_close(weights[:, 0, 0], weights[:, 0, 1])
    assert (weights[:, 0, 2] < weights[:, 0, 1]).all()
    by_labels = knfu.fuse(views, beta=10.0, by_sample=False)
    torch.testing.assert_close(by_labels.sum(-1), torch.ones(3, 5, dtype=torch.float64))
    assert knfu.knowledge_loss(mean.log(), mean).item() == pytest.approx(0.0, abs=1e-12)


def test_signals_are_those_of_the_seed_at_the_ratio_asked_for() -> None:
    made = generator.make_signals(240, snr_db=[0.0, 20.0], seed=3)
    again = generator.make_signals(240, snr_db=[0.0, 20.0], seed=3)
    assert np.array_equal(made.iq, again.iq) and made.iq.shape == (240, 2, 128)
    assert len(generator.MODULATIONS) >= 8 and set(np.bincount(made.labels)) == {20}
    power = (made.iq.astype(np.float64) ** 2).sum(1).mean(-1)
    assert power[made.snr_db == 20.0].mean() == pytest.approx(1.01, abs=0.02)
    assert power[made.snr_db == 0.0].mean() == pytest.approx(2.0, abs=0.05)
    with pytest.raises(Exception, match="unknown modulation 'qpks'; did you mean qpsk"):
        generator.make_signals(1, modulations=["qpks"])


def test_modulations_have_their_shape() -> None:
    rng = np.random.default_rng(0)
    for name in ("cpfsk", "gfsk", "msk4"):
        assert np.abs(generator.modulate(name, 128, 8, rng)) == pytest.approx(1.0)
    assert np.abs(generator.modulate("pam4", 128, 8, rng).imag).max() < 1e-9
    even = pulses.root_raised_cosine(64, 0.35, 1.0, 8.0)
    assert even[1:] == pytest.approx(even[1:][::-1].tolist())
    matched = np.convolve(even, even)[::8]  # a raised cosine: 0 at all other symbols
    centre = int(np.argmax(matched))
    assert np.abs(np.delete(matched, centre)).max() < 0.02 * matched[centre]
    assert np.abs(pulses.raised_cosine(64, 0.25, 1.0, 8.0)[::8]).tolist() == pytest.approx(
        [0.0] * 4 + [1.0] + [0.0] * 3
    )
    for order in (4, 16, 64):
        bits, points = pulses.bit_table(order), pulses.qam(order)
        near = np.isclose(np.abs(points[:, None] - points[None]), 2.0)
        assert (np.abs(bits[:, None] - bits[None]).sum(-1)[near] == 1).all()  # neighbours differ in one bit


def test_the_teacher_of_signals_is_the_larger_network() -> None:
    torch.manual_seed(0)
    models = [build(9) for build in (networks.ClST, networks.KdCnn, networks.KdMobileNet)]
    signals = torch.randn(3, 2, 128)
    assert all(model(signals).shape == (3, 9) for model in models)
    sizes = [networks.count_parameters(model) for model in models]
    work = [networks.count_flops(model, signals) for model in models]
    assert sizes[0] > 10 * sizes[1] and work[0] > 10 * work[1] and sizes[1] > sizes[2]
    models[0](signals).sum().backward()
    assert all(parameter.grad is not None for parameter in models[0].parameters())


def test_skd_weighs_the_teacher() -> None:
    student, teacher, labels = rand(4, 5), rand(4, 5, seed=1), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(skd.skd_loss(student, teacher, labels, alpha=1.0), logits.kd(student, teacher, 4.0))
    hard = torch.nn.functional.cross_entropy(student, labels)
    torch.testing.assert_close(skd.skd_loss(student, teacher, labels, alpha=0.0), hard)
    by_ratio = skd.accuracy_by_ratio(torch.eye(4), labels, torch.tensor([0.0, 0.0, 6.0, 6.0]))
    assert by_ratio == {0.0: 1.0, 6.0: 1.0} and not math.isnan(by_ratio[0.0])
