"""Keys and passwords: which host they go to, and that nothing prints or keeps them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkd import credentials
from agentkd.config import EvalConfig, GenerateConfig, default_teacher
from agentkd.credentials import find_access, mask_secrets, take_secrets
from agentkd.errors import UserError
from agentkd.teacher import transport
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from tests.support.commands import call
from tests.support.mock_server import MODEL, mock_server

OPENAI_KEY, OTHER_KEY, NAMED_KEY = "sk-openai-0123456789", "key-others-0123456789", "key-together-0123456789"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The three keys in the environment, one with the line end of a secret file."""
    monkeypatch.setattr(credentials, "_logins", {})
    monkeypatch.setattr(credentials, "_queries", {})
    monkeypatch.setattr(credentials, "_secrets", set())
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", f"{OPENAI_KEY}\r\n")
    monkeypatch.setenv("AGENTKD_API_KEY", f" {OTHER_KEY}\n")
    monkeypatch.setenv("AGENTKD_API_KEY_API_TOGETHER_XYZ", NAMED_KEY)
    yield


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.openai.com/v1", OPENAI_KEY),
        ("https://API.OpenAI.com/v1", OPENAI_KEY),
        ("https://api.openai.com.evil.test/v1", OTHER_KEY),
        ("https://evil.test/api.openai.com/v1", OTHER_KEY),
        ("https://api.openai.com@evil.test/v1", None),
        ("http://api.openai.com/v1", None),
        ("https://api.together.xyz/v1", NAMED_KEY),
        ("https://server.test/v1", OTHER_KEY),
        ("http://server.test/v1", None),
        ("http://10.0.0.7:8000/v1", None),
        ("http://127.0.0.1:8000/v1", OTHER_KEY),
        ("http://[::1]:8000/v1", OTHER_KEY),
        ("http://localhost:8000/v1", OTHER_KEY),
        ("http://localhost.test:8000/v1", None),
    ],
)
def test_a_key_goes_to_its_own_host_and_not_in_the_open(url: str, key: str | None) -> None:
    access = find_access(take_secrets(url))
    sent = access.headers.get("Authorization", "").removeprefix("Bearer ")
    assert sent == (key or sent) and (key is not None) == (sent in (OPENAI_KEY, OTHER_KEY, NAMED_KEY))
    if key is None and "@" not in url:
        assert access.note and "--insecure" in access.note and find_access(url, insecure=True).headers


def test_openai_base_url_gets_the_openai_key_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.test/v1")
    assert find_access("https://gateway.test/v1").headers == {"Authorization": f"Bearer {OPENAI_KEY}"}
    assert find_access("https://other.test/v1").headers == {"Authorization": f"Bearer {OTHER_KEY}"}


def test_it_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTKD_API_KEY")
    access = find_access("https://server.test/v1")
    assert not access.headers and access.variable == "AGENTKD_API_KEY"
    assert "OPENAI_API_KEY is not sent to https://server.test" in access.note
    assert "set AGENTKD_API_KEY or AGENTKD_API_KEY_SERVER_TEST" in access.note
    monkeypatch.delenv("OPENAI_API_KEY")
    assert not find_access("https://server.test/v1").note


def test_a_key_of_two_lines_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_API_KEY", "two\nlines")
    with pytest.raises(UserError, match="AGENTKD_API_KEY has a blank or a line break within") as caught:
        find_access("https://server.test/v1")
    assert "two" not in str(caught.value)


