"""The bed of the experiment on elicitation: what is verified is right, and the path model tells paths apart."""

from __future__ import annotations

import pytest

from tests.support.lazy import lazily, require

require("torch", "transformers", "bm25s")
geo_paths = lazily("agentkd.reproduce.beds.geo_paths")
elicitation = lazily("agentkd.reproduce.language.elicitation")


def test_a_verified_choice_meets_gold_and_a_proven_one_alone_need_not() -> None:
    items = geo_paths.make_items("dev", 30)
    found = [(item.verify(0), item.f1(0)) for item in items]
    assert all(f1 > 0 for verified, f1 in found if verified)
    assert any(f1 == 0 for _, f1 in found) and any(verified for verified, _ in found)
    pairs = [elicitation.first_verified(item, range(len(item.options))) for item in items]
    assert all(item.verify(choice) for item, choice in filter(None, pairs))


def test_a_student_ranks_the_paths_that_it_has_learned_first() -> None:
    torch = lazily("torch")
    torch.manual_seed(0)
    from agentkd.reproduce.fit import Plan
    from agentkd.reproduce.nets.path_model import PathModel

    pairs = [("capital of", "country capital"), ("money of", "country currency"), ("capital city", "country capital")]
    student = PathModel([text for pair in pairs for text in pair], width=32, layers=1)
    student.learn(pairs, Plan(epochs=60, batch=3, lr=1e-2, seed=0))
    right, wrong, padded = student.weigh([pairs[0], (pairs[0][0], "country currency"), ("money of", "country")])
    assert right > wrong and right > -0.5
    assert student.weigh([pairs[0]])[0] == pytest.approx(right, abs=1e-4), "padding changes nothing"
    assert padded < 0
