"""A teacher that does what an instructed model would: it writes questions, plans, chooses paths and judges.

Its answers are a function of the request alone. Of the questions that it writes, one in four is bad, in one of four
ways.
"""

from __future__ import annotations

import json
import re
from typing import Any

WORDS = "which what where how many far old large near long name list give show find tell state count".split()  # noqa: SIM905
BAD = 4  # one in so many questions


def scripted_answer(request: dict[str, Any]) -> str:
    """The content of the answer to a chat request with a JSON schema, to a text with choices, or to any other one."""
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema", {})
    blocks = request["prompt"].rpartition("\n\n") if "prompt" in request else ()  # a pattern; the last one is asked
    text = blocks[2] if blocks else request["messages"][-1]["content"]
    if "question" in schema.get("properties", {}):
        return write_question(text, int(request["seed"]))
    if "action" in schema.get("properties", {}):
        question = re.findall(r"Question: (.*)", text)[-1]
        done = "Answer 1:" in text
        return json.dumps({"thought": "", "action": "Finish" if done else "Question", "input": question})
    if set(schema.get("enum", ())) == {"yes", "no"}:
        return '"yes"'
    return json.dumps(nearest(text, schema["enum"])) if "enum" in schema else "So the answer is: nothing"


def write_question(text: str, seed: int) -> str:
    """A question about the last topic, along the last path where there is one, else of words drawn by the seed."""
    topic = re.findall(r"^Topic: (.*)$", text, re.M)[-1]
    path = re.findall(r"^Path: (.*)$", text.rpartition("Topic:")[2], re.M)
    words = (
        path[0].replace(" > ", " of the ")
        if path
        else " ".join(WORDS[(seed * 7 + k * k) % len(WORDS)] for k in range(6))
    )
    question = f"Tell me the {words} of {topic}?"
    if seed % BAD == 3:
        question = ("", "What is it?", "Tell " * 100 + topic, "no JSON")[seed // BAD % 4]
    return question if question == "no JSON" else json.dumps({"question": question})


def nearest(text: str, choices: list[str]) -> str:
    """The choice that shares the largest part of its words with a text's first line."""
    asked = set(re.findall(r"\w+", text.partition("\n")[0].lower()))

    def share(choice: str) -> float:
        words = re.findall(r"\w+", choice.lower())
        return sum(word in asked for word in words) / len(words) - 0.01 * len(words)

    return max(choices, key=share)