def test_azure_has_a_header_of_its_own() -> None:
    assert find_access("https://me.openai.azure.com/openai/v1").headers == {"api-key": OTHER_KEY}
    gateway = find_access("https://gateway.test/openai/deployments/d?api-version=2024-10-21")
    assert gateway.headers == {"api-key": OTHER_KEY, "Authorization": f"Bearer {OTHER_KEY}"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://u:pass-word@h/v1#m", "http://h/v1#m"),
        ("https://u:pass-word@h:8000/v1,https://pass-word@i/v1#m@x", "https://h:8000/v1,https://i/v1#m@x"),
        ("http://a:1,http://u:pass-word@b/v1#m", "http://a:1,http://b/v1#m"),
        ("http://u:pass-word,@h/v1#m", "http://h/v1#m"),
        ("https://h/v1?api-version=1&api_key=pass-word#m", "https://h/v1?api-version=1#m"),
        ("https://h/v1?token=pass-word#m,https://i#n", "https://h/v1#m,https://i#n"),
        ("kd-cot/https://u:pass-word@[::1]:80/v1#m", "kd-cot/https://[::1]:80/v1#m"),
        ("https://h/v1#@cf/meta/m", "https://h/v1#@cf/meta/m"),
        ("local, vllm:a/b@main", "local, vllm:a/b@main"),
    ],
)
def test_addresses_lose_their_secrets(text: str, clean: str) -> None:
    assert take_secrets(text) == clean == take_secrets(clean)
    if clean != text:
        assert "pass-word" not in mask_secrets("it was pass-word,")


@pytest.mark.parametrize("url", ["http://u:pass/word@h/v1#m", "http://u:pass#word@h/v1#m", "http://u:pass?word@h/v1#m"])
def test_a_password_that_is_not_encoded_is_not_shown(url: str) -> None:
    with pytest.raises(UserError, match="%2F") as caught:
        GenerateConfig(teacher=url)
    assert "pass" not in str(caught.value).replace("password", "")


def test_configs_hold_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_TEACHER", "https://u:pass-word@h/v1#m")
    url = "https://u:pass-word@h/v1#m"
    config = EvalConfig(teacher=url, model=url, baseline=f"kd-cot/{url}", kb="https://u:pass-word@h/sparql")
    assert "pass-word" not in config.model_dump_json() + default_teacher()


def test_basic_auth_and_the_query_reach_the_server(tmp_path: Path) -> None:
    """The wire form of a login, a key in the query, and Azure's version; said is none of them."""
    said: list[str] = []

    async def ask(spec: str) -> None:
        async with open_teacher(spec, run=tmp_path, options=TeacherOptions(), say=said.append) as teacher:
            await teacher.chat([], max_tokens=4)

    with mock_server() as server:
        where = server.url.replace("http://", "http://me:p%40ss-word@")
        asyncio.run(ask(f"{where}?api-version=2024-10-21&api_key=query-secret#{MODEL}"))
        for path, headers in server.headers:
            login = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
            assert login == "me:p@ss-word" and path.endswith("?api-version=2024-10-21&api_key=query-secret")
        assert [path.partition("?")[0] for path, _ in server.headers] == ["/v1/models", "/v1/chat/completions"]
    assert "word" not in " ".join(said) and "secret" not in " ".join(said)


@pytest.mark.parametrize("command", ["generate", "eval"])
def test_no_secret_is_printed_or_kept(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of a server that repeats what it was sent, in errors and in answers."""
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    basic = base64.b64encode(b"me:p@ss-word").decode()
    repeated = json.dumps({"error": {"message": f"wrong: {basic} p@ss-word p%40ss-word query-secret-0123456789"}})
    choices = [{"message": {"content": f"{basic} query-secret-0123456789"}, "finish_reason": "stop"}]
    faults: list[Any] = [(503, {"Retry-After": "0"}, repeated.encode())] * 12
    with mock_server(faults=[{"choices": choices}, *faults]) as server:
        where = server.url.replace("http://", "http://me:p%40ss-word@")
        spec = f"{where}?api_key=query-secret-0123456789#{MODEL}"
        argv = [command, "--task", "geo", "--limit", "3", "--agent", "cot", "--teacher", spec, "--concurrency", "1"]
        for _ in range(2):
            code, out, err = call([*argv, "--retriever", "bm25", "--out", str(tmp_path / "run")], monkeypatch, capsys)
            kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
            for secret in (basic, "p@ss-word", "p%40ss-word", "query-secret"):
                assert secret not in out + err + kept, secret
        assert code == 0 and "wrong: *** *** *** ***" in kept
