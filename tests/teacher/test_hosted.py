"""Hosted APIs: the openai package sends, within our bounds and by our rules for keys."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentkd import credentials
from agentkd.errors import WorldError
from agentkd.teacher import transport
from agentkd.teacher.hosted import HostedTransport
from agentkd.teacher.open import make_wire, open_teacher, parse_spec
from agentkd.teacher.options import TeacherOptions
from agentkd.teacher.transport import AttemptFailed
from tests.support.mock_server import MODEL, Fault, mock_server

BOMB = gzip.compress(b"\0" * 100_000_000, 1)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("AGENTKD_API_KEY", "of-others")


@pytest.mark.parametrize("status", [200, 500])
def test_a_response_has_a_size(status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault: Fault = (status, {"Content-Encoding": "gzip", "Retry-After": "0"}, BOMB)

    async def ask() -> None:
        async with open_teacher(f"openai:{MODEL}", run=tmp_path, options=TeacherOptions()) as teacher:
            await teacher.chat([], max_tokens=4)

    with mock_server(faults=[fault] * 5) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(WorldError, match="more than 16 MB"):
            asyncio.run(ask())
        asyncio.run(ask())


@contextmanager
def dripping() -> Iterator[str]:
    """A server that sends a byte now and then, for ever."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not stop.wait(0.02):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("kind", [transport.Transport, HostedTransport])
def test_a_response_has_a_time(kind: type[transport.Transport]) -> None:
    async def ask(url: str) -> None:
        wire = kind([url])
        try:
            with pytest.raises(AttemptFailed, match=r"no answer within|[Tt]imeout"):
                await wire.request(wire.addresses[0], "POST", "/chat/completions", b"{}", 0.3)
        finally:
            await wire.close()

    with dripping() as url:
        asyncio.run(ask(url))


def test_azure_is_hosted_and_has_its_own_header(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_spec("https://me.openai.azure.com/openai/deployments/d?api-version=2024-10-21#m")
    assert isinstance(make_wire(spec, TeacherOptions()), HostedTransport)
    monkeypatch.setattr(credentials, "is_azure", lambda host: True)

    async def ask(url: str) -> None:
        wire = HostedTransport([url])
        await wire.request(wire.addresses[0], "POST", "/chat/completions", b"{}", 5.0)
        await wire.close()

    with mock_server() as server:
        asyncio.run(ask(f"{server.url}/openai/deployments/d?api-version=2024-10-21"))
        ((path, headers),) = server.headers
    assert path == "/v1/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == "of-others" and "authorization" not in {name.lower() for name in headers}


def test_servers_of_ones_own_are_not_hosted() -> None:
    for url in ("https://azure.com.evil.test/v1", "http://127.0.0.1:8000/v1", "https://api.together.xyz/v1"):
        assert not isinstance(make_wire(parse_spec(f"{url}#m"), TeacherOptions()), HostedTransport)
