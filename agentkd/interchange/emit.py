"""`--otlp FILE|URL`: the spans of a run's traces, to a file or to a collector, while the run goes on.

A thread follows the run's shard, so what is on the disk is what is sent, and nothing waits for a collector. How many
traces have been sent is noted in the run, and the next call of the same command sends the rest. A trace may be sent
twice where a process was killed: its spans have the same ids then.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from agentkd import __version__
from agentkd.credentials import find_access, is_loopback, mask_secrets
from agentkd.errors import AgentkdError, UserError
from agentkd.interchange.session import to_sessions
from agentkd.interchange.spans import to_request, trace_spans
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.runs.untrusted import CONFIG_BYTES, open_regular, parse_json, read_small
from agentkd.trace import Trace

SENT = "spans-sent.json"
EVERY, TIMEOUT = 5.0, 10.0  # seconds between looks at the shard, and for one request
BATCH = 64  # traces per request
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")  # OpenTelemetry's own names


class Options(Protocol):
    """The options of a stage that emits spans."""

    @property
    def otlp(self) -> str | None: ...
    @property
    def otlp_content(self) -> bool: ...
    @property
    def insecure(self) -> bool: ...


@contextmanager
def emit_spans(config: Options, run: Path) -> Iterator[None]:
    """Send the spans of the traces in a run directory until the block ends, and those of earlier calls.

    A collector that cannot be reached costs a line, not the run."""
    if config.otlp is None:
        yield
        return
    target = Target(config.otlp, run, contents=config.otlp_content, insecure=config.insecure)
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(EVERY):
            target.send_new()

    follower = threading.Thread(target=follow, name="spans", daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join(TIMEOUT + 1)
        if not follower.is_alive():
            target.send_new()
        target.say_result()


class Target:
    """Where the spans of a run go, and how many of its traces are there."""

    def __init__(self, target: str, run: Path, *, contents: bool, insecure: bool) -> None:
        self.run, self.contents, self.target = run, contents, target
        self.is_url = target.startswith(("http://", "https://"))
        if "://" in target and not self.is_url:
            raise UserError(f"--otlp {target}: give a file, or the http or https address of a collector")
        self.headers = make_headers(target, insecure) if self.is_url else {}
        self.sent = self.read_sent()
        self.fault, self.begun = "", self.sent
        self.read = self.place = 0  # traces and bytes of the shard that have been looked at

    def read_sent(self) -> int:
        """How many traces have been sent, by earlier calls."""
        if not self.is_url and not Path(self.target).exists():
            return 0
        try:
            count = parse_json(read_small(self.run / SENT, CONFIG_BYTES)).get(self.target, 0)
            return count if isinstance(count, int) else 0
        except (OSError, ValueError, AttributeError, UserError):  # none yet, or damaged: all are sent
            return 0

    def send_new(self) -> None:
        """Send the traces that have come since, in batches. What fails is tried again at the next call."""
        try:
            while batch := self.read_new():
                self.send(batch)
            self.fault = ""
        except (OSError, AgentkdError, ValueError) as error:
            self.read = self.place = 0  # from the beginning, over what is sent
            told = getattr(error, "reason", error)
            told = f"HTTP {error.code} {told}" if isinstance(error, HTTPError) else told
            self.fault = mask_secrets(" ".join(str(told).split()))[:200]

    def read_new(self) -> list[Trace]:
        """The next traces of the shard that are not sent, up to a batch. A line without its end is not there yet."""
        found: list[Trace] = []
        try:
            file = open_regular(self.run / "traces-0.jsonl")
        except FileNotFoundError:
            return found
        with file:
            file.seek(self.place)
            while len(found) < BATCH and (line := file.readline()).endswith(b"\n"):
                if self.read >= self.sent:
                    found.append(Trace.model_validate_json(line))
                self.read, self.place = self.read + 1, file.tell()
        return found

    def send(self, traces: list[Trace]) -> None:
        """Send traces, and note that they are sent."""
        shard = max((path.stat().st_mtime_ns for path in self.run.glob("traces-*.jsonl")), default=0)
        requests = [
            to_request(trace_spans(trace, to_sessions(trace, self.run), contents=self.contents, ended=shard))
            for trace in traces
        ]
        if self.is_url:
            resources = [resource for request in requests for resource in request["resourceSpans"]]
            self.post({"resourceSpans": resources})
        else:
            path = Path(self.target)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(request) + "\n" for request in requests)
        self.sent += len(traces)
        try:
            known = parse_json(read_small(self.run / SENT, CONFIG_BYTES))
        except (OSError, ValueError, UserError):
            known = {}
        note = {**known, self.target: self.sent} if isinstance(known, dict) else {self.target: self.sent}
        write_atomically(self.run / SENT, json.dumps(note, indent=1) + "\n")

    def post(self, request: dict[str, Any]) -> None:
        """Send a request to the collector. Raises OSError with what it answered."""
        url = self.target.rstrip("/")
        url += "" if urlsplit(url).path.endswith("/v1/traces") else "/v1/traces"
        body = json.dumps(request).encode()
        with urllib.request.urlopen(
            urllib.request.Request(url, body, {**self.headers, "Content-Type": "application/json"}), timeout=TIMEOUT
        ) as answer:
            told = answer.read(CONFIG_BYTES)
        rejected = (json.loads(told or b"{}") or {}).get("partialSuccess") or {}
        if int(rejected.get("rejectedSpans") or 0):
            raise OSError(f"{rejected['rejectedSpans']} spans were rejected: {rejected.get('errorMessage', '')}")

    def say_result(self) -> None:
        """Say how many traces were sent, and whether the rest is still to be sent."""
        name = mask_secrets(self.target)
        if self.fault:
            say(f"spans: {name} cannot be written ({self.fault}): the same command sends the rest later")
        if self.sent > self.begun or not self.fault:
            what = "with contents" if self.contents else "without contents"
            say(f"spans: {self.sent - self.begun:,} traces to {name}, {what}")


def make_headers(url: str, insecure: bool) -> dict[str, str]:
    """The headers of requests to a collector: a login in its address, and those of OpenTelemetry's variables."""
    headers = {"User-Agent": f"agentkd/{__version__}"}
    login = find_access(url).headers.get("Authorization", "")
    if login.startswith("Basic "):
        headers["Authorization"] = login
    given = next((value for name in HEADERS if (value := os.environ.get(name, "").strip())), "")
    pairs = [pair.partition("=") for pair in given.split(",") if pair.strip()]
    parts = urlsplit(url)
    if pairs and parts.scheme == "http" and not is_loopback(parts.hostname or "") and not insecure:
        say(f"spans: {HEADERS[1]} is not sent to {parts.hostname}, over plain http (use https, or --insecure)")
        return headers
    return headers | {name.strip(): unquote(value.strip()) for name, _, value in pairs}
