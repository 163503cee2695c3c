"""The bed of Swing: secrets that the detector finds, an exposure that is the exact rank, arms that are apart."""

from __future__ import annotations

import math
import random

from agentkd.methods.private_text import find_private
from agentkd.reproduce import EXPERIMENTS
from tests.support.lazy import lazily, require

require("torch")
torch = lazily("torch")
swing, canaries = lazily("agentkd.reproduce.language.swing"), lazily("agentkd.reproduce.beds.canaries")
characters = lazily("agentkd.reproduce.nets.characters")


def test_secrets_are_found_whole_and_nothing_else_is() -> None:
    corpus = canaries.make_corpus(3, 500)
    for secret in corpus.secrets:
        ((begin, end, kind),) = find_private(secret.text)
        assert kind == "telephone" and secret.text[begin:end] == f"0171 555 {secret.code}"
        assert corpus.train.count(secret.text) == canaries.COPIES and secret.text not in corpus.test
    assert not any(find_private(text) for text in corpus.test)


def test_exposure_is_the_rank_by_the_loss_of_the_whole_text() -> None:
    torch.manual_seed(0)
    model = characters.CharacterModel(len(canaries.ALPHABET), 16)
    secret = canaries.Secret("call anna at 0171 555 ", "4071")

    def surprise(code: str) -> float:
        ids, _ = canaries.encode([f"{secret.before}{code}."])
        with torch.no_grad():
            return float(-model(ids[:, :-1]).log_softmax(-1).gather(-1, ids[:, 1:, None]).sum())

    better = sum(surprise(f"{code:04}") < surprise("4071") for code in random.Random(0).sample(range(10_000), 400))
    found = 2 ** -(swing.measure_exposure(model, secret) - math.log2(9_999))
    assert abs(found / 10_000 - better / 400) < 0.08


def test_rows_of_swing() -> None:
    rows = {arm: swing.one(arm, 100, True) for arm in ("kd", "swing")}
    metrics = {comparison.metric for comparison in EXPERIMENTS["swing"].comparisons}
    for row in rows.values():
        assert metrics == set(row) and all(math.isfinite(value) for value in row.values())
    assert rows["kd"] != rows["swing"]
