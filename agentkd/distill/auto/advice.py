"""`agentkd methods recommend`: what the table of distillations lets one expect of each method, and what it rests on."""

from __future__ import annotations

from typing import Any

from agentkd.distill.auto.propose import expect_all
from agentkd.distill.auto.search import Bed
from agentkd.recommend.predict import Recommender, leave_one_task_out
from agentkd.recommend.table import read_rows, table_path

SHOWN = 8


def recommend(bed: Bed, seed: int) -> dict[str, Any]:
    """The best candidate of each method with the points that are expected above the default, the best first.

    Raises UserError where the table has too little."""
    rows = read_rows(kind=bed.kind)
    recommender = Recommender(rows, seed)
    expected = expect_all(recommender, bed.space, bed.facts, seed)
    (usual,) = recommender.expect(bed.facts, [bed.default])
    best = {each.candidate.method: each for each in reversed(expected)}
    ranked = sorted(best.values(), key=lambda each: -each.gain)[:SHOWN]
    regret = leave_one_task_out(rows, seed)
    return {
        "table": str(table_path()),
        "default": {"method": bed.default.method, "options": dict(bed.default.options)},
        "recommended": [
            {
                "method": each.candidate.method,
                "options": dict(each.candidate.options),
                "above_default": round(each.gain - usual.gain, 2),
                "spread": round(each.spread, 2),
                "rows": sum(row.method == each.candidate.method for row in recommender.rows),
            }
            for each in ranked
        ],
        "basis": recommender.basis(),
        "regret": None if regret is None else regret._asdict(),
    }
