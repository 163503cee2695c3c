"""Ctrl-C ends a command within 30 s while it reads what does not end: a reply that drips, results of code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentkd.runs.watchdog import LIMIT_SECONDS
from tests.support.little_competition import make
from tests.support.processes import descendants, gone, processes_in
from tests.support.warm import KAGGLE, KBQA, warm

pytestmark = pytest.mark.whole
AMPLE = 5.0  # seconds more, on a busy machine
SLOW = """
from agentkd.agents.agent_k.stages import candidates
from pathlib import Path
from agentkd.cli.main import main
def take_predictions(*_):
    Path({mark!r}).touch()
    {read}
candidates.take_predictions = take_predictions
main()
"""


class Dripping(BaseHTTPRequestHandler):
    """Says what it serves; of any reply it sends a byte every 0.1 s, for ever."""

    def do_GET(self) -> None:
        self._send(b'{"object": "list", "data": [{"id": "m", "object": "model"}]}')

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        (self.server.mark).touch()  # type: ignore[attr-defined]
        try:
            while True:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def dripping(mark: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    server.daemon_threads = True
    server.mark = mark  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1#m"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def stopped_in_time(modules: tuple[str, ...], argv: list[str], mark: Path, home: Path) -> tuple[int, str]:
    """Start a command, send ctrl-C once `mark` is there, and return its exit status and stderr; nothing is left."""
    (temporary := home / "tmp").mkdir()
    env = os.environ | {"TMPDIR": str(temporary), "AGENTKD_HOME": str(home / "cache")}
    with warm(*modules).popen([sys.executable, *argv], env=env, cwd=home, solvers="kaggle" in argv) as process:
        deadline = time.monotonic() + 300
        while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert mark.exists(), process.communicate()
        pids = [process.pid, *descendants(process.pid)]
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert time.monotonic() - start < LIMIT_SECONDS + AMPLE
    assert gone(pids, seconds=30) and not processes_in(home) and not list(temporary.iterdir())
    assert process.returncode is not None
    return process.returncode, error


def test_a_reply_that_drips(tmp_path: Path) -> None:
    with dripping(tmp_path / "mark") as teacher:
        options = ["--teacher", teacher, "--retriever", "bm25", "--limit", "3", "--out", str(tmp_path / "run")]
        argv = ["-m", "agentkd", "generate", "--task", "geo", *options]
        code, error = stopped_in_time(KBQA, argv, tmp_path / "mark", tmp_path)
    assert code == 128 + signal.SIGINT and "Traceback" not in error, error


@pytest.mark.parametrize(
    ("read", "codes"),
    [("import time; time.sleep(600)", (130,)), ("sum(range(10**15))", (130, -signal.SIGKILL))],
    ids=["waits", "holds Python's lock"],
)
def test_results_that_take_for_ever_to_read(read: str, codes: tuple[int, ...], tmp_path: Path) -> None:
    pytest.importorskip("lightgbm", reason="needs the extra kaggle")
    folder, mark = make(tmp_path, rows=80), tmp_path / "mark"
    values = [
        "teacher=none",
        "candidates=3",
        "max_hours=0.3",
        "threads=1",
        "experience=off",
        "sandbox=none",
        f"out={tmp_path / 'run'}",
    ]
    argv = ["-c", SLOW.format(mark=str(mark), read=read), "kaggle", "run", str(folder), *values]
    code, error = stopped_in_time(KAGGLE, argv, mark, tmp_path)
    assert code in codes and "Traceback" not in error, error
