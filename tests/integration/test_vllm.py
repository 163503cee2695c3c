"""A real vLLM server on the packaged model: up, answers, schema, log-probabilities, gone with its holder.

`make test-vllm` builds the environment and runs this. One start (about a minute on two cores) serves all tests. The
server is held by a process of its own, because the last test kills that one.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import agentkd
from agentkd import models
from agentkd.errors import AgentkdError
from agentkd.serving.vllm import find_vllm

pytestmark = pytest.mark.vllm

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 20}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
HOLDER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from agentkd.serving.managed import ServerOptions
    from agentkd.serving.vllm import make_vllm_server

    # A model this small may fill its answer with blanks between two JSON tokens: allow none.
    compact = '{"backend": "xgrammar", "disable_any_whitespace": true}'
    ARGS = ["--max-model-len", "2048", "--structured-outputs-config", compact]

    async def hold():
        options = ServerOptions(
            Path(sys.argv[1]), timeout_seconds=600,
            on_wait=lambda seconds, line: print(f"{seconds:.0f} s: {line}", file=sys.stderr),
        )
        server = make_vllm_server("smollm2-135m", args=ARGS, options=options)
        async with server:
            print(server.url, server.pid, flush=True)
            await asyncio.sleep(3600)

    asyncio.run(hold())
""")


class Held(NamedTuple):
    url: str
    supervisor: int
    holder: "subprocess.Popen[str]"
    log: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    try:
        find_vllm()
        models.find_weights(models.PACKAGED)
    except AgentkdError as error:
        pytest.skip(str(error))
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    environment = {**os.environ, "PYTHONPATH": str(Path(agentkd.__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(log)], stdout=subprocess.PIPE, env=environment, text=True
    ) as holder:
        assert holder.stdout is not None
        words = holder.stdout.readline().split()
        assert len(words) == 2, f"vLLM did not start: {log.read_text()[-3000:]}"
        yield Held(words[0], int(words[1]), holder, log)
        holder.kill()


def post(url: str, **body: Any) -> Any:
    body = {"model": "smollm2-135m", **body}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as reply:
        return json.load(reply)


def chat(server: Held, **options: Any) -> Any:
    messages = [{"role": "system", "content": "Answer."}, {"role": "user", "content": "The capital of France?"}]
    return post(f"{server.url}/chat/completions", messages=messages, **options)


def test_answers_a_chat(server: Held) -> None:
    reply = chat(server, max_tokens=16, temperature=0)
    assert reply["choices"][0]["message"]["content"].strip()
    assert reply["model"] == "smollm2-135m" and reply["usage"]["completion_tokens"] <= 16


def test_prefixes_are_cached(server: Held) -> None:
    assert "enable_prefix_caching=True" in server.log.read_text()


def test_json_schema(server: Held) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
    reply = chat(server, max_tokens=120, temperature=0, response_format=form)
    answer = json.loads(reply["choices"][0]["message"]["content"])
    assert set(answer) == {"answer", "sure"} and isinstance(answer["sure"], bool)


def test_the_seed_decides(server: Held) -> None:
    same, again, other = (chat(server, max_tokens=24, temperature=1, seed=seed)["choices"][0] for seed in (7, 7, 8))
    assert same["message"] == again["message"] != other["message"]


def test_logprobs_of_an_answer(server: Held) -> None:
    tokens = chat(server, max_tokens=3, temperature=0, logprobs=True, top_logprobs=5)["choices"][0]["logprobs"][
        "content"
    ]
    assert all(len(token["top_logprobs"]) == 5 and token["logprob"] <= 0 for token in tokens)


def test_128_prompt_logprobs_on_token_ids(server: Held) -> None:
    """The scoring pass: the teacher's log-probabilities of given token ids, as many as we promise."""
    ids = [1, 9690, 198, 2683, 359, 253]
    reply = post(f"{server.url}/completions", prompt=ids, max_tokens=1, temperature=0, prompt_logprobs=128)
    first, *positions = reply["choices"][0]["prompt_logprobs"]
    assert first is None and len(positions) == len(ids) - 1
    for token, position in zip(ids[1:], positions, strict=True):
        assert 128 <= len(position) <= 129 and str(token) in position  # the true token comes on top of the best 128
    with pytest.raises(urllib.error.HTTPError):
        post(f"{server.url}/completions", prompt=ids, max_tokens=1, prompt_logprobs=129)


def test_a_path_student_writes_within_the_knowledge_base(server: Held, tmp_path: Path) -> None:
    """`eval --constrain kb` through structured outputs: every vote of the server is a path that the KB holds."""
    from agentkd.config import EvalConfig
    from agentkd.eval.kbqa import evaluate
    from agentkd.runs.read import read_traces

    model = f"{server.url}#smollm2-135m"
    asked = EvalConfig(task="geo", limit=6, model=model, retriever="bm25", constrain="kb", out=str(tmp_path / "run"))
    row = evaluate(asked)["rows"][0]
    assert row["in_kb"] == 100.0 and row["calls"] == 1.0
    (folder,) = (path.parent for path in (tmp_path / "run").glob("*/manifest.json"))
    for trace in read_traces(folder):
        shown = {candidate["label"] for candidate in json.loads(trace.steps[0].output)["candidates"]}
        votes = trace.steps[1].output.splitlines()
        assert len(votes) == 8 and set(votes) <= shown


def test_z_gone_after_sigkill_of_the_holder(server: Held) -> None:
    """The last test of the file: it ends the server."""

    def group() -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent, _, session = path.read_text().rsplit(")", 1)[1].split()[:4]
            except OSError:
                continue
            if state != "Z" and (int(session) in sessions or int(parent) == server.supervisor):
                found.append(int(path.parent.name))
        return found

    sessions: set[int] = set()
    sessions = {os.getsid(pid) for pid in group()}  # vLLM's own session: the server, its engine and its workers
    assert sessions and len(group()) >= 2
    server.holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 15
    while group() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not group(), f"left behind: {group()}"
