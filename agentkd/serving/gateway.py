"""The gateway before the model server of `agentkd serve`: who may ask, and for what.

`visitors.py` says who may. The model server itself listens on a socket in a private folder. Only the paths of the
OpenAI protocol are passed on: slots, settings and metrics of the server are nobody's business.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path

import aiohttp
from aiohttp import web

from agentkd.serving.ports import bracket_ipv6, local_address
from agentkd.serving.visitors import Visitors

PATHS = {
    "/health": "GET",
    "/v1/models": "GET",
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/responses": "POST",
    "/v1/messages": "POST",
    "/tokenize": "POST",
    "/detokenize": "POST",
}
REQUEST_BYTES = 64 * 1024 * 1024
_CONNECT_SECONDS = 30.0
_TO_SERVER = ("Content-Type", "Accept", "Authorization")
_TO_CLIENT = ("Content-Type", "Retry-After")


class Gateway:
    """An HTTP server on a socket that `take_port` made for `host`, as an async context manager.

    It passes requests on to the model server at `path`, a Unix socket. `names` are further host names of this server.
    `url` ends in /v1."""

    def __init__(self, path: Path, host: str, listener: socket.socket, names: Collection[str] = ()) -> None:
        self.url = f"http://{bracket_ipv6(local_address(host))}:{listener.getsockname()[1]}/v1"
        self._path, self.host, self._listener = path, host, listener
        self._visitors = Visitors(host, names)

    async def __aenter__(self) -> Gateway:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        connector = aiohttp.UnixConnector(path=str(self._path), limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        app = web.Application(client_max_size=REQUEST_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if why := self._visitors.why_not(request):
            return web.json_response({"error": {"message": why, "type": "forbidden"}}, status=403)
        if PATHS.get(request.path) != ("GET" if request.method == "HEAD" else request.method):
            why = f"{request.method} {request.path[:80]} is not served; these are: {', '.join(PATHS)}"
            return web.json_response({"error": {"message": why, "type": "not_found"}}, status=404)
        try:
            return await self._pass_on(request)
        except aiohttp.ClientError as error:
            why = f"the model server does not answer ({type(error).__name__}): see its log"
            return web.json_response({"error": {"message": why, "type": "server_error"}}, status=502)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _TO_SERVER if name in request.headers}
        url = f"http://localhost{request.path}"
        async with self._session.request(
            request.method, url, params=request.query, data=await request.read(), headers=headers
        ) as reply:
            found = {name: reply.headers[name] for name in _TO_CLIENT if name in reply.headers}
            response = web.StreamResponse(status=reply.status, headers=found)
            await response.prepare(request)
            async for part in reply.content.iter_any():  # a stream of tokens goes out as it comes
                await response.write(part)
            await response.write_eof()
            return response
