"""A loopback server that answers as well-known servers and gateways do in their worst moments: one way per mode.

`MODES` has each with what must come of it: `right` (the answer that a sound server gives), `stops` (the account or the
server is at fault: one line with its words) or `fails` (tried again in vain). After any of them the server is mended by
`server.mode = MODES["sound"]`, and the same command must end as if nothing had been.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple

from tests.support.mock_server import answer

MODEL = "odd-1"
Request = dict[str, Any]
Outcome = Literal["right", "stops", "fails"]


@dataclass(frozen=True)
class Sent:
    """A response. A body that is no bytes is sent as JSON; `reset` closes the connection instead."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False


class Count(NamedTuple):
    """How many requests have come, and how many that equal this one; it counts."""

    all: int
    same: int


@dataclass(frozen=True)
class Mode:
    """`post` makes the response to a request, of which it gets the content, the sound answer and the count.

    `models` is the response to GET /models. `words` are those that the user must see, `says` a line while it works."""

    post: Callable[[Request, str, Count], Sent]
    outcome: Outcome = "right"
    words: str = ""
    says: str = ""
    models: Sent = Sent({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
    model: str = MODEL


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def answer_told(request: Request) -> str:
    """The mock server's answer, also where the schema stands in the prompt."""
    told = request["messages"][-1]["content"].partition("JSON schema: ")[2]
    shape = {"response_format": {"json_schema": {"schema": json.loads(told)}}} if told else {}
    return answer(request | shape)


def reply(content: Any, *, finish: Any = "stop", usage: Any = USAGE, choice: Any = None, **message: Any) -> Sent:
    said = {"role": "assistant", "content": content, **message}
    return Sent({"choices": [{"index": 0, "message": said, "finish_reason": finish, **(choice or {})}], "usage": usage})


def sound(request: Request, text: str, count: Count) -> Sent:
    return reply(text)


def error(status: int, message: str, /, **more: Any) -> Sent:
    return Sent({"error": {"message": message, **more}}, status, {"Retry-After": "0"})


def always(sent: Sent, outcome: Outcome = "fails", words: str = "") -> Mode:
    """Every request is answered so."""
    return Mode(lambda request, text, count: sent, outcome, words)


def first(many: int, sent: Sent, outcome: Outcome = "right", words: str = "") -> Mode:
    """The first requests are answered so, all later ones well."""
    return Mode(lambda request, text, count: sent if count.all <= many else reply(text), outcome, words)


def odd(make: Callable[[str], Sent]) -> Mode:
    """The right answer in an odd form."""
    return Mode(lambda request, text, count: make(text))


def refusing(name: str, refusal: Sent, says: str) -> Mode:
    """A request with this field is refused."""
    return Mode(lambda request, text, count: refusal if name in request else reply(text), says=says)


def refusing_system(refusal: Sent) -> Mode:
    def post(request: Request, text: str, count: Count) -> Sent:
        return refusal if request["messages"][0]["role"] == "system" else reply(text)

    return Mode(post, says="the server takes no system message")


def listing(models: Sent, model: str = MODEL, says: str = "") -> Mode:
    return Mode(sound, says=says, models=models, model=model)


def listed(*names: str) -> Sent:
    return Sent({"object": "list", "data": [{"id": name} for name in names]})


def raw(text: str) -> bytes:
    return json.dumps(reply(text).body).encode()


NONE = reply(None, usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, refusal=None)
SPECIAL = "<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant<|channel|>final<|message|>"
UNSUPPORTED = "Unsupported parameter: 'max_tokens' is not supported here. Use 'max_completion_tokens' instead."
ONE_VALUE = "Unsupported value: 'temperature' does not support 0 with this model."
EXTRA = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 3}
ROLE = {"type": "enum", "loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user' or 'assistant'"}
JINJA = "Jinja Exception: System role not supported"
QUOTA = "You exceeded your current quota, please check your plan and billing details."
LONG = "This model's maximum context length is 512 tokens. However, you requested 900 tokens."

MODES: dict[str, Mode] = {
    "sound": Mode(sound),
    # an answer in another form
    "parts": odd(lambda text: reply([{"type": "text", "text": text}])),
    "parts-with-thoughts": odd(lambda text: reply([
        {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]}, {"type": "text", "text": text}])),
    "think": odd(lambda text: reply(f"<think>so</think>\n{text}")),
    "think-closed-alone": odd(lambda text: reply(f"so</think>\n{text}")),
    "think-in-brackets": odd(lambda text: reply(f"[THINK]so[/THINK]{text}")),
    "thought": odd(lambda text: reply(f"<thought>so</thought>\n{text}")),
    "harmony": odd(lambda text: reply(SPECIAL + text)),
    "harmony-stripped": odd(lambda text: reply(f"analysisThey ask.assistantfinal{text}")),
    "granite": odd(lambda text: reply(f"Here is my thought process: so\n\nHere is my response: {text}")),
    "reasoning-apart": odd(lambda text: reply(text, reasoning_content="so")),
    "fenced": odd(lambda text: reply(f"```json\n{text}\n```" if text[0] in '{"' else text)),
    "finish-null": odd(lambda text: reply(text, finish=None)),
    "finish-eos": odd(lambda text: reply(text, finish="EOS_TOKEN")),
    "usage-missing": odd(lambda text: reply(text, usage=None)),
    "usage-texts": odd(lambda text: reply(text, usage={"prompt_tokens": "7", "completion_tokens": 3.0})),
    "usage-negative": odd(lambda text: reply(text, usage={"prompt_tokens": -9, "completion_tokens": 3})),
    "blank-lines-first": odd(lambda text: Sent(b"\n\n   \n" + raw(text))),
    "byte-order-mark": odd(lambda text: Sent(b"\xef\xbb\xbf" + raw(text))),
    "gzip": odd(lambda text: Sent(gzip.compress(raw(text)), headers={"Content-Encoding": "gzip"})),
    "closing": odd(lambda text: Sent(reply(text).body, headers={"Connection": "close"})),
    # a bad moment
    **{f"{name}-once": first(1, sent) for name, sent in {
        "none": NONE, "cut-by-provider": reply("{", finish="insufficient_system_resource"),
        "choice-error": reply("", finish=None, choice={"error": {"code": 502, "message": "upstream died"}}),
        "body-error": Sent({"choices": None, "error": {"message": "Provider returned error", "code": 429}}),
        "429": error(429, "Rate limit reached. Please retry in 1s.", status="RESOURCE_EXHAUSTED"),
        "429-that-speaks-of-billing": error(429, QUOTA + " Please retry in 1s.", status="RESOURCE_EXHAUSTED"),
        "500": error(500, "internal"), "503-page": Sent(b"<html>503 billing support</html>", 503),
        "529": error(529, "Overloaded"), "reset": Sent(reset=True), "page": Sent(b"<html>hello</html>"),
        "400": error(400, "Bad Request"), "422": error(422, "Unprocessable"),
        "404-loading": error(404, f"model '{MODEL}' is being loaded"),
    }.items()},
    "none-at-first": Mode(lambda request, text, count: NONE if count.same == 1 else reply(text)),
    # fields that are not taken
    "max-tokens": Mode(lambda request, text, count: (
        error(400, UNSUPPORTED, param="max_tokens", code="unsupported_parameter") if "max_tokens" in request
        else error(400, ONE_VALUE) if "temperature" in request
        else reply(text)), says="it is asked with max_completion_tokens"),
    "no-temperature": refusing("temperature", error(400, "temperature: this parameter is deprecated"), "temperature"),
    "no-seed": refusing("seed", error(400, "Unrecognized request argument supplied: seed"), "does not take seed"),
    "no-seed-422": refusing("seed", Sent({"detail": [EXTRA]}, 422), "does not take seed"),
    "no-seed-nested": refusing("seed", Sent({"object": "error", "message": {"detail": [EXTRA]}}, 422), "seed"),
    "no-system": refusing_system(error(400, "System role not supported")),
    "no-system-500": refusing_system(error(500, JINJA, type="server_error")),
    "no-system-alternate": refusing_system(error(400, "Conversation roles must alternate user/assistant/user/…")),
    "no-system-422": refusing_system(Sent({"detail": [ROLE]}, 422)),
    "no-schema": refusing("response_format", error(400, "This response_format type is unavailable now"), "no JSON sch"),
    "no-schema-unnamed": refusing("response_format", error(400, "Bad Request"), "no JSON schema"),
    # lists of models
    "models-array": listing(Sent([{"id": MODEL}])),
    **{f"models-{status}": listing(error(status, "no")) for status in (403, 404, 405, 500)},
    "models-null": listing(Sent({"data": None})),
    "models-empty": listing(listed()),
    "models-page": listing(Sent(b"<html>hello</html>")),
    "models-reset": listing(Sent(reset=True)),
    "models-prefix": listing(listed(f"models/{MODEL}")),
    "models-latest": listing(listed(f"{MODEL}:latest")),
    "models-route": listing(listed(f"vendor/{MODEL}"), f"vendor/{MODEL}:nitro"),
    "models-many": listing(listed(*(f"vendor/model-{k}" for k in range(300)), f"org/{MODEL}"),
                           says=f"it lists org/{MODEL}"),
    # the account, the server
    **{name: always(sent, "stops", words) for name, sent, words in (
        ("401", error(401, "Incorrect API key"), r"\(401\): Incorrect API key \(set AGENTKD_API_KEY\)"),
        ("402", error(402, "Insufficient Balance"), r"\(402\): Insufficient Balance"),
        ("403", error(403, "Your organization has no access"), r"\(403\): Your organization"),
        ("404", error(404, f"model '{MODEL}' not found, try pulling it first"), "try pulling it first"),
        ("405", error(405, "Method Not Allowed"), "405"),
        ("307", Sent(b"", 307, {"Location": "https://other.test/v1"}), r"redirects \(307\) to https://other.test/v1"),
        ("429-quota", error(429, QUOTA, type="insufficient_quota", code="insufficient_quota"), "your current quota"),
        ("400-credit", error(400, "Your credit balance is too low to access the API"), "credit balance is too low"),
        ("400-key", error(400, "API key not valid. Please pass another.", status="INVALID_ARGUMENT"), "API key"),
        ("400-model", error(400, f"The model `{MODEL}` does not exist", code="model_not_found"), "does not exist"),
        ("body-402", Sent({"error": {"message": "No funds", "code": 402}}), r"\(402\): No funds"),
    )},
    **{f"{status}-three-times": first(3, error(status, "not now, friend"), "stops", "not now, friend")
       for status in (401, 402, 403, 404)},
    # no answer, however often it is asked
    **{name: always(sent, "fails", words) for name, sent, words in (
        ("none", NONE, "the answer is empty, and has no tokens"),
        ("empty", reply("", usage=None), "the answer is empty"),
        ("thoughts-alone", reply("", reasoning="So: " * 9), "all text is in the thoughts"),
        ("cut-by-provider", reply("{", finish="insufficient_system_resource"), "insufficient_system_resource"),
        ("filtered", reply(None, finish="content_filter"), "content_filter"),
        ("aborted", reply("x", finish="abort"), "abort"),
        ("choice-error", reply("", finish=None, choice={"error": {"message": "upstream died"}}), "upstream died"),
        ("body-error", Sent({"error": {"message": "Provider returned error", "code": 429}}), "Provider returned error"),
        ("no-choices", Sent({"warning": "model loading", "choices": []}), "no completion"),
        ("500", error(500, "internal"), "500: internal"),
        ("reset", Sent(reset=True), "failed 5 times"),
        ("page", Sent(b"<html>hello</html>"), "no completion: <html>"),
        ("stream", Sent(b'data: {"choices": []}\n\ndata: [DONE]\n\n'), "it streams"),
        ("deep", Sent(b"[" * 100_000), "no completion"),
        ("400", error(400, "Bad Request"), r"\(400\): Bad Request"),
        ("413", error(413, "Request too large"), r"\(413\): Request too large"),
        ("400-long", error(400, LONG), "maximum context length"),
        ("403-moderation", error(403, "Your input was flagged"), "flagged"),
    )},
}  # fmt: skip


class OddServer(ThreadingHTTPServer):
    """`answer` gives the text of a sound answer to a request."""

    daemon_threads = True

    def __init__(self, mode: Mode, answer: Callable[[Request], str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.answer = mode, answer
        self.lock = threading.Lock()
        self.requests: list[Request] = []
        self.headers: list[Message] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def spec(self) -> str:
        return f"{self.url}#{self.mode.model}"


class Handler(BaseHTTPRequestHandler):
    server: OddServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.headers.append(self.headers)
        self.send(self.server.mode.models)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append(request)
            server.headers.append(self.headers)
            count = Count(len(server.requests), server.requests.count(request))
        self.send(server.mode.post(request, server.answer(request), count))

    def send(self, sent: Sent) -> None:
        if sent.reset:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        data = sent.body if isinstance(sent.body, bytes) else json.dumps(sent.body).encode()
        try:
            self.send_response(sent.status)
            for name, value in {"Content-Type": "application/json", **sent.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def odd_server(mode: str, answer: Callable[[Request], str] = answer_told) -> Iterator[OddServer]:
    server = OddServer(MODES[mode], answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
