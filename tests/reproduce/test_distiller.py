"""The grid of Distiller: labels that negators turn, recipes that train what they join, variance explained."""

from __future__ import annotations

import math

import pytest

from tests.support.lazy import lazily, require

require("torch", "transformers")
torch, np = lazily("torch"), lazily("numpy")
distiller, opinions = lazily("agentkd.reproduce.language.distiller"), lazily("agentkd.reproduce.beds.opinions")
recipes, variance = lazily("agentkd.methods.distiller_recipe"), lazily("agentkd.methods.metrics.variance")


def test_a_negator_turns_the_next_word() -> None:
    pro, against = opinions.FIRST, opinions.FIRST + 12
    neutral, negator = opinions.WORDS.stop - opinions.NEGATORS - 1, opinions.WORDS.stop - 1
    texts = [[pro, neutral], [negator, pro], [pro, against], [against, negator], [negator, against]]
    assert opinions.classify(torch.tensor(texts)).tolist() == [2, 0, 1, 0, 2]


def test_main_effects_explain_the_variance() -> None:
    first, second = np.array([0.0, 2.0])[:, None], np.array([0.0, 1.0, 2.0])
    shares = variance.variance_shares(first + second, ["first", "second"])
    assert shares == {"first": pytest.approx(0.6), "second": pytest.approx(0.4), "interactions": pytest.approx(0.0)}
    only = variance.variance_shares(np.array([[1.0, -1.0], [-1.0, 1.0]]), ["first", "second"])
    assert only == {"first": 0.0, "second": 0.0, "interactions": 1.0}
    with pytest.raises(Exception, match="no variance to explain"):
        variance.variance_shares(np.ones((2, 2)), ["first", "second"])


@pytest.mark.parametrize("hidden", ["mse", "ce", "cosine", "mi-alpha"])
def test_what_joins_the_layers_learns(hidden: str) -> None:
    """Gradients reach student and join; places that do not count change nothing."""
    torch.manual_seed(0)
    loss = recipes.LayerLoss(recipes.Recipe(hidden=hidden), (6, 8), (2, 4))
    assert loss.pairs == [(0, 1), (1, 3)]
    own = [torch.randn(4, 5, 6, requires_grad=True) for _ in range(2)]
    other, mask = [torch.randn(4, 5, 8) for _ in range(4)], torch.arange(5) < torch.tensor([[3], [5], [2], [4]])
    value = loss(own, other, mask)
    value.backward()
    assert all(states.grad[0, 0].any() and not states.grad[0, 3:].any() for states in own)
    assert all(parameter.grad.any() for name, parameter in loss.named_parameters() if not name.endswith("bias"))
    assert torch.isclose(loss([states + 9.0 * ~mask[..., None] for states in own], other, mask), value)


def test_words_are_replaced_and_marks_stay() -> None:
    ids = torch.tensor([[opinions.BEGIN, *[opinions.FIRST] * 400, opinions.END]])
    changed = recipes.replace_tokens(ids, 0.3, opinions.WORDS, torch.Generator().manual_seed(0))
    assert changed[0, 0] == opinions.BEGIN and changed[0, -1] == opinions.END
    assert 0.2 < float((changed != ids).float().mean()) < 0.4 and int(changed[0, 1:-1].min()) >= opinions.FIRST


def test_cells_of_the_grid() -> None:
    cells = [("encoder", "none", "skip", "mi-alpha", "mse"), ("decoder", "replace", "last", "cosine", "ce")]
    for cell in cells:
        assert all(0.0 <= value <= 100.0 and math.isfinite(value) for value in distiller.run_cell(*cell, 100, True))
