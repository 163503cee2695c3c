"""An agent that solves word problems with a calculator: the model writes one step of arithmetic after another.

A LangGraph of two nodes. The model writes `calc 3 * 12` and is told the result, which is exact, until it writes `answer
36`:

    think ─► compute ─┐
      ▲               │
      └───────────────┘

Arithmetic is left to a tool as in PAL (arXiv 2211.10435) and Toolformer (arXiv 2302.04761).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agentkd.agents.base import chat_messages
from agentkd.agents.with_tools.context import ToolContext, ToolState, ask, begin, build_loop, draft_of
from agentkd.prompts import render
from agentkd.trace import Draft, Message, Step, ToolResult
from agentkd.verifiers.arithmetic import NotArithmetic, compute, write_number

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

MAX_TOKENS = 24
TURNS = 8  # of the model
TOOL = "calculator"
_LINE = re.compile(r"\s*(?P<what>calc|answer)\b[\s:]*(?P<rest>[^\n]*)", re.IGNORECASE)


class Calculator:
    """The agent `math`."""

    name = "math"

    def __init__(self, context: ToolContext) -> None:
        self.context = context
        self.graph = build_loop(self.think, self.compute)

    async def solve(self, question: Question, sample: int) -> Draft:
        """Solve the problem; the steps hold what was computed."""
        messages = chat_messages(render("math/system"), render("math/question", question=question.question))
        return draft_of(await self.graph.ainvoke(begin(messages, sample), {"recursion_limit": 10 + 2 * TURNS}))

    async def think(self, state: ToolState) -> dict[str, Any]:
        """Let the model write the next step."""
        return await ask(self.context, state, "think", MAX_TOKENS)

    async def compute(self, state: ToolState) -> dict[str, Any]:
        """Compute the step that was written last, or end with its answer. Anything else ends without one."""
        line = _LINE.match(state["messages"][-1].content)
        if line is None or line["what"].lower() == "answer":
            answers = [line["rest"].strip()] if line and line["rest"].strip() else []
            return {"steps": [Step(kind="answer", output="\n".join(answers))], "answers": answers, "done": True}
        arguments = json.dumps({"expression": line["rest"].strip()}, ensure_ascii=False)
        try:
            value = write_number(compute(line["rest"]))
            result = ToolResult(name=TOOL, arguments=arguments, result=value)
        except NotArithmetic as error:
            value = str(error)
            result = ToolResult(name=TOOL, arguments=arguments, result=value, ok=False)
        turns = sum(each.kind == "think" for each in state["steps"])
        shown = Message(role="user", content=render("math/result", result=value))
        return {
            "steps": [Step(kind="compute", output=value, evidence=(result,))],
            "messages": [shown],
            "done": turns >= TURNS,
        }
