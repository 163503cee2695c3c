"""A model as judge: it reads question, answer and, where the item has one, the gold answer, and says yes or no.

What a judge is worth is measured (`measure_judge`): it judges labelled answers, and its agreement is on record. Its
prompt fences what it judges, so that an answer that gives orders is text; it may still be persuaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentkd.errors import UserError
from agentkd.prompts import render
from agentkd.trace import Check, Message
from agentkd.verifiers.agreement import Agreement, measure_agreement
from agentkd.verifiers.contract import Finding, Item
from agentkd.verifiers.gold import GOLD, gold_answers

if TYPE_CHECKING:
    from agentkd.teacher.chat import Chat

TOKENS = 8
LABELS = ("label", "correct", "passed")  # the fields of a labelled row that may hold the label


class LlmJudge:
    """Check that a model says yes."""

    name = "judge"
    timeout = None  # the teacher keeps the time

    def __init__(self, model: Chat) -> None:
        self.model = model

    async def __call__(self, item: Item, answer: str) -> Finding:
        gold = gold_answers(item) if any(item.get(key) is not None for key in GOLD) else []
        asked = {"question": str(item.get("question") or ""), "answer": answer, "gold": gold}
        messages = [
            Message(role="system", content=render("verifiers/judge_system", gold=gold)),
            Message(role="user", content=render("verifiers/judge_user", **asked)),
        ]
        reply = await self.model.chat(messages, max_tokens=TOKENS, schema={"enum": ["yes", "no"]})
        passed = reply.text.strip().strip('"').lower().startswith("yes")
        check = Check(name=self.name, passed=passed, detail="" if passed else f"refused by {self.model.name}")
        return Finding(check, usage=reply.usage)


def read_label(row: Item) -> bool:
    """Read whether a labelled row's answer is right. UserError where it does not say."""
    value = next((row[key] for key in LABELS if key in row), None)
    words = {"1": True, "true": True, "yes": True, "right": True, "correct": True}
    words |= {"0": False, "false": False, "no": False, "wrong": False, "incorrect": False}
    label = words.get(str(value).strip().lower())
    if label is None:
        raise UserError(
            f"labelled row {str(row.get('id', ''))[:60]!r} has label {str(value)[:40]!r}: give `label`, true or false, "
            "beside `question` and `prediction`"
        )
    return label


async def measure_judge(judge: LlmJudge, rows: Sequence[Item], *, concurrency: int = 4) -> Agreement:
    """Let the judge judge labelled rows (`question`, `prediction`, `label`, and gold where it is to see it)."""
    limit = asyncio.Semaphore(concurrency)

    async def one(row: Item) -> bool:
        async with limit:
            return (await judge(row, str(row.get("prediction") or ""))).check.passed

    labels = [read_label(row) for row in rows]
    return measure_agreement(labels, await asyncio.gather(*map(one, rows)))
