"""A student behind the OpenAI protocol: `/v1/chat/completions` and `/v1/models`.

The last message of the user is the question. The answers are the content, one per line; path, evidence and verdict are
in the field `agentkd` beside it, and with `evidence=True` below the answers, too. Topics can be named in the request's
field `topics`; else they are found in the question. Where nothing answers, the content is empty and `refusal` says why.
Sampling options mean nothing to a student that is read exactly, and are ignored; what would need another answer (tools,
JSON, several choices) is refused.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Collection
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from agentkd.ask.answer import Answer
from agentkd.ask.student import Answerer
from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.retrievers.mentions import TopicUnknown
from agentkd.runs.progress import say
from agentkd.serving.ports import bracket_ipv6, local_address
from agentkd.serving.visitors import Visitors

SLOTS = 8  # questions in flight
WAITING = 64  # questions that wait for a slot; one more is told to come again
REQUEST_BYTES = 1024 * 1024
TOPICS = 'name it in the request\'s field "topics"'


class Part(BaseModel):
    """A part of a message; only text is read."""

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    """A message of a chat; only those of the user are read."""

    role: str
    content: str | list[Part] | None = None

    @property
    def question(self) -> str:
        """The text of the message."""
        if isinstance(self.content, list):
            return " ".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """What is read of a chat completion request, and `topics`, which is ours."""

    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    topics: Annotated[list[str], Field(min_length=1)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: Literal[False] | None = None


class Refusal(Exception):
    """A request that is answered by an error object of the protocol."""

    def __init__(self, status: int, message: str, *, kind: str, code: str | None = None, param: str | None = None):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Endpoint:
    """An HTTP server on a socket that `take_port` made for `host`, as an async context manager.

    `names` are further host names by which clients may ask; `model` is the name that the student goes by; `evidence`
    puts path and facts into the text; `slots` is the number of questions in flight. `url` ends in /v1."""

    def __init__(
        self,
        answerer: Answerer,
        host: str,
        listener: socket.socket,
        names: Collection[str] = (),
        *,
        evidence: bool = False,
        slots: int = SLOTS,
    ) -> None:
        self.url = f"http://{bracket_ipv6(local_address(host))}:{listener.getsockname()[1]}/v1"
        self.host, self.model = host, answerer.name
        self._answerer, self._listener, self._evidence = answerer, listener, evidence
        self._visitors, self._slots, self._waiting = Visitors(host, names), asyncio.Semaphore(slots), 0
        self._started = int(time.time())

    async def __aenter__(self) -> Endpoint:
        app = web.Application(client_max_size=REQUEST_BYTES, middlewares=[self._guard])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._one_model)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    # ---- requests ----------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Refuse strangers, and turn errors into error objects."""
        if why := self._visitors.why_not(request):
            return refuse(Refusal(403, why, kind="forbidden"))
        try:
            response: web.StreamResponse = await handler(request)
            return response
        except Refusal as refusal:
            return refuse(refusal)
        except web.HTTPException as error:
            why = f"{request.method} {request.path[:80]}: {error.reason}; asked are /v1/chat/completions, /v1/models"
            return refuse(Refusal(error.status, why, kind="invalid_request_error"))

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._record()]})

    async def _one_model(self, request: web.Request) -> web.Response:
        self._check_model(request.match_info["name"])
        return web.json_response(self._record())

    def _record(self) -> dict[str, Any]:
        return {"id": self.model, "object": "model", "created": self._started, "owned_by": "agentkd"}

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self.model):
            why = f"the model {str(name)[:80]!r} is not served here: ask for {self.model!r}"
            raise Refusal(404, why, kind="invalid_request_error", code="model_not_found", param="model")

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = read_request(await request.read())
        self._check_model(asked.model)
        question = next((m.question for m in reversed(asked.messages) if m.role == "user"), "")
        answer = await self._answer(question, asked.topics)
        body = self._completion(answer)
        return await stream(request, body, asked) if asked.stream else web.json_response(body)

    async def _answer(self, question: str, topics: list[str] | None) -> Answer:
        if self._waiting >= WAITING:
            why = f"{WAITING} questions wait already: ask again in a second, or start the server with more --slots"
            raise Refusal(429, why, kind="rate_limit_error", code="rate_limit_exceeded")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._answerer.answer(question, topics)
        except TopicUnknown as error:
            why, param = f"{error.what}: {TOPICS}", "messages" if topics is None else "topics"
            raise Refusal(400, why, kind="invalid_request_error", code="topic_unknown", param=param) from None
        except UserError as error:
            raise Refusal(400, str(error), kind="invalid_request_error", param="messages") from None
        except WorldError as error:
            raise Refusal(503, str(error), kind="server_error") from None
        except AgentkdError as error:
            raise Refusal(500, str(error), kind="server_error") from None
        except Exception as error:
            say(f"a question ended in {type(error).__name__}: {str(error)[:160]}")
            why = f"a fault in agentkd ({type(error).__name__}): see the server's terminal"
            raise Refusal(500, why, kind="server_error") from error
        finally:
            self._slots.release()

    # ---- replies -----------------------------------------------------------------------------------------------

    def _completion(self, answer: Answer) -> dict[str, Any]:
        """The completion object of an answer."""
        text = answer.text
        if self._evidence and answer.answers:
            text = "\n".join([text, "", *answer.describe()])
        usage, refusal = answer.usage, None if answer.answers else answer.reason
        message = {"role": "assistant", "content": text, "refusal": refusal}
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.tokens,
            },
            "agentkd": answer.model_dump(mode="json"),
        }


def read_request(body: bytes) -> ChatRequest:
    """Read a request's body. Raises Refusal, with the field, for one that cannot be answered."""
    try:
        asked = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "body"
        why = f"{field[:80]}: {first['msg']}; a student answers one question in words"
        raise Refusal(400, why, kind="invalid_request_error", param=field[:80]) from None
    if (kind := (asked.response_format or {}).get("type", "text")) != "text":
        why = f"response_format {str(kind)[:40]!r}: a student answers in words, the facts are in the field agentkd"
        raise Refusal(400, why, kind="invalid_request_error", param="response_format")
    if not any(message.role == "user" for message in asked.messages):
        why = "no message is of role user: the last of them is the question"
        raise Refusal(400, why, kind="invalid_request_error", param="messages")
    return asked


def refuse(refusal: Refusal) -> web.Response:
    """The error object of the protocol."""
    headers = {"Retry-After": "1"} if refusal.status == 429 else None
    return web.json_response(refusal.body, status=refusal.status, headers=headers)


async def stream(request: web.Request, body: dict[str, Any], asked: ChatRequest) -> web.StreamResponse:
    """Send a completion as server-sent events: one chunk, since an answer is there all at once."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    choice = body["choices"][0]
    shared = {"id": body["id"], "object": "chat.completion.chunk", "created": body["created"], "model": body["model"]}
    delta = {"index": 0, "delta": choice["message"], "logprobs": None, "finish_reason": None}
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
    chunks: list[dict[str, Any]] = [
        {**shared, "choices": [delta], "agentkd": body["agentkd"]},
        {**shared, "choices": [last]},
    ]
    if asked.stream_options and asked.stream_options.include_usage:
        chunks.append({**shared, "choices": [], "usage": body["usage"]})
    for chunk in chunks:
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response
