"""Every objective against its formula, written down naively in numpy and float64, sample by sample."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.lazy import Lazy, lazily

torch, np = lazily("torch"), lazily("numpy")
root = "agentkd.methods"
bounds, compodistill, distiller, llava_kd, logits, mcmi, miniplm, mixkd, ofa = (
    Lazy(f"{root}.{name}")
    for name in ("bounds", "compodistill", "distiller", "llava_kd", "logits", "mcmi", "miniplm", "mixkd", "ofa")
)
contrast, factors, maps, relations = (
    Lazy(f"{root}.features.{name}") for name in ("contrast", "factors", "maps", "relations")
)
divergences, distillm, gkd, minillm, ranking, topk, uld = (
    Lazy(f"{root}.{name}")
    for name in (
        "divergences", "tokens.distillm", "tokens.gkd", "tokens.minillm", "tokens.ranking", "tokens.topk", "tokens.uld",
    )
)  # fmt: skip
Array = Any


def soft(z: Array, t: float = 1.0) -> Array:
    e = np.exp(z / t - (z / t).max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(a: Array, b: Array) -> Array:
    return (a * np.log(a / b)).sum(-1)


def unit(x: Array, axis: int = -1) -> Array:
    return x / np.sqrt((x**2).sum(axis, keepdims=True))


def pearson(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a**2).sum() * (b**2).sum()) + 1e-8))


def smooth(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def ce(z: Array, y: Array) -> float:
    return float(-np.log(soft(z))[range(len(y)), y].mean())


def dkd(s: Array, t: Array, y: Array) -> float:
    total = 0.0
    for a, b, label in zip(soft(s, 4.0), soft(t, 4.0), y, strict=True):
        q, p = np.array([a[label], 1 - a[label]]), np.array([b[label], 1 - b[label]])
        q_rest, p_rest = (np.delete(x, label) / (1 - x[label]) for x in (a, b))
        total += kl(p, q) + 8.0 * kl(p_rest, q_rest)
    return 16.0 * total / len(y)


def dist(s: Array, t: Array, y: Array) -> float:
    q, p = soft(s), soft(t)
    rows = np.mean([pearson(a, b) for a, b in zip(q, p, strict=True)])
    return float(2.0 - rows - np.mean([pearson(a, b) for a, b in zip(q.T, p.T, strict=True)]))


def standard(z: Array) -> Array:
    return (z - z.mean(-1, keepdims=True)) / (1e-7 + z.std(-1, ddof=1, keepdims=True))


def ofa_reference(s: Array, t: Array, y: Array) -> float:
    hot = np.eye(s.shape[-1])[y]
    return float(-(((soft(t) + hot) ** 1.5 - hot) * np.log(soft(s))).sum(-1).mean())


def mutual(s: Array, t: Array, y: Array) -> float:
    return float((soft(t) * np.log(1e-8 + soft(t) / (soft(s) + 1e-8))).sum(-1).mean())


def mix_kd(s: Array, t: Array, y: Array) -> float:
    q, p = (soft(z / z.std(-1, ddof=1, keepdims=True)) for z in (s, t))
    return float(-0.1 * np.log(q)[range(len(y)), y].mean() + 0.9 * kl(p, q).mean())


def hot(y: Any, classes: int) -> Any:
    return torch.nn.functional.one_hot(y, classes).double()


LOGITS: dict[str, tuple[Callable[..., Any], Callable[..., float]]] = {
    "kd": (lambda s, t, y: logits.kd(s, t, 3.0), lambda s, t, y: 9.0 * kl(soft(t, 3.0), soft(s, 3.0)).mean()),
    "kd_with_labels": (
        lambda s, t, y: logits.kd_with_labels(s, t, y, 2.0, 0.3),
        lambda s, t, y: 0.3 * ce(s, y) + 0.7 * 4.0 * kl(soft(t, 2.0), soft(s, 2.0)).mean(),
    ),
    "dkd": (lambda s, t, y: logits.dkd(s, t, y), dkd),
    "dist": (lambda s, t, y: logits.dist(s, t), dist),
    "logit-std": (
        lambda s, t, y: logits.logit_standardisation(s, t, 2.0),
        lambda s, t, y: kl(soft(standard(t), 2.0), soft(standard(s), 2.0)).mean(),
    ),
    "mutual": (lambda s, t, y: logits.mutual(s, [t]), mutual),
    "ofa": (lambda s, t, y: ofa.adaptive_target_loss(s, t, y, 1.5), ofa_reference),
    "mix-kd": (lambda s, t, y: mixkd.mixkd_loss(s, t, hot(y, s.shape[-1])).total, mix_kd),
    "tvd": (
        lambda s, t, y: divergences.total_variation(t.log_softmax(-1), s.log_softmax(-1)).mean(),
        lambda s, t, y: 0.5 * np.abs(soft(t) - soft(s)).sum(-1).mean(),
    ),
}


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("seed", [0, 1])
def test_objectives_on_logits(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    s, t, y = rng.normal(size=(5, 4)), 2 * rng.normal(size=(5, 4)), rng.integers(4, size=5)
    call, reference = LOGITS[name]
    student = torch.tensor(s, requires_grad=True)
    assert call(student, torch.tensor(t), torch.tensor(y)).item() == pytest.approx(reference(s, t, y), rel=1e-9)
    assert torch.autograd.gradcheck(lambda z: call(z, torch.tensor(t), torch.tensor(y)), student)


def attention(s: Array, t: Array) -> float:
    q, p = (unit((x**2).mean(1).reshape(len(x), -1)) for x in (s, t))
    return float(((q - p) ** 2).mean())


def nst(s: Array, t: Array) -> float:
    q, p = (unit(x.reshape(*x.shape[:2], -1)) for x in (s, t))
    kernel = [[(a @ b) ** 2 for a in u for b in v] for u, v in zip([*p, *q, *q], [*p, *q, *p], strict=True)]
    means = np.mean(kernel, -1).reshape(3, -1).mean(-1)
    return float(means[0] + means[1] - 2 * means[2])


def fsp(s: Array, t: Array) -> float:
    def flow(x: Array) -> Array:
        return np.einsum("bchw,bdhw->bcd", x, x[:, ::-1]) / (x.shape[2] * x.shape[3])

    return float(np.sqrt(((flow(s) - flow(t)) ** 2).sum(1)).sum() / len(s))


def ickd(s: Array, t: Array) -> float:
    q, p = (unit(np.einsum("bchw,bdhw->bcd", x, x)) for x in (s, t))
    return float(((q - p) ** 2).sum() / (s.shape[1] * len(s) ** 2))


def hcl(s: Array, t: Array) -> float:
    """4 × 4 maps: themselves, 2 × 2 and 1 × 1."""
    terms = [((s - t) ** 2).mean()]
    for grid in (2, 1):
        a, b = (x.reshape(*x.shape[:2], grid, 4 // grid, grid, 4 // grid).mean((3, 5)) for x in (s, t))
        terms.append(((a - b) ** 2).mean())
    return float(np.dot(terms, [1, 0.5, 0.25]) / 1.75)


def pkt(s: Array, t: Array) -> float:
    def neighbours(x: Array) -> Array:
        x = x.reshape(len(x), -1)
        n = x / (np.sqrt((x**2).sum(-1, keepdims=True)) + 1e-7)
        similar = (n @ n.T + 1) / 2
        return similar / similar.sum(-1, keepdims=True)

    p, q = neighbours(t), neighbours(s)
    return float((p * np.log((p + 1e-7) / (q + 1e-7))).mean())


def rkd(s: Array, t: Array) -> float:
    n = len(s)

    def relations_of(x: Array) -> tuple[Array, Array]:
        x = x.reshape(n, -1)
        d = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in x] for a in x])
        angles = np.zeros((n, n, n))
        for i, j, k in itertools.product(range(n), repeat=3):
            if i not in (j, k):
                angles[i, j, k] = unit(x[j] - x[i]) @ unit(x[k] - x[i])
        return d / (d.sum() / (n * n - n)), angles

    (d_s, a_s), (d_t, a_t) = relations_of(s), relations_of(t)
    pairs = np.mean([smooth(x) for x in (d_s - d_t).ravel()])
    return float(25 * pairs + 50 * np.mean([smooth(x) for x in (a_s - a_t).ravel()]))


def similarity(s: Array, t: Array) -> float:
    q, p = (unit(x.reshape(len(x), -1) @ x.reshape(len(x), -1).T) for x in (s, t))
    return float(((q - p) ** 2).sum() / len(s) ** 2)


def congruence(s: Array, t: Array) -> float:
    def kernel(x: Array) -> Array:
        g = x.reshape(len(x), -1) @ x.reshape(len(x), -1).T
        return math.exp(-0.8) * (1 + 0.8 * g + 0.32 * g**2)

    return float(np.sqrt(((kernel(s) - kernel(t)) ** 2).sum()) / len(s) ** 2)


def neighbours_apart(s: Array, t: Array) -> float:
    d = np.abs(s - t).reshape(len(s), -1)
    return float(np.mean([(d[i] * d[i + 1]).sum() for i in range(len(d) - 1)]))


def boundary(s: Array, t: Array) -> float:
    total = 0.0
    for a, b in zip(s.ravel(), t.ravel(), strict=True):
        total += (a + 1) ** 2 if b <= 0 and a > -1 else (a - 1) ** 2 if b > 0 and a <= 1 else 0.0
    return total / len(s)


FEATURES: dict[str, tuple[Callable[..., Any], Callable[[Array, Array], float]]] = {
    "at": (lambda s, t: maps.attention(s, t), attention),
    "nst": (lambda s, t: maps.nst(s, t), nst),
    "fsp": (lambda s, t: maps.fsp((s, s.flip(1)), (t, t.flip(1))), fsp),
    "ickd": (lambda s, t: maps.ickd(s, t), ickd),
    "hcl": (lambda s, t: maps.hcl(s, t), hcl),
    "pkt": (lambda s, t: relations.pkt(s, t), pkt),
    "rkd": (lambda s, t: relations.rkd(s, t), rkd),
    "spkd": (lambda s, t: relations.similarity(s, t), similarity),
    "cckd": (lambda s, t: relations.congruence(s, t, kernel="gaussian"), congruence),
    "cckd-neighbours": (lambda s, t: relations.congruence_of_neighbours(s, t), neighbours_apart),
    "ft": (
        lambda s, t: factors.factors(s, t),
        lambda s, t: np.abs(unit(s.reshape(3, -1)) - unit(t.reshape(3, -1))).mean(),
    ),
    "ab": (lambda s, t: factors.boundaries(s, t), boundary),
    "vid": (
        lambda s, t: factors.information(s, factors.channel_variance(torch.zeros(2, dtype=torch.float64)), t),
        lambda s, t: (0.5 * ((s - t) ** 2 / (math.log(2) + 1e-5) + math.log(math.log(2) + 1e-5))).mean(),
    ),
    "srd": (
        lambda s, t: factors.simple_recipe(s, t, s[:, :, 0, 0], t[:, :, 0, 0], exponent=2.0),
        lambda s, t: 2 * math.log(((s - t) ** 2).sum()) + kl(soft(t[:, :, 0, 0]), soft(s[:, :, 0, 0])).mean(),
    ),
    "hidden-cosine": (
        lambda s, t: distiller.hidden_cosine(s[:, :, 0], t[:, :, 0]),
        lambda s, t: (1 - (unit(s[:, :, 0]) * unit(t[:, :, 0])).sum(-1)).mean(),
    ),
    "relation": (
        lambda s, t: llava_kd.relation_loss(s.flatten(2), t.flatten(2)),
        lambda s, t: np.mean(
            [
                1 - (unit((a @ a.T).ravel()) * unit((b @ b.T).ravel())).sum()
                for a, b in zip(s.reshape(3, 2, -1), t.reshape(3, 2, -1), strict=True)
            ]
        ),
    ),
}


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("seed", [0, 1])
def test_objectives_on_features(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    s, t = rng.normal(size=(3, 2, 4, 4)), rng.normal(size=(3, 2, 4, 4))
    call, reference = FEATURES[name]
    student = torch.tensor(s, requires_grad=True)
    assert call(student, torch.tensor(t)).item() == pytest.approx(float(reference(s, t)), rel=1e-9)
    grad = torch.autograd.grad(call(student, torch.tensor(t)), student)[0]
    step = 1e-6 * rng.normal(size=s.shape)
    change = reference(s + step, t) - reference(s - step, t)
    assert (grad.numpy() * step).sum() * 2 == pytest.approx(float(change), rel=1e-3, abs=1e-12)


def test_contrast_with_a_bank() -> None:
    rng = np.random.default_rng(0)
    s, t, v1, v2 = (unit(rng.normal(size=shape)) for shape in ((2, 3), (2, 3), (6, 3), (6, 3)))
    rows = np.array([[4, 0, 2], [1, 5, 5]])
    total = []
    for x, bank in ((s, v2), (t, v1)):
        scores = np.exp(np.einsum("bkd,bd->bk", bank[rows], x) / 0.1)
        scores /= scores.mean() * 6
        noise = 2 / 6
        positive = np.log(scores[:, 0] / (scores[:, 0] + noise + 1e-7)).sum()
        total.append(-(positive + np.log(noise / (scores[:, 1:] + noise + 1e-7)).sum()) / 2)
    banks = contrast.Banks(torch.tensor(v1), torch.tensor(v2))
    settings = {"temperature": 0.1, "momentum": 0.25}
    found = contrast.crd(torch.tensor(s), torch.tensor(t), banks, torch.tensor(rows), **settings)
    assert found.total.item() == pytest.approx(sum(total))
    assert found.banks.student[4].numpy() == pytest.approx(unit(0.25 * v1[4] + 0.75 * s[0]))
    assert torch.equal(found.banks.student[0], banks.student[0])  # a negative stays
    again = contrast.crd(torch.tensor(t), torch.tensor(s), found.banks, torch.tensor(rows), **settings)
    assert again.banks.z_student == found.banks.z_student  # Z is that of the first batch


def test_bounds_of_information() -> None:
    rng = np.random.default_rng(0)
    k = 4
    s, b = rng.normal(size=(k, k)), rng.normal(size=k)
    off = [(i, j) for i in range(k) for j in range(k) if i != j]
    tuba = 1 + np.mean([s[i, i] - b[i] for i in range(k)]) - np.mean([math.exp(s[i, j] - b[i]) for i, j in off])
    scores, baseline = torch.tensor(s, requires_grad=True), torch.tensor(b, requires_grad=True)
    assert bounds.tuba(scores, baseline).item() == pytest.approx(tuba)
    for w in (0.0, 0.3, 1.0):
        m = [[math.log(np.mean([math.exp(s[i, x]) for x in range(k) if x != j])) for j in range(k)] for i in range(k)]
        base = np.log(w * np.exp(m) + (1 - w) * np.exp(b)[:, None])
        joint = np.mean([s[i, i] - base[i, j] for i, j in off])
        expected = 1 + joint - np.mean([math.exp(s[i, j] - base[i, i]) for i, j in off])
        assert bounds.interpolated(scores, baseline, w).item() == pytest.approx(expected)
        assert torch.autograd.gradcheck(lambda x, y, w=w: bounds.interpolated(x, y, w), (scores, baseline))


def test_sequences_of_next_tokens() -> None:
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 4, 5))
    labels = np.array([[-100, -100, 1, 2], [-100, 0, 3, 4]])
    q, p = soft(s), soft(t)
    mean: list[list[float]] = []
    for row in range(2):
        at = [place - 1 for place in range(1, 4) if labels[row, place] != -100]
        mean.append(
            [
                np.mean([kl(p[row, i], 0.1 * p[row, i] + 0.9 * q[row, i]) for i in at]),
                np.mean([kl(q[row, i], 0.9 * p[row, i] + 0.1 * q[row, i]) for i in at]),
            ]
        )
    sides = torch.tensor(s), torch.tensor(t), torch.tensor(labels)
    found = distillm.sequence_divergences(*sides)
    assert found.forward.tolist() == pytest.approx([row[0] for row in mean])
    assert found.reverse.tolist() == pytest.approx([row[1] for row in mean])
    aligned = gkd.generalised_jsd(*sides, beta=0.0)
    kept = [kl(p[i, j], q[i, j]) for i, j in zip(*np.nonzero(labels != -100), strict=True)]
    assert aligned.item() == pytest.approx(np.mean(kept))
    answer = llava_kd.answer_loss(*sides)
    shifted = [kl(p[i, j - 1], q[i, j - 1]) for i, j in zip(*np.nonzero(labels != -100), strict=True)]
    assert answer.item() == pytest.approx(np.mean(shifted))
    soft_ce = [-(p[i, j] * np.log(q[i, j])).sum() for i, j in zip(*np.nonzero(labels != -100), strict=True)]
    assert compodistill.logit_loss(*sides).item() == pytest.approx(np.mean(soft_ce))


def test_advantages_and_documents() -> None:
    rng = np.random.default_rng(0)
    own, other = np.log(rng.uniform(0.1, 1, size=(2, 4))), np.log(rng.uniform(0.1, 1, size=(2, 4)))
    mask = np.array([[True, True, True, False], [True, True, False, False]])
    sides = torch.tensor(own), torch.tensor(other), torch.tensor(mask)
    found = minillm.advantages(*sides, gamma=0.5, normalise=True)
    for row, t in itertools.product(range(2), range(4)):
        later = range(t, 4)
        reward = sum(0.5**i * (other - own)[row, i] * mask[row, i] for i in later)
        length = sum(0.5**i * (1.0 if mask[row, i] else 1e-4) for i in later)
        assert found[row, t].item() == pytest.approx(reward / length)
    assert minillm.advantages(*sides)[0, 3] == 0.0
    nll = miniplm.document_nll(torch.tensor(own)[:, :, None].expand(-1, -1, 3), torch.zeros(2, 4).long(), sides[2])
    assert nll.tolist() == pytest.approx([math.log(3)] * 2)
    scores = miniplm.difference(torch.tensor([1.0, 2.0, 1.0, 0.5]), torch.tensor([3.0, 2.5, 3.0, 0.0]))
    assert miniplm.keep_largest(scores, 0.5).tolist() == [0, 2]
    assert miniplm.keep_largest(scores, 0.25).tolist() == [0]  # of equal ones the first


def test_two_vocabularies() -> None:
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(1, 5, 4)), rng.normal(size=(1, 4, 6))
    labels = torch.tensor([[-100, -100, 1, 2, 0]]), torch.tensor([[-100, -100, 1, 2]])
    q, p = soft(s)[0], soft(t)[0]

    def apart(a: Array, b: Array) -> float:
        return float(np.abs(np.pad(np.sort(a)[::-1], (0, 2)) - np.sort(b)[::-1]).sum())

    sides = uld.Side(torch.tensor(s), labels[0]), uld.Side(torch.tensor(t), labels[1])
    assert uld.uld_loss(*sides).item() == pytest.approx((apart(q[1], p[1]) + apart(q[2], p[2])) / 2)
    observed = uld.uld_loss(*sides, uld.Rules("observed")).item()
    assert observed == pytest.approx((apart(q[2], p[2]) + apart(q[3], p[3])) / 2)
    ids, ends = torch.tensor([[0, 0, 3, 1, 2]]), torch.tensor([[[0, 0], [0, 0], [0, 1], [1, 3], [3, 4]]])
    others = torch.tensor([[0, 0, 5, 4]]), torch.tensor([[[0, 0], [0, 0], [0, 3], [3, 4]]])
    spans = uld.Side(torch.tensor(s), labels[0], ids, ends), uld.Side(torch.tensor(t), labels[1], *others)
    first = apart(q[2] * q[3, 1], p[2])  # the student's first two tokens are the teacher's first
    joined = uld.uld_loss(*spans, uld.Rules("observed", spans=True)).item()
    assert joined == pytest.approx((first + apart(q[4], p[3])) / 2)
    last = apart(q[2] * q[1, 3], p[1])  # bayesian: one place earlier, its last token's row
    joined = uld.uld_loss(*spans, uld.Rules("bayesian", spans=True)).item()
    assert joined == pytest.approx((last + apart(q[3], p[2])) / 2)


def test_a_teacher_known_at_some_tokens() -> None:
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(1, 1, 6)), rng.normal(size=6)
    ids = np.array([3, 1])
    q, p = soft(s[0, 0], 2.0), soft(t)[ids]
    known = torch.tensor(ids)[None, None], torch.tensor(np.log(p))[None, None]
    flat = p**0.5 / (p**0.5).sum()
    zero = topk.sparse_loss(divergences.forward_kl, torch.tensor(s), *known, temperature=2.0).item()
    assert zero == pytest.approx(kl(flat, q[ids]))
    rest = (1 - p.sum()) ** 0.5
    with_rest = np.array([*p**0.5, rest]) / ((p**0.5).sum() + rest)
    both = {"missing": "symmetric_uniform", "temperature": 2.0}
    found = topk.sparse_loss(divergences.jsd, torch.tensor(s), *known, **both).item()
    q_rest = np.array([*q[ids], 1 - q[ids].sum()])
    middle = (with_rest + q_rest) / 2
    assert found == pytest.approx((kl(with_rest, middle) + kl(q_rest, middle)) / 2)


def test_head_and_tail_of_the_teacher() -> None:
    p, q = np.array([0.55, 0.25, 0.15, 0.05]), np.array([0.4, 0.1, 0.2, 0.3])
    tail, head = np.abs(p - q)[1:].sum(), abs(p[0] - q[0])  # the three least likely have 0.45 of the mass
    expected = (head * kl(p, q) + tail * kl(q, p)) / (head + tail)
    found = ranking.adaptive_kl(*(torch.tensor(np.log(x))[None] for x in (p, q)))
    assert found.item() == pytest.approx(expected)
    student, ids, log_p = np.log(q)[None, None], np.arange(3)[None, None], np.log(p[:3])[None, None]
    pairs = [(0, 1), (0, 2), (1, 2)]
    hinge = np.mean([max(0.0, p[k] - p[m] - (q[k] - q[m])) for k, m in pairs])
    logistic = np.mean([math.log1p(math.exp(-(math.log(q[k]) - math.log(q[m])))) for k, m in pairs])
    known = torch.tensor(student), torch.tensor(ids), torch.tensor(log_p)
    assert ranking.hinge_ranking(*known).item() == pytest.approx(hinge, rel=1e-7)
    assert ranking.logistic_ranking(*known).item() == pytest.approx(logistic, rel=1e-7)


def test_information_of_a_teacher() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(9, 3)), np.array([0, 0, 0, 0, 2, 2, 2, 2, 2])
    p = soft(z)
    means = np.array([p[y == 0].mean(0), np.full(3, 1 / 3), p[y == 2].mean(0)])
    found = mcmi.class_means(torch.tensor(z), torch.tensor(y), 3)
    assert found.numpy() == pytest.approx(means)
    cmi = np.mean([kl(p[i], means[y[i]]) for i in range(9)])
    loss = mcmi.teacher_loss(torch.tensor(z), torch.tensor(y), found, 0.25).item()
    assert loss == pytest.approx(ce(z, y) - 0.25 * cmi)


@pytest.mark.parametrize("masked", [False, True])
def test_states_and_attention_of_layers(masked: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 3, 3)), rng.normal(size=(2, 2, 3, 3))
    mask = np.array([[1, 1, 0], [1, 1, 1]], bool) if masked else np.ones((2, 3), bool)
    given = torch.tensor(mask) if masked else None
    pairs = [(x, h, i, j) for x, h, i, j in np.ndindex(2, 2, 3, 3) if mask[x, i] and mask[x, j]]
    pad = (lambda v: v) if masked else (lambda v: 0.0 if v <= -1e-3 else v)
    expected = np.mean([(pad(a[where]) - pad(b[where])) ** 2 for where in pairs])
    assert distiller.attention_mse(torch.tensor(a), torch.tensor(b), given).item() == pytest.approx(expected)
    log_q, p = np.log(soft(a)), soft(b) if masked else np.where(b <= -1e-3, 0.0, soft(b))
    total = -sum(p[where] * log_q[where] for where in pairs)
    queries = 2 * mask.sum()
    found = distiller.attention_ce(torch.tensor(a), torch.tensor(b), given).item()
    assert found == pytest.approx(total / queries)
    s, t = a[:, 0], b[:, 0]
    tokens = [(x, i) for x, i in np.ndindex(2, 3) if mask[x, i]]
    hidden = distiller.hidden_mse(torch.tensor(s), torch.tensor(t), given).item()
    assert hidden == pytest.approx(np.mean([((s[where] - t[where]) ** 2).mean() for where in tokens]))
    states = (torch.tensor(s), torch.tensor(s).flip(1)), (torch.tensor(t), torch.tensor(t).flip(1))
    products = [s @ s[:, ::-1].transpose(0, 2, 1) / 3, t @ t[:, ::-1].transpose(0, 2, 1) / 3]
    apart = [
        (products[0][x, i, j] - products[1][x, i, j]) ** 2
        for x, i, j in np.ndindex(2, 3, 3)
        if mask[x, i] and mask[x, j]
    ]
    assert distiller.state_products(*states, given).item() == pytest.approx(np.mean(apart))
