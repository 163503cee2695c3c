"""A scripted expert: an OpenAI-compatible server that plays written answers, stage by stage.

Agent K's prompts say `Stage: …` and `Action: …`; a script maps (stage, action) to the answers given in turn, the last
one again and again. Where the script says nothing, the answer is DEFAULTS: agreement, and no code."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted-expert"
Script = Mapping[tuple[str, str], Sequence[str]]


def default(stage: str, action: str, prompt: str) -> str:
    if action == "choose" and stage in ("understand", "modalities"):
        return re.findall(r"^<page>\n(.*)\n</page>$", prompt, re.MULTILINE)[-1]  # the facts as they were read
    if action == "choose":
        return json.dumps({"own_code": False, "why": "agreed"})
    if action == "analyse":
        return json.dumps({"cause": "unknown", "stage": stage})
    return "nothing to add"


class Expert(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Script, nonsense: str = "", refused: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.nonsense, self.refused = dict(script), nonsense, refused
        self.asked: Counter[tuple[str, str]] = Counter()
        self.prompts: list[str] = []
        self.lock = threading.Lock()

    @property
    def spec(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1#{MODEL}"

    def answer(self, prompt: str) -> str:
        found = re.search(r"^Stage: (\S+)\nAction: (\S+)$", prompt, re.MULTILINE)
        assert found, prompt[:200]
        stage, action = found.groups()
        with self.lock:
            number = self.asked[stage, action]
            self.asked[stage, action] += 1
            self.prompts.append(prompt)
        if self.nonsense:
            return self.nonsense
        answers = self.script.get((stage, action))
        return answers[min(number, len(answers) - 1)] if answers else default(stage, action, prompt)


class Handler(BaseHTTPRequestHandler):
    server: Expert
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def give(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.give({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.refused in request:
            self.give({"error": {"message": "This response_format type is unavailable now"}}, 400)
            return
        text = self.server.answer(request["messages"][-1]["content"])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        self.give({"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice],
                   "usage": usage})  # fmt: skip


@contextmanager
def expert(script: Script | None = None, nonsense: str = "", refused: str = "") -> Iterator[Expert]:
    """`refused` is a field of a request that the server answers with 400."""
    server = Expert(script or {}, nonsense, refused)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def python(code: str) -> str:
    return f"```python\n{code.strip()}\n```"
