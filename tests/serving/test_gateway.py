"""The gateway of `serve`: who may ask, and for what. The model server behind it is one of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentkd.serving.gateway import PATHS, REQUEST_BYTES, Gateway
from agentkd.serving.ports import take_port

JSON = {"Content-Type": "application/json"}


@contextlib.asynccontextmanager
async def gateway(tmp_path: Path, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """The root of a gateway, and the requests that reach the server behind it."""
    reached: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        reached.append(f"{request.method} {request.path_qs}")
        if request.path == "/v1/completions":
            response = web.StreamResponse(headers={"Access-Control-Allow-Origin": "*", "X-Inner": "1"})
            await response.prepare(request)
            for part in (b"one ", b"two "):
                await response.write(part)
                await asyncio.sleep(0.01)
            return response
        return web.json_response({"sent": (await request.read()).decode(), "key": request.headers.get("Authorization")})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "socket")).start()
    with take_port(host, 0) as listener:
        async with Gateway(tmp_path / "socket", host, listener, **options) as gate:
            yield gate.url.removesuffix("/v1"), reached
    await runner.cleanup()


async def ask(root: str, method: str, path: str, headers: dict[str, str], data: bytes | None = None) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{root}{path}", headers=headers, data=data) as reply,
    ):
        return reply.status, await reply.text()


def told(host: str, headers: dict[str, str], tmp_path: Path, **options: Any) -> tuple[int, str, list[str]]:
    async def run() -> tuple[int, str, list[str]]:
        async with gateway(tmp_path, host, **options) as (root, reached):
            status, text = await ask(root, "GET", "/v1/models", headers)
            return status, text, reached

    return asyncio.run(run())


ME = socket.gethostname()
FOREIGN = ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", "10.1.2.3", "[fe80::1]",
           "", "localhost:x", "localhost@evil.example", "evil.example#localhost")  # fmt: skip
OWN = ("localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8000", "localhost.")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_host_that_is_not_ours_is_refused(name: str, tmp_path: Path) -> None:
    status, text, reached = told("127.0.0.1", {"Host": name}, tmp_path)
    assert (status, reached) in ((403, []), (400, [])) and "\n" not in text.strip()
    if status == 403:
        assert "--allow-host NAME" in json.loads(text)["error"]["message"]


@pytest.mark.parametrize("name", OWN)
def test_names_of_this_machine_are_ours(name: str, tmp_path: Path) -> None:
    assert told("127.0.0.1", {"Host": name}, tmp_path)[0] == 200


@pytest.mark.parametrize("name", ["192.168.1.5:8000", "[fe80::1]", ME, f"{ME}.local", "box"])
def test_everywhere(name: str, tmp_path: Path) -> None:
    """An address cannot be let resolve to us, so with 0.0.0.0 every address is ours; a name must be given."""
    assert told("0.0.0.0", {"Host": name}, tmp_path, names=["Box"])[0] == 200
    (tmp_path / "socket").unlink(missing_ok=True)
    assert told("0.0.0.0", {"Host": "evil.example"}, tmp_path, names=["Box"])[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_page_is_refused_whatever_it_sends(headers: dict[str, str], tmp_path: Path) -> None:
    async def run() -> None:
        async with gateway(tmp_path) as (root, reached):
            for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
                status, text = await ask(root, "POST", "/v1/completions", {**headers, "Content-Type": kind}, b"{}")
                assert status == 403 and "may not ask" in text
            assert not reached

    asyncio.run(run())


def test_what_is_passed_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with gateway(tmp_path) as (root, reached):
            key = {**JSON, "Authorization": "Bearer k"}
            status, text = await ask(root, "POST", "/v1/chat/completions", key, b'{"a": 1}')
            assert status == 200 and json.loads(text) == {"sent": '{"a": 1}', "key": "Bearer k"}
            own = {**JSON, "Origin": root}
            assert await ask(root, "POST", "/v1/completions", own, b"{}") == (200, "one two ")
            assert (await ask(root, "HEAD", "/health", {}))[0] == 200
            assert reached == ["POST /v1/chat/completions", "POST /v1/completions", "HEAD /health"]
            async with aiohttp.ClientSession() as session, session.post(f"{root}/v1/completions") as reply:
                assert not [name for name in reply.headers if name.startswith(("Access-Control", "X-Inner"))]

    asyncio.run(run())


def test_what_is_not(tmp_path: Path) -> None:
    """Management endpoints of llama.cpp and vLLM, other methods, paths that mean another one."""
    paths = ("/slots", "/slots/0?action=save", "/props", "/metrics", "/lora-adapters", "/models/load", "/completion",
             "/infill", "/load", "/pause", "/sleep", "/reset_prefix_cache", "/v1/load_lora_adapter", "/", "//v1/models",
             "/v1/models/", "/v1/%2e%2e/slots", "/v1/models%2f..%2f..%2fslots", "/v1/models%3f")  # fmt: skip

    async def run() -> None:
        async with gateway(tmp_path) as (root, reached):
            for path in paths:
                for method in ("GET", "POST"):
                    status, text = await ask(root, method, path, JSON)
                    assert status == 404 and "is not served" in text, path
            for path, method in PATHS.items():
                other = "POST" if method == "GET" else "GET"
                assert (await ask(root, other, path, {}))[0] == 404
                assert (await ask(root, "OPTIONS", path, {}))[0] == 404
            assert not reached
            status, _ = await ask(root, "POST", "/v1/completions", JSON, bytes(REQUEST_BYTES + 1))
            assert status == 413 and not reached

    asyncio.run(run())


def test_a_server_that_is_gone_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        with take_port("127.0.0.1", 0) as listener:
            async with Gateway(tmp_path / "nothing", "127.0.0.1", listener) as gate:
                status, text = await ask(gate.url.removesuffix("/v1"), "GET", "/v1/models", {})
                assert status == 502 and "does not answer" in text

    asyncio.run(run())


def test_a_client_that_leaves_ends_its_request(tmp_path: Path) -> None:
    """Otherwise the model would write on for nobody."""
    left = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"token ")
                await asyncio.sleep(0.01)
        finally:
            left.set()

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", slow)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "socket")).start()
        with take_port("127.0.0.1", 0) as listener:
            async with Gateway(tmp_path / "socket", "127.0.0.1", listener) as gate:
                async with aiohttp.ClientSession() as session, session.post(f"{gate.url}/completions") as reply:
                    assert await reply.content.readany()
                await asyncio.wait_for(left.wait(), 30)
        await runner.cleanup()

    asyncio.run(run())
