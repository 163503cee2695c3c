"""An agent that answers with SQL: the model writes a query, a database runs it, and its rows are the answer.

A LangGraph of two nodes. A query that fails, or gives no row, comes back with the reason, twice at most:

    write ─► run ─┐
      ▲           │
      └───────────┘

Written queries with execution as the check: Text-to-SQL as in Spider (arXiv 1809.08887); the repair is that of
Self-Debug (arXiv 2304.05128).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentkd.agents.base import chat_messages
from agentkd.agents.with_tools.context import ToolContext, ToolState, ask, begin, build_loop, draft_of
from agentkd.prompts import render
from agentkd.tasks.geo_tables import describe_schema
from agentkd.trace import Draft, Message, Step, ToolResult
from agentkd.verifiers.fenced import unfence
from agentkd.verifiers.sql import QueryError, run_query

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

MAX_TOKENS = 96
WRITES = 3  # queries of a sample at most
TOOL = "sql"


class SqlWriter:
    """The agent `sql`."""

    name = "sql"

    def __init__(self, context: ToolContext) -> None:
        self.context = context
        self.graph = build_loop(self.write, self.run)

    async def solve(self, question: Question, sample: int) -> Draft:
        """Answer the question; the steps hold each query and its rows."""
        messages = chat_messages(
            render("sql/system", schema=describe_schema()), render("sql/question", question=question.question)
        )
        return draft_of(await self.graph.ainvoke(begin(messages, sample)))

    async def write(self, state: ToolState) -> dict[str, Any]:
        """Let the model write a query."""
        return await ask(self.context, state, "write", MAX_TOKENS)

    async def run(self, state: ToolState) -> dict[str, Any]:
        """Run the query that was written last. Its rows are evidence."""
        assert self.context.database is not None
        query = unfence(state["messages"][-1].content)
        arguments = json.dumps({"query": query}, ensure_ascii=False)
        answers: list[str] = []
        try:
            table = run_query(self.context.database, query)
            answers, reason = table.answers, "" if table.answers else "no row"
            result = ToolResult(name=TOOL, arguments=arguments, result=table.record())
        except QueryError as error:
            reason = str(error)
            result = ToolResult(name=TOOL, arguments=arguments, result=reason, ok=False)
        step = Step(kind="run", output="\n".join(answers), evidence=(result,))
        written = sum(each.kind == "write" for each in state["steps"])
        again = [Message(role="user", content=render("sql/repair", reason=reason))] if reason else []
        return {"steps": [step], "answers": answers, "done": not reason or written >= WRITES, "messages": again}
