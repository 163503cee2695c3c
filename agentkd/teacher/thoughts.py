"""Tells a model's thoughts from its answer, in the wrappers in which servers leave them in the text.

A server with a reasoning parser sends thoughts in a field of their own. Others leave the model's marks in the text;
each family has its own.
"""

from __future__ import annotations

import re

MARKS = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen3 and most others
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),  # Gemini's OpenAI endpoint
    ("<reasoning>", "</reasoning>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1
    ("<|channel>thought", "<channel|>"),  # Gemma 4
)
SPOKEN = "Here is my thought process:", "Here is my response:"  # Granite 3: words, not marks
AROUND = re.compile(
    r"\A\s*(?:<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>|\Z)"
    r"|<\|START_RESPONSE\|>(.*?)(?:<\|END_RESPONSE\|>|\Z)|<(response|answer)>(.*?)(?:</\3>|\Z))\s*\Z",
    re.DOTALL,
)
"""Marks around the answer itself, that follow some thoughts."""
CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)(?:(?!<\|message\|>).)*<\|message\|>(.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
BARE_CHANNELS = re.compile(r"\Aanalysis(.*?)assistant(?:commentary.*?assistant)?final(.*)\Z", re.DOTALL)
"""OpenAI's harmony format, and what is left of it where a server drops its special tokens."""


def split_thoughts(text: str) -> tuple[str, str]:
    """Split a text into the thoughts at its head, and the answer.

    The answer is empty where the text was cut inside the thoughts. Some templates open the thoughts themselves, so that
    the text only closes them."""
    if "<|channel|>" in text:
        return _split_channels(text)
    if found := BARE_CHANNELS.match(text):
        return found[1].strip(), found[2].strip()
    start = text.lstrip()
    for opening, closing in (*MARKS, SPOKEN):
        if start.startswith(opening):
            thoughts, _, answer = start.removeprefix(opening).partition(closing)
            return thoughts.strip(), _unwrap(answer)
    for opening, closing in MARKS:
        thoughts, closes, answer = text.partition(closing)
        if closes and opening not in thoughts:
            return thoughts.strip(), _unwrap(answer)
    return "", text


def _unwrap(answer: str) -> str:
    found = AROUND.match(answer)
    return (found[1] or found[2] or found[4] or "" if found else answer).lstrip()


def _split_channels(text: str) -> tuple[str, str]:
    """Split harmony's messages: the last one in the channel `final` is the answer, all others are thoughts.

    A text may begin with the answer, where the prompt has opened the first message."""
    messages = [(channel, content.strip()) for channel, content in CHANNEL.findall(text)]
    finals = [content for channel, content in messages if channel == "final"]
    thoughts = "\n".join(content for channel, content in messages if channel != "final")
    return thoughts, finals[-1] if finals else ""
