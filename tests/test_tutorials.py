"""The tutorials as a reader types them: every command in order, in an empty folder, with the packaged models.

A block `sh` is run by bash and has to succeed. A block `sh server` runs in a second terminal, from when it answers
until the end of the page.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(sh|sh server|python)\n(.*?)^```$", re.M | re.S)
START_SECONDS = 300.0


@contextmanager
def second_terminal(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A server that a block starts; it is there once it lists its models."""
    port = re.search(r"--port (\d+)", command)
    assert port, f"no port in {command}"
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            end = time.monotonic() + START_SECONDS
            while not answers(f"http://127.0.0.1:{port[1]}/v1/models"):
                assert process.poll() is None and time.monotonic() < end, (folder / "server.log").read_text()
                time.sleep(0.2)
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.whole
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_tutorial(page: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, words in (("agentkd", " -m agentkd"), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        (tools / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "AGENTKD_DATA_HOME": str(tmp_path / "home"),
    }
    here = tmp_path / "reader"
    here.mkdir()
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks and shutil.which("bash")
    with ExitStack() as terminals:
        for kind, text in blocks:
            if kind == "sh server":
                terminals.enter_context(second_terminal(text, here, environment))
                continue
            words = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [str(tools / "python"), "-c", text]
            done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
