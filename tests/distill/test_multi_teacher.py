"""Several teachers: the mean of their known probabilities, and the choice between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig
from agentkd.distill.data import teacher_scores
from agentkd.distill.data.dataset import load_dataset
from agentkd.distill.data.tokens import tokenise
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from tests.support.lazy import Lazy, lazily
from tests.support.students import student_with, teacher_config
from tests.support.vocabularies import byte_level

torch = lazily("torch")
divergences, module = Lazy("agentkd.methods.divergences"), Lazy("agentkd.distill.lessons.multi_teacher")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A student and two teachers that are sure of different things."""
    spreads = [0.02, 0.5, 0.5]
    folders = [tmp_path_factory.mktemp(f"model{seed}") for seed in range(3)]
    return [str(student_with(folder, byte_level(), seed=n, spread=s)) for n, (folder, s) in enumerate(zip(folders, spreads, strict=True))]  # fmt: skip  # noqa: E501


def settings(models: list[str], traces: Path, out: Path, **changes: Any) -> DistillConfig:
    names = changes.pop("teacher", ",".join(models[1:]))
    return teacher_config(models[0], names, traces, out, **{"method": "multi-teacher", "nll": 0.0, **changes})


def distributions(count: int = 3, n: int = 5, v: int = 12) -> Any:
    return (2 * torch.randn(count, n, v, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).log_softmax(-1)  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("rest", ["bucket", "renormalise"])
@pytest.mark.parametrize("k", [1, 4, 12])
def test_the_mean_is_the_dense_one_over_what_is_known(k: int, rest: str) -> None:
    """Against sums over tokens, one by one; with all tokens known it is the mean of the full distributions."""
    log_p = distributions()
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    top = log_p.topk(k)
    ids, mixed = module.mix_top_k(top.indices, top.values, weights)
    log_q = distributions(1)[0].flip(0).requires_grad_()
    ours = divergences.forward_kl(*divergences.restrict_to_top_k(mixed, ids, log_q, rest))
    gradient = torch.autograd.grad(ours.sum(), log_q)[0]

    expected = []
    for row in range(len(log_q)):
        known: dict[int, Any] = {}
        for weight, indices, values in zip(weights, top.indices[:, row].tolist(), top.values[:, row], strict=True):
            for token, value in zip(indices, values, strict=True):
                known[token] = known.get(token, 0) + weight * value.exp()
        assert sorted(known) == [token for token in ids[row].tolist() if token >= 0]
        p, q = torch.stack(list(known.values())), log_q[row].exp()[list(known)]
        if rest == "bucket":
            p, q = (torch.cat([x, (1 - x.sum())[None]]) for x in (p, q))
        else:
            p, q = p / p.sum(), q / q.sum()
        expected.append((p * (p.clamp_min(1e-12) / q.clamp_min(1e-12)).log()).sum())
    torch.testing.assert_close(ours, torch.stack(expected), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, torch.autograd.grad(sum(expected), log_q)[0], rtol=1e-4, atol=1e-4)
    if k == 12:
        mean = (log_p.exp() * weights[:, None, None]).sum(0)
        torch.testing.assert_close(ours, divergences.forward_kl(mean.log(), log_q), rtol=1e-5, atol=1e-5)


def test_ids_of_no_token_change_nothing() -> None:
    log_p, log_q = distributions(2)
    top = log_p.topk(3)
    fill = torch.nn.functional.pad
    for rest in ("bucket", "renormalise"):
        for name in ("forward", "reverse", "jsd", "skew", "skew-reverse"):
            measure = divergences.find_divergence(name)
            bare = measure(*divergences.restrict_to_top_k(top.values, top.indices, log_q, rest))
            wide = fill(top.values, (0, 2)), fill(top.indices, (0, 2), value=-1)
            torch.testing.assert_close(
                measure(*divergences.restrict_to_top_k(*wide, log_q, rest)), bare, rtol=1e-6, atol=1e-9
            )


def test_a_student_learns_the_mean(models: list[str], traces: Path, tmp_path: Path) -> None:
    metrics = distill(settings(models, traces, tmp_path / "out", weights="3,1"))
    assert metrics["divergence"][-1] < 0.9 * metrics["divergence"][0] and set(metrics["teacher_nll"]) == set(models[1:])
    assert {folder.name for folder in (tmp_path / "out" / "logits").iterdir()} == {"1", "2"}
    assert "chosen" not in metrics and "(mix)" in (tmp_path / "out" / "README.md").read_text()


def test_each_example_goes_to_the_teacher_that_finds_it_likeliest(
    models: list[str], traces: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    metrics = distill(settings(models, traces, tmp_path / "out", teachers="route", epochs=1))
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    rows = [tokenise(example, tokenizer) for example in load_dataset(traces, "one-call").examples]
    means = []
    for folder in models[1:]:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        with torch.no_grad():
            # transformers' own loss: the mean negative log-likelihood of the labels
            means.append([-float(model(**{k: torch.tensor([v]) for k, v in row.items()}).loss) for row in rows])
    best = [0 if one >= other else 1 for one, other in zip(*means, strict=True)]
    scores = [teacher_scores.Scores(tmp_path / "out" / "logits" / str(n), rows, 16) for n in (1, 2)]
    assert module.choose_teachers(scores, len(rows)) == best
    assert module.choose_teachers(scores[::-1], len(rows)) == [1 - number for number in best]
    assert metrics["chosen"] == {name: best.count(number) for number, name in enumerate(models[1:])}


def test_what_does_not_fit_is_named(models: list[str], traces: Path, tmp_path: Path) -> None:
    one, two = models[1:]
    cases = [
        ({"teacher": one}, "name two or more different models"),
        ({"teacher": f"{one},{one}"}, "name two or more different models"),
        ({"weights": "1"}, r"weights is '1': give 2 positive numbers"),
        ({"weights": "1,-1"}, "give 2 positive numbers"),
        ({"weights": "1,2", "teachers": "route"}, "weights=1,2 is for teachers=mix"),
        ({"teacher": f"{one},{two},smollm2-135m"}, "the teacher smollm2-135m has another vocabulary"),
    ]
    for number, (changes, said) in enumerate(cases):
        with pytest.raises(UserError, match=said):
            distill(settings(models, traces, tmp_path / str(number), **changes))
