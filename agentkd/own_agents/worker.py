"""A process that holds the user's agent, and runs it on one sample after another. It is ended where the agent hangs.

Called as `python -m agentkd.own_agents.worker FD AGENT FIELD`. Over the socket FD it gets a JSON line
`{"asked", "thread"}` for each sample, and answers with one: the answer and the tools that ran, or why there is none.
What the agent prints goes to the run's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from agentkd.errors import UserError
from agentkd.own_agents.find import call_factory, check_kind, is_runnable, load_agent
from agentkd.own_agents.inputs import Unfit, fit_input, read_answer
from agentkd.user_code import describe_error

LINE = 64 << 20  # bytes of an item or an answer
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


async def run_agent(agent: Any, asked: str | dict[str, Any], thread: str, field: str | None) -> str:
    """Run the agent once and return its answer. A thread of its own, for a graph that keeps checkpoints."""
    given = fit_input(agent, asked)
    if is_runnable(agent):
        result = await agent.ainvoke(given, config={"configurable": {"thread_id": thread}})
    elif inspect.iscoroutinefunction(agent) or inspect.iscoroutinefunction(getattr(agent, "__call__", None)):  # noqa: B004
        result = await agent(given)
    else:
        result = await asyncio.to_thread(agent, given)
        if inspect.isawaitable(result):
            result = await result
    return read_answer(result, field)


def make_model() -> Any:
    from agentkd.own_agents.chat_model import AgentkdChat

    return AgentkdChat()


async def serve(agent: Any, spec: str, field: str | None, connection: socket.socket) -> None:
    """Serve until the other end is closed."""
    reader, writer = await asyncio.open_connection(sock=connection, limit=LINE)

    def reply(**fields: Any) -> None:
        writer.write(json.dumps(fields).encode() + b"\n")

    if inspect.isawaitable(agent):
        try:
            agent = await agent
            check_kind(spec, agent)
        except UserError as error:
            return reply(error=str(error))
        except Exception as error:
            return reply(error=f"{spec}: making it failed: {describe_error(error)}")
    log = None
    if "langchain_core" in sys.modules or is_runnable(agent):
        from agentkd.own_agents.tool_log import follow_tools

        log = follow_tools()
    reply(ready=True)
    while line := await reader.readline():
        job = json.loads(line)
        try:
            answer = await run_agent(agent, job["asked"], job["thread"], field)
        except Unfit as error:
            said: dict[str, Any] = {"failed": str(error)}
        except BaseException as error:
            said = {"failed": f"the agent raised {describe_error(error)}"}
        else:
            said = {"answer": answer.encode(errors="replace").decode()}
        reply(**said, tools=log.take() if log is not None else [])
        await writer.drain()
        sys.stdout.flush()


def main(words: Sequence[str]) -> None:
    """Load the agent and serve. The process ends with its parent, however that ends."""
    descriptor, spec, field = words
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the parent's
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # Linux alone has it
    if os.getppid() != parent:
        return
    connection = socket.socket(fileno=int(descriptor))
    try:
        agent = call_factory(spec, load_agent(spec), make_model)  # outside of a loop: modules may run one of their own
        if not inspect.isawaitable(agent):
            check_kind(spec, agent)
    except UserError as error:
        connection.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
        return
    asyncio.run(serve(agent, spec, field or None, connection))


if __name__ == "__main__":
    main(sys.argv[1:])
