"""One tiny seed of an experiment: what its rows hold."""

from __future__ import annotations

import math

from agentkd.reproduce import EXPERIMENTS
from tests.support.lazy import lazily, require

require("torch", "sklearn")
hard = lazily("agentkd.reproduce.hard")


def test_arms_of_hard_share_teacher_and_metrics() -> None:
    rows = [hard.one(arm, 100, True) for arm in ("kd", "hard")]
    assert EXPERIMENTS["hard"].headline.metric in rows[0]
    assert rows[0]["teacher shifted"] == rows[1]["teacher shifted"]
    assert all(math.isfinite(value) for row in rows for value in row.values())
