"""The ladder of agents with a tool: what the trace says that a tool gave is computed again.

rows       (sql) the last query, run again, gives the rows on record, and they are the answers
computed   (math) each step, computed again, has the result on record, and the answer is the last of them
gold       the answers are the gold answers, all of them
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from agentkd.errors import UserError
from agentkd.matching import strict_f1, strict_set
from agentkd.trace import Draft, Step, ToolResult, Verdict
from agentkd.verifiers.arithmetic import NotArithmetic, compute, write_number
from agentkd.verifiers.sql import QueryError, run_query


def judge_with_tools(draft: Draft, database: Path | None, gold: Sequence[str] | None) -> tuple[Draft, Verdict]:
    """Check a closed draft. Gold, where it exists, joins as a last step whose reward is the strict F1."""
    verdict = check_tools(draft, database)
    if gold is None:
        return draft, verdict
    final = verdict
    if verdict.ok:
        right = strict_set(draft.answers) == strict_set(gold)
        reason = "" if right else "computed, but not what gold says"
        final = Verdict(ok=right, rung="gold" if right else verdict.rung, reason=reason)
    step = Step(kind="gold", verdict=final, reward=round(strict_f1(draft.answers, gold), 4))
    return draft.model_copy(update={"steps": (*draft.steps, step)}), final


def check_tools(draft: Draft, database: Path | None) -> Verdict:
    """Climb up to `rows`, or, without a database, to `computed`."""
    results = [item for step in draft.steps for item in step.evidence if isinstance(item, ToolResult)]
    if not results:
        return Verdict(ok=False, rung="none", reason="no tool was called")
    if not draft.answers:
        return Verdict(ok=False, rung="none", reason=results[-1].result[:160] if not results[-1].ok else "no answer")
    if database is not None:
        return check_rows(draft, results[-1], database)
    for result in results:
        if result.ok and compute_again(result) != result.result:
            return Verdict(ok=False, rung="none", reason=f"{result.arguments[:80]} is not {result.result[:40]}")
    last = results[-1]
    if not last.ok or strict_set(draft.answers) != strict_set([last.result]):
        reason = f"the answer {draft.answers[0][:40]!r} is not the last result, {last.result[:40]!r}"
        return Verdict(ok=False, rung="none", reason=reason)
    return Verdict(ok=True, rung="computed")


def check_rows(draft: Draft, result: ToolResult, database: Path) -> Verdict:
    """Whether the query of a result gives the same rows again, which are the draft's answers."""
    try:
        table = run_query(database, read_argument(result, "query"))
    except QueryError as error:
        return Verdict(ok=False, rung="none", reason=f"the query fails: {error}")
    if table.record() != result.result:
        return Verdict(ok=False, rung="none", reason="the query gives other rows than are on record")
    if strict_set(table.answers) != strict_set(draft.answers):
        return Verdict(ok=False, rung="none", reason="the answers are not the rows of the query")
    return Verdict(ok=True, rung="rows")


def compute_again(result: ToolResult) -> str:
    """What the calculator says to the arguments of a result."""
    try:
        return write_number(compute(read_argument(result, "expression")))
    except NotArithmetic as error:
        return str(error)


def read_argument(result: ToolResult, name: str) -> str:
    """An argument of a call. Raises UserError for a record of another shape."""
    try:
        return str(json.loads(result.arguments)[name])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"the evidence {result.arguments[:80]!r} has no {name!r}: generate again") from None
