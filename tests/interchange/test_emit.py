"""Spans of runs: to a file, and to a collector on this machine that reads them by OpenTelemetry's own definitions."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import EvalConfig, GenerateConfig
from agentkd.errors import UserError
from agentkd.eval.kbqa import evaluate
from agentkd.generate import generate
from agentkd.interchange import emit
from agentkd.interchange.emit import SENT
from agentkd.interchange.session import to_sessions
from agentkd.interchange.spans import to_request, trace_spans
from agentkd.runs.read import read_traces
from tests.support.traces import SECRET, tooled


class Collector:
    """What a collector on this machine got; `status` is its answer."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200

    @property
    def spans(self) -> list[Any]:
        return [span for request in self.requests for span in decode(request)]

    @property
    def texts(self) -> str:
        return json.dumps(self.requests)


def decode(request: dict[str, Any]) -> list[Any]:
    """The spans of a request, by the package that OpenTelemetry makes of its definitions."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = json.loads(json.dumps(request))
    for resource in request["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in {"traceId", "spanId", "parentSpanId"} & span.keys():  # hex in OTLP, base64 in protobuf
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    found = ParseDict(request, ExportTraceServiceRequest())
    return [span for resource in found.resource_spans for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    state = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if state.status == 200 and self.path == "/v1/traces":
                state.requests.append(json.loads(body))
                state.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(state.status if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "kb.tsv").write_text("".join(f"Land {n}\tcapital\t{SECRET} {n}\n" for n in range(30)))
    rows = [{"question": f"The capital of Land {n}?", "topic_entities": [f"Land {n}"]} for n in range(30)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = {"task": str(tmp_path / "q.jsonl"), "kb": str(tmp_path / "kb.tsv"), "retriever": "bm25", "hops": 1}
    return {**names, "agent": "top-path", "paths": 1, "out": str(tmp_path / "run")}


def test_a_trace_as_spans(tmp_path: Path) -> None:
    trace = tooled()
    for contents in (False, True):
        request = to_request(trace_spans(trace, to_sessions(trace, tmp_path), contents=contents, ended=10**18))
        assert (SECRET in json.dumps(request)) == contents
        root, call, tool, check = decode(request)
        assert [one.name for one in (root, call, tool, check)] == [
            "invoke_agent geo", "chat openai:gpt-x", "execute_tool search", "verify",
        ]  # fmt: skip
        assert {one.parent_span_id for one in (call, tool, check)} == {root.span_id} and not root.parent_span_id
        assert len({one.trace_id for one in (root, call, tool, check)}) == 1 and len(root.trace_id) == 16
        about = {each.key: each.value for each in call.attributes}
        assert about["gen_ai.provider.name"].string_value == "openai"
        assert about["gen_ai.usage.input_tokens"].int_value == 7
        assert call.end_time_unix_nano - call.start_time_unix_nano == 2 * 10**9
        assert root.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano <= 10**18
        assert tool.status.code == 2 and root.status.code == 0


def test_a_run_is_sent_once_and_without_contents(
    task: dict[str, Any], collector: tuple[Collector, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In parts, over two calls; what an earlier call has sent is not sent again."""
    state, url = collector
    for limit in (10, 30):
        generate(GenerateConfig(**task, otlp=url, limit=limit))
    traces = list(read_traces(Path(task["out"])))
    roots = [span for span in state.spans if span.name.startswith("invoke_agent")]
    assert len(traces) == len(roots) == len({span.trace_id for span in roots}) == 30
    assert SECRET not in state.texts and "capital" not in state.texts and "Land" not in state.texts
    told = capsys.readouterr().err
    assert f"spans: 10 traces to {url}, without contents" in told and f"spans: 20 traces to {url}" in told
    generate(GenerateConfig(**task, otlp=url, otlp_content=True))
    assert "spans: 0 traces" in capsys.readouterr().err and len(state.spans) >= 30


def test_a_collector_that_is_down_costs_a_line_and_gets_the_rest_later(
    task: dict[str, Any], collector: tuple[Collector, str], capsys: pytest.CaptureFixture[str]
) -> None:
    state, url = collector
    state.status = 503
    assert generate(GenerateConfig(**task, otlp=url))["traces"] == 30
    told = capsys.readouterr().err
    assert f"spans: {url} cannot be written (HTTP 503" in told and "the same command sends the rest later" in told
    state.status = 200
    generate(GenerateConfig(**task, otlp=url, otlp_content=True))
    assert "spans: 30 traces" in capsys.readouterr().err and SECRET in state.texts
    generate(GenerateConfig(**{**task, "out": task["out"] + "2"}, otlp="http://127.0.0.1:9"))
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_of_spans(task: dict[str, Any], tmp_path: Path) -> None:
    """One trace per line; a file that is gone is written again."""
    file = tmp_path / "logs" / "spans.jsonl"
    generate(GenerateConfig(**task, otlp=str(file), limit=4))
    generate(GenerateConfig(**task, otlp=str(file), limit=6))
    assert len(file.read_text().splitlines()) == 6
    assert json.loads((Path(task["out"]) / SENT).read_text()) == {str(file): 6}
    file.unlink()
    generate(GenerateConfig(**task, otlp=str(file), limit=6))
    assert len(file.read_text().splitlines()) == 6


def test_while_a_run_goes_on(tmp_path: Path, collector: tuple[Collector, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are sent when they are on the disk, and a line that is being written is not."""
    monkeypatch.setattr(emit, "EVERY", 0.05)
    state, url = collector
    config = GenerateConfig(otlp=url)
    with emit.emit_spans(config, tmp_path), (tmp_path / "traces-0.jsonl").open("w") as shard:
        line = tooled().model_dump_json()
        shard.write(line + "\n" + line[:40])
        shard.flush()
        until = threading.Event()
        for _ in range(200):
            if state.requests:
                break
            until.wait(0.05)
        assert len(state.requests) == 1
        shard.write(line[40:] + "\n")
    assert sum(len(request["resourceSpans"]) for request in state.requests) == 2


def test_headers_and_addresses(
    collector: tuple[Collector, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry's own variables and a login reach the collector; keys for models do not."""
    state, url = collector
    monkeypatch.setenv("AGENTKD_API_KEY", "sk-model-key-0123456789")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=me%20too,api-key=k")
    config = GenerateConfig(otlp=url.replace("http://", "http://ann:pass-word-1@"))
    assert config.otlp == url
    (tmp_path / "traces-0.jsonl").write_text(tooled().model_dump_json() + "\n")
    with emit.emit_spans(config, tmp_path):
        pass
    (headers,) = state.headers
    assert headers["x-scope"] == "me too" and headers["api-key"] == "k"
    assert headers["authorization"].startswith("Basic ") and "sk-model" not in json.dumps(headers)
    assert "api-key" not in emit.make_headers("http://collector.example", insecure=False)
    assert emit.make_headers("http://collector.example", insecure=True)["api-key"] == "k"
    with (
        pytest.raises(UserError, match="give a file, or the http or https address"),
        emit.emit_spans(GenerateConfig(otlp="grpc://127.0.0.1:4317"), tmp_path),
    ):
        pass


def test_an_evaluation_is_sent_too(task: dict[str, Any], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(task["task"]).read_text().splitlines()]
    Path(task["task"]).write_text("".join(json.dumps({**row, "answers": ["?"]}) + "\n" for row in rows[:3]))
    evaluate(EvalConfig(**task, otlp=str(tmp_path / "s.jsonl")))
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 3
