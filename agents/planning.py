"""KD-CoT's plans and its worked examples as chat turns (arXiv 2308.13259, sections 3.1 and 3.3)."""

from __future__ import annotations

import json
import re
from typing import Any

from agentkd.matching import normalize
from agentkd.prompts import demonstrations, render
from agentkd.teacher.reply import load_json

ACTIONS = ("Question", "Multi_Answer_Question", "Finish")


def plan_schema(actions: tuple[str, ...]) -> dict[str, Any]:
    """The JSON schema of a plan whose action is one of `actions`."""
    text = {"type": "string", "maxLength": 160}
    return {
        "type": "object",
        "properties": {"thought": text, "action": {"enum": list(actions)}, "input": text},
        "required": ["thought", "action", "input"],
        "additionalProperties": False,
    }


def parse_plan(text: str, allowed: tuple[str, ...], question: str) -> tuple[dict[str, str], int]:
    """Read the plan in a reply; the number is 1 if it had to be repaired, else 0.

    KD-CoT's text form is read as well as JSON. An unreadable plan becomes the whole question, asked for a list."""
    fallback = {"thought": "", "action": "Multi_Answer_Question", "input": question}
    try:
        plan = load_json(text)
    except ValueError:
        found = re.search(r"(Multi_Answer_Question|Question|Finish)\[([^\]\n]*)", text)
        plan = {"thought": text.split("\n")[0], "action": found[1], "input": found[2]} if found else None
    if not isinstance(plan, dict) or plan.get("action") not in allowed:
        return fallback, 1
    words = str(plan.get("input", "")).strip()
    if not words and plan["action"] != "Finish":
        return {**fallback, "thought": str(plan.get("thought", ""))}, 1
    return {"thought": str(plan.get("thought", "")).strip(), "action": plan["action"], "input": words}, 0


def plan_turns(question: str) -> list[str]:
    """The nearest worked example as chat turns, one exchange per round."""
    demo = nearest_demonstration(question)
    turns: list[str] = []
    for number, done in enumerate([*demo["rounds"], demo["finish"]]):
        turns.append(render("kd_cot/plan", question=demo["question"], rounds=demo["rounds"][:number]))
        turns.append(compact_json({key: done[key] for key in ("thought", "action", "input")}))
    return turns


def reading_turns(question: str) -> list[str]:
    """The first reading of the nearest worked example as chat turns."""
    demo = nearest_demonstration(question)
    turns: list[str] = []
    for done in demo["rounds"][:1]:
        shown = {"question": done["input"], "topics": done["topics"], "candidates": done["candidates"]}
        turns += [render("kd_cot/read", **shown), compact_json(done["label"])]
    return turns


def nearest_demonstration(question: str) -> dict[str, Any]:
    """The worked example that shares most words with the question (KD-CoT uses sentence vectors)."""
    words = set(normalize(question).split())

    def likeness(demo: dict[str, Any]) -> float:
        others = set(normalize(demo["question"]).split())
        return len(words & others) / (len(words | others) or 1)

    return max(demonstrations("kd_cot/demonstrations"), key=likeness)


def compact_json(value: Any) -> str:
    """JSON without blanks, as a model is to write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
