"""Scripted experts: they take the place of a model for agents with tools (`--teacher none`), and see no gold.

An expert lists programs that could answer a question, by rules alone, the most plausible first; sample k writes the
program of rank k. So several samples explore the ranking, and verification tells which of them are right: weak
supervision by search and execution (Liang et al., ACL 2011; Guu et al., ACL 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agentkd.errors import UserError
from agentkd.teacher.chat import NO_TEACHER, Reply
from agentkd.trace import Message, Usage

Program = Sequence[str]
"""What is written, turn by turn; `{}` stands for the last result."""


class Expert:
    """A `Chat` that writes the program of rank `sample`."""

    name = NO_TEACHER
    weighs = False

    def __init__(self, list_programs: Callable[[str], Sequence[Program]]) -> None:
        self.list_programs = list_programs
        self._known: dict[str, Sequence[Program]] = {}

    async def chat(self, messages: Sequence[Message], *, sample: int = 0, **_: Any) -> Reply:
        """Write the next turn of the program; past its end, and where there is none of that rank, nothing."""
        question = next(message.content for message in messages if message.role == "user")
        if question not in self._known:
            self._known = {question: self.list_programs(question)}  # one is asked at a time, sample after sample
        programs = self._known[question]
        turn = sum(message.role == "assistant" for message in messages)
        program = programs[sample] if sample < len(programs) else ()
        text = program[turn] if turn < len(program) else ""
        results = [message.content for message in messages if message.role == "user"][1:]
        for place, result in enumerate(results):
            text = text.replace(f"{{{place}}}", result)
        return Reply(texts=(text,), finish_reason="stop", usage=Usage())

    async def complete(self, prompt: str, **_: Any) -> Reply:
        """Refuse: an expert has no likelihoods."""
        raise UserError("a scripted expert continues no text: give --teacher (local, vllm:MODEL or URL#MODEL)")
