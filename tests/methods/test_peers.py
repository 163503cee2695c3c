"""Random settings of ULD and of the generalised JSD against TRL's own, where it is installed: values and gradients."""

from __future__ import annotations

import itertools
import random
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.lazy import Lazy, lazily, require

torch = lazily("torch")
require("trl")
gkd, uld = Lazy("agentkd.methods.tokens.gkd"), Lazy("agentkd.methods.tokens.uld")
pytestmark = pytest.mark.whole
TEXT = 8  # bytes
LENGTH = 9
IGNORED = -100


@pytest.fixture(scope="module")
def gold() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("trl.experimental.gold.gold_trainer", reason="TRL's experiments come and go")


def tokenised(rng: random.Random) -> tuple[list[int], list[list[int]]]:
    """Labels and byte offsets of an answer after a prompt of up to two tokens."""
    ends = [*sorted(rng.sample(range(1, TEXT), rng.randint(0, 5))), TEXT]
    prompt = rng.choice([0, 1, 2])
    rest = LENGTH - prompt - len(ends)
    offsets = [[0, 0]] * prompt + [list(pair) for pair in itertools.pairwise([0, *ends])] + [[0, 0]] * rest
    return [IGNORED] * prompt + [1] * len(ends) + [IGNORED] * rest, offsets


def sides(rng: random.Random, seed: int) -> list[Any]:
    made, generator = [], torch.Generator().manual_seed(seed)
    for size in rng.choice([(4, 4), (4, 6), (7, 5)]):
        labels, offsets = (torch.tensor(part) for part in zip(*(tokenised(rng) for _ in range(2)), strict=True))
        logits = torch.randn(2, LENGTH, size, generator=generator, dtype=torch.float64).requires_grad_()
        ids = torch.randint(0, size, (2, LENGTH), generator=generator)
        made.append(uld.Side(logits, labels, ids, offsets, rng.choice([1.0, 2.0]), rng.random() < 0.3))
    return made


def named(student: Any, teacher: Any) -> list[tuple[str, Any]]:
    return [("a", student), ("b", teacher)]


@pytest.mark.parametrize("seed", range(80))
def test_uld_is_that_of_trl(gold: Any, seed: int) -> None:
    rng = random.Random(seed)
    student, teacher = sides(rng, seed)
    start, spans = rng.choice(["observed", "bayesian"]), rng.random() < 0.6
    words = [[f"{kind}{place}" for place in range(side.logits.shape[-1])] for kind, side in named(student, teacher)]
    words[1][1], words[1][3] = words[0][2], words[0][0]  # two tokens that both have
    weights = rng.choice([(None, None), (0.8, 0.2)])
    hybrid = uld.Hybrid([2, 0], [1, 3], None if weights[0] is None else weights, rng.choice([0.0, 0.5, 1.0]))
    hybrid = rng.choice([None, hybrid])
    config = SimpleNamespace(
        uld_crossentropy_weight=0.0, uld_distillation_weight=1.0, uld_student_temperature=student.temperature,
        uld_teacher_temperature=teacher.temperature, uld_skip_student_eos=student.skip_last,
        uld_skip_teacher_eos=teacher.skip_last, use_extended_uld=spans, uld_token_merge_strategy=start,
        uld_use_hybrid_loss=hybrid is not None, uld_hybrid_matched_weight=weights[0],
        uld_hybrid_unmatched_weight=weights[1], beta=hybrid.beta if hybrid else 0.5,
    )  # fmt: skip
    tokenizers = [
        SimpleNamespace(get_vocab=lambda names=names: {name: place for place, name in enumerate(names)})
        for names in words
    ]
    theirs = gold.ULDLoss(config, *tokenizers, device="cpu")(
        *(getattr(side, part) for part in ("logits", "labels", "ids", "offsets") for side in (student, teacher))
    ).sum()
    ours = uld.uld_loss(student, teacher, uld.Rules(start, spans), hybrid)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    grads = [torch.autograd.grad(loss, student.logits, allow_unused=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*(torch.zeros_like(student.logits) if grad is None else grad for grad in grads))


@pytest.mark.parametrize("reduction", ["batchmean", "sum", "mean", "none"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("labelled", [True, False])
def test_jsd_is_that_of_trl(gold: Any, reduction: str, beta: float, labelled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([[IGNORED, 1, 2], [0, IGNORED, 3]]) if labelled else None
    options = {"beta": beta, "temperature": 2.0, "reduction": reduction}
    theirs = gold.GOLDTrainer.generalized_jsd_loss(student, teacher, labels=labels, **options)
    torch.testing.assert_close(gkd.generalised_jsd(student, teacher, labels, **options), theirs)
