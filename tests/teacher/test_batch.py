"""Offline batches: a fake worker answers the files, pass by pass, until the run is that of a direct one."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import EvalConfig, GenerateConfig
from agentkd.errors import UserError, WorldError
from agentkd.eval.kbqa import evaluate
from agentkd.generate import generate
from agentkd.runs.read import is_complete, read_lines, read_traces
from agentkd.teacher import batch as module
from agentkd.teacher.batch_api import read_note
from agentkd.teacher.budget import BudgetLimit
from agentkd.teacher.cache import Cache
from tests.support.mock_server import MODEL, answer, mock_server

QUESTIONS = 6
NOBODY = f"http://127.0.0.1:9/v1#{MODEL}"
Response = dict[str, Any]


@pytest.fixture
def prices(tmp_path: Path) -> str:
    file = tmp_path / "prices.yaml"
    file.write_text(f"models: {{{MODEL}: {{prompt: 1000, completion: 1000}}}}")
    return str(file)


def run(out: Path, **options: Any) -> dict[str, Any]:
    values = {"task": "geo", "limit": QUESTIONS, "retriever": "bm25", "teacher": NOBODY, "out": str(out)}
    return generate(GenerateConfig.model_validate({**values, **options}))


def complete(body: dict[str, Any]) -> Response:
    message = {"role": "assistant", "content": answer(body)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"status_code": 200, "body": {"object": "chat.completion", "choices": choices, "usage": usage}}


def asked(folder: Path) -> list[dict[str, Any]]:
    """All requests that were ever written."""
    files = sorted(folder.glob("requests-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def work(text: str, respond: Callable[[dict[str, Any]], Response] = complete) -> str:
    """The output of a batch."""
    rows = []
    for number, line in enumerate(text.splitlines()):
        request = json.loads(line)
        assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
        head = {"id": f"batch_req_{number}", "custom_id": request["custom_id"]}
        rows.append(json.dumps({**head, "response": respond(request["body"]), "error": None}))
    return "\n".join(rows) + "\n"


def work_all(folder: Path, respond: Callable[[dict[str, Any]], Response] = complete) -> None:
    for file in folder.glob("requests-*.jsonl"):
        output = folder / file.name.replace("requests", "output")
        if not output.exists():
            output.write_text(work(file.read_text(), respond))


def test_pass_by_pass_it_becomes_the_direct_run_at_half_the_price(tmp_path: Path, prices: str) -> None:
    with mock_server() as server:
        direct = run(tmp_path / "direct", teacher=server.spec, prices=prices)
    folder, out, passes = tmp_path / "batch", tmp_path / "run", 0
    while passes < 9:
        try:
            result = run(out, batch=str(folder), prices=prices)
            break
        except WorldError as error:
            passes += 1
            files = len(list(folder.glob("requests-*.jsonl")))
            assert re.search(
                rf"^\d+ requests wait for their answers \(requests-00{files}.jsonl in {folder}\)", str(error)
            )
            assert not is_complete(out) and not (out / "failures-0.jsonl").exists()
        work_all(folder)
    assert passes == 3, "plan, read, finish"
    assert result["traces"] == QUESTIONS and is_complete(out)
    traces = [{trace.id: trace.hash for trace in read_traces(tmp_path / name)} for name in ("direct", "run")]
    assert traces[0] == traces[1]
    assert result["usd"] == pytest.approx(direct["usd"] / 2) and result["usd"] > 0
    keys = Counter(row["custom_id"] for row in asked(folder))
    assert set(keys.values()) == {1} and len(keys) == len(server.requests)
    bodies = [row["body"] for row in asked(folder)]
    assert sorted(map(json.dumps, bodies)) == sorted(map(json.dumps, server.requests))


def test_what_has_not_come_back_is_not_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    for limit in (4, 4, QUESTIONS):
        with pytest.raises(WorldError, match="requests wait"):
            run(tmp_path / "run", batch=str(folder), limit=limit)
    assert sorted(file.name for file in folder.iterdir()) == ["requests-001.jsonl", "requests-002.jsonl"]
    assert len({row["custom_id"] for row in asked(folder)}) == len(asked(folder)) == QUESTIONS


def test_what_may_pass_is_asked_again_and_a_refusal_is_not(tmp_path: Path) -> None:
    folder, out = tmp_path / "batch", tmp_path / "run"
    answers = iter(
        [
            {"status_code": 400, "body": {"error": {"message": "too long"}}},
            {"status_code": 429, "body": {"error": {"message": "slow down"}}},
            {"status_code": 200, "body": {"choices": []}},
            None,  # expired: the API gives no response, and an error
        ]
    )
    with pytest.raises(WorldError, match="6 requests wait"):
        run(out, batch=str(folder))
    work_all(folder, lambda body: next(answers, None) or complete(body))
    output = folder / "output-001.jsonl"
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    rows[3] |= {"response": None, "error": {"code": "batch_expired", "message": "not in time"}}
    output.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "the-same-again.jsonl").write_text(output.read_text())
    with pytest.raises(WorldError, match=r"5 requests wait .*requests-002.jsonl"):
        run(out, batch=str(folder))
    again = {row["custom_id"] for row in rows[1:4]}
    written = Counter(row["custom_id"] for row in asked(folder))
    assert {key for key, count in written.items() if count == 2} == again and max(written.values()) == 2
    (failure,) = read_lines(out, "failures")
    assert failure["retry"] is False and "the batch refused the request (400)" in failure["error"]
    with pytest.raises(WorldError, match=r"5 requests wait"):
        run(out, batch=str(folder))
    assert not (folder / "requests-003.jsonl").exists(), "what was asked again has not come back yet"
    for _ in range(4):
        work_all(folder)
        try:
            result = run(out, batch=str(folder))
            break
        except WorldError:
            continue
    assert result["traces"] == QUESTIONS - 1 and result["failures"] == 1


@pytest.mark.parametrize("line", ['{"custom_id": "1"', '{"custom_id": "1", "body": {}}', "[]"])
def test_what_is_no_output_is_named(line: str, tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    folder.mkdir()
    (folder / "out.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(UserError, match=r"out.jsonl:2 is"):
        run(tmp_path / "run", batch=str(folder))


def test_a_limit_counts_what_is_written_and_what_waits(tmp_path: Path, prices: str) -> None:
    """Each request may cost about a dollar at full price, more than half of it for the prompt."""
    folder, out = tmp_path / "batch", tmp_path / "run"
    with pytest.raises(BudgetLimit, match=r"--max-usd is 2"):
        run(out, batch=str(folder), prices=prices, max_usd=2)
    written = len(asked(folder))
    assert 0 < written < QUESTIONS
    with pytest.raises(BudgetLimit):
        run(out, batch=str(folder), prices=prices, max_usd=2)
    assert len(asked(folder)) == written, "those that wait may still be paid for"
    work_all(folder)
    with pytest.raises(WorldError):
        run(out, batch=str(folder), prices=prices, max_usd=2)
    assert len(asked(folder)) > written, "they cost less than they might have"
    assert Cache(out / "cache").usd == pytest.approx(written * 10 * 1000 / 1e6 / 2)


def test_a_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES", 4)
    with pytest.raises(WorldError, match=r"6 requests wait .*\(requests-001.jsonl, requests-002.jsonl in"):
        run(tmp_path / "run", batch=str(tmp_path / "batch"))
    assert [len(file.read_text().splitlines()) for file in sorted((tmp_path / "batch").iterdir())] == [4, 2]


def test_who_has_no_batches(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not 'local'"):
        run(tmp_path / "run", batch=str(tmp_path / "batch"), teacher="local")
    with pytest.raises(UserError, match="is for generate"):
        evaluate(EvalConfig(batch="somewhere", agent="kd-cot"))


class FakeApi(ThreadingHTTPServer):
    """The Files and Batches API. A batch is over at the second look; `fail` makes the next one fail as a whole."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.fail = False
        self.redirect = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class FakeHandler(BaseHTTPRequestHandler):
    server: FakeApi

    def do_POST(self) -> None:
        assert self.headers["Authorization"] == "Bearer secret"
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.server.redirect:
            self.send_response(self.server.redirect)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/v1/other")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        server = self.server
        if self.path == "/v1/files":
            boundary = "--" + self.headers["Content-Type"].partition("boundary=")[2]
            parts = [part.partition("\r\n\r\n") for part in body.split(boundary)]
            contents = {head.partition('name="')[2].partition('"')[0]: text[:-2] for head, _, text in parts}
            assert contents["purpose"] == "batch"
            server.files[name := f"file-{len(server.files)}"] = contents["file"]
            self.send({"id": name})
            return
        order = json.loads(body)
        assert (order["endpoint"], order["completion_window"]) == ("/v1/chat/completions", "24h")
        batch = {"id": f"batch_{len(server.batches)}", "status": "in_progress", **order}
        server.batches[batch["id"]] = batch
        self.send(batch)

    def do_GET(self) -> None:
        server = self.server
        if self.path.endswith("/content"):
            self.send_text(server.files[self.path.split("/")[-2]])
            return
        batch = server.batches[self.path.split("/")[-1]]
        if batch.get("looked") and server.fail:
            batch |= {"status": "failed", "errors": {"data": [{"message": "quota exceeded"}]}}
        elif batch.get("looked"):
            server.files[name := f"out-{batch['id']}"] = work(server.files[batch["input_file_id"]])
            batch |= {"status": "completed", "output_file_id": name}
        batch["looked"] = True
        self.send(batch)

    def send(self, content: Any) -> None:
        self.send_text(json.dumps(content))

    def send_text(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    server = FakeApi()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    yield server
    server.shutdown()
    server.server_close()


def test_openai_does_it_by_itself(api: FakeApi, tmp_path: Path) -> None:
    folder, out = tmp_path / "batch", tmp_path / "run"
    result = None
    for _ in range(12):
        try:
            result = run(out, batch=str(folder), teacher="openai:gpt-4o-mini")
            break
        except WorldError as error:
            assert "they are submitted, then run the same command again" in str(error)
    assert result is not None and result["traces"] == QUESTIONS
    assert len(api.batches) == 3 and result["usd"] > 0
    assert result["usd"] == pytest.approx(len(asked(folder)) * (7 * 0.15 + 3 * 0.60) / 1e6 / 2)


def test_a_batch_that_fails_as_a_whole_is_said(api: FakeApi, tmp_path: Path) -> None:
    folder, options = tmp_path / "batch", {"batch": str(tmp_path / "batch"), "teacher": "openai:gpt-4o-mini"}
    api.fail = True
    for _ in range(2):
        with pytest.raises(WorldError, match="they are submitted"):
            run(tmp_path / "run", **options)
    with pytest.raises(UserError, match=r"requests-001.jsonl failed: quota exceeded; remove"):
        run(tmp_path / "run", **options)
    api.fail = False
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(WorldError, match="they are submitted"):
        run(tmp_path / "run", **options)
    assert len(api.batches) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_questions_go_to_no_other_host(status: int, api: FakeApi, tmp_path: Path) -> None:
    api.redirect = status
    with pytest.raises(WorldError, match=f"answers {status} to /v1/files"):
        run(tmp_path / "run", batch=str(tmp_path / "batch"), teacher="openai:gpt-4o-mini")
    assert not list((tmp_path / "batch").glob("*.batch.json")), "it does not count as submitted"


def test_without_a_key_openai_is_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(WorldError, match="submit each file as a batch and put its output into"):
        run(tmp_path / "run", batch=str(tmp_path / "batch"), teacher="openai:gpt-4o-mini")


@pytest.mark.parametrize(
    "content", [b"", b"[", b"[" * 100_000, b"null", b'{"id": 5, "fetched": false}', b'{"id": "b"}']
)
def test_a_damaged_note_is_one_line(content: bytes, tmp_path: Path) -> None:
    (note := tmp_path / "requests-001.batch.json").write_bytes(content)
    with pytest.raises(UserError, match=r"requests-001.batch.json is damaged: restore it, or remove it"):
        read_note(note)
