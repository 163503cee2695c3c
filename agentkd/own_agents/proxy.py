"""The server that an agent's chat models ask: OpenAI's chat protocol on loopback, answered by the run's teacher.

Each process of the agent has a key of its own, so that a call is known to belong to the sample that the process works
on, whatever framework makes it, from whatever thread. A call under any other key is refused.
"""

from __future__ import annotations

import json
import secrets
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from agentkd.errors import AgentkdError
from agentkd.own_agents.protocol import write_completion, write_stream
from agentkd.own_agents.session import BadRequest, Session
from agentkd.serving.ports import LOOPBACK, take_port

CHAT, MODELS = "/v1/chat/completions", "/v1/models"
REQUEST_BYTES = 64 << 20
BACKLOG = 1024


class Proxy:
    """The server, as an async context manager. Its address is known, and taken, from the start.

    `sessions` are the samples in work, by the key of their process."""

    def __init__(self, model: str = "teacher") -> None:
        self.model = model
        self.sessions: dict[str, Session] = {}
        self._listener = take_port(LOOPBACK, 0)
        self._listener.listen(BACKLOG)  # an agent that asks too early waits
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}/v1"

    def new_key(self) -> str:
        """A key for a process of the agent."""
        return f"agentkd-{secrets.token_hex(16)}"

    async def __aenter__(self) -> Self:
        # A call whose client is gone goes on: it is paid for, and asked again it has its answer.
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener, backlog=BACKLOG).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def close(self) -> None:
        """Give the address back, where the server was never entered."""
        self._listener.close()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.path == MODELS and http.method == "GET":
            return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})
        if http.path != CHAT or http.method != "POST":
            return refuse(404, f"{http.method} {http.path[:80]} is not served: agentkd answers chat completions alone")
        session = self.sessions.get(http.headers.get("Authorization", "").removeprefix("Bearer "))
        if session is None:
            return refuse(401, "this key belongs to no sample in work: keep OPENAI_API_KEY as it is set")
        try:
            body = await http.read()
            request = json.loads(body)
            check_request(request)
            return await self._answer(http, session, request, body)
        except ValueError as error:  # BadRequest is one
            return refuse(400, f"this is no chat request: {error}")
        except AgentkdError as error:
            return refuse(400, str(error))  # no client sends it again

    async def _answer(
        self, http: web.BaseRequest, session: Session, request: dict[str, Any], body: bytes
    ) -> web.StreamResponse:
        replies, delivered = [], []
        for _ in range(request.get("n") or 1):  # a request of its own each, as few servers give several answers
            reply, deliver = await session.answer(request, body, lambda: is_gone(http))
            replies.append(reply)
            delivered.append(deliver)
        id = f"chatcmpl-{secrets.token_hex(12)}"  # its own for equal requests, too: frameworks know messages by it
        if request.get("stream"):
            usage = bool((request.get("stream_options") or {}).get("include_usage"))
            text, kind = b"".join(write_stream(self.model, id, replies, usage=usage)), "text/event-stream"
        else:
            text, kind = json.dumps(write_completion(self.model, id, replies)).encode(), "application/json"
        response = web.Response(body=text, content_type=kind)
        if not is_gone(http):
            for deliver in delivered:
                deliver()
        return response


def is_gone(http: web.BaseRequest) -> bool:
    """Whether the client of a request has hung up."""
    return http.transport is None or http.transport.is_closing()


def check_request(request: Any) -> None:
    """Raise BadRequest for values that no model could be asked with."""
    if not isinstance(request, dict):
        raise BadRequest("it is no object")
    for name in ("n", "max_tokens", "max_completion_tokens"):
        value = request.get(name)
        if value is not None and not (isinstance(value, int) and 0 < value < 10**7):
            raise BadRequest(f"{name} is {str(value)[:40]}")
    if not isinstance(request.get("seed") or 0, int):
        raise BadRequest(f"seed is {str(request['seed'])[:40]}")


def refuse(status: int, why: str) -> web.Response:
    """An error in OpenAI's form."""
    return web.json_response({"error": {"message": why, "type": "agentkd", "code": None}}, status=status)
