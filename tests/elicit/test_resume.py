"""An elicitation that was killed equals an undisturbed one."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from agentkd.elicit.writing import FILE
from agentkd.runs.read import is_complete, read_failures, read_traces
from tests.support import mock_server as mock
from tests.support.mock_server import Server, mock_server
from tests.support.scripted_teacher import scripted_answer
from tests.support.warm import KBQA, warm


def command(server: Server, out: Path) -> list[str]:
    options = ["--teacher", server.spec, "--retriever", "bm25", "--concurrency", "4", "--out", str(out)]
    return [sys.executable, "-m", "agentkd", "elicit", "expansion", "--limit", "20", "--count", "20", *options]


@pytest.mark.parametrize("answers", [6, 34], ids=["while questions are written", "while they are answered"])
def test_a_killed_run_equals_an_undisturbed_one(answers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mock, "answer", scripted_answer)
    with mock_server(latency=0.02) as server:
        process = warm(*KBQA).popen(command(server, tmp_path / "killed"))
        assert server.wait_for(answers), "the run stalled"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not is_complete(tmp_path / "killed")
        for name in ("killed", "calm"):
            done = warm(*KBQA).run(command(server, tmp_path / name))
            assert done.returncode == 0, done.stderr
    killed, calm = (
        [
            {(trace.id, trace.sample): trace.hash for trace in read_traces(tmp_path / name)},
            {row["id"]: row["error"] for row in read_failures(tmp_path / name)},
        ]
        for name in ("killed", "calm")
    )
    assert killed == calm and all(map(len, calm))
    assert (tmp_path / "killed" / FILE).exists()
