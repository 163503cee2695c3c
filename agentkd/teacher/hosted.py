"""Hosted APIs, OpenAI's own and Azure's: the `openai` package sends, with its login, its headers and its proxies.

Retries, refusals and the reading of answers are those of every server (`transport.py`), so a teacher behaves alike
wherever it runs. Servers of one's own are asked without the package, which spends far longer on a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import openai

from agentkd.credentials import mask_keys, mask_secrets
from agentkd.teacher.address import Address
from agentkd.teacher.transport import REPLY_BYTES, AttemptFailed, CancelledInFlight, Response, Transport, root_cause

JSON: Any = {"headers": {"Content-Type": "application/json"}}
LONGEST = 3600.0  # seconds; each request has its own limit
ENCODED = ("content-encoding", "content-length", "transfer-encoding")  # headers of a body that is decoded now


class BoundedClient(httpx2.AsyncClient):
    """Reads each response within `limit` bytes, decompressed, also those that are errors.

    With `bearer` false the package's Authorization is taken off: another header, or none, takes its place."""

    def __init__(self, limit: int, *, bearer: bool, **options: Any) -> None:
        super().__init__(**options)
        self.limit, self.bearer = limit, bearer

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        if not self.bearer:
            request.headers.pop("Authorization", None)
        response = await super().send(request, stream=True, **options)
        parts, size = [], 0
        try:
            async for part in response.aiter_bytes():
                size += len(part)
                if size > self.limit:
                    raise AttemptFailed(f"the reply has more than {self.limit >> 20} MB")
                parts.append(part)
        finally:
            await response.aclose()
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in ENCODED]
        return httpx2.Response(response.status_code, headers=headers, content=b"".join(parts), request=request)


def make_client(address: Address, *, seconds: float, limit: int = REPLY_BYTES) -> openai.AsyncOpenAI:
    """Make the package's client of an address. It follows no redirect and retries nothing by itself."""
    login = address.access.headers
    client = BoundedClient(
        limit,
        bearer="Authorization" in login,
        follow_redirects=False,
        limits=openai.DEFAULT_CONNECTION_LIMITS,
    )
    return openai.AsyncOpenAI(
        api_key=login.get("Authorization", "").removeprefix("Bearer ") or "none",
        base_url=address.base,
        default_query=dict(parse_qsl(address.query)),
        default_headers={"Accept-Encoding": "gzip, deflate", **login},
        max_retries=0,
        timeout=seconds,
        http_client=client,
    )


class HostedTransport(Transport):
    """A transport whose requests the `openai` package sends."""

    def __init__(self, urls: Sequence[str], *, insecure: bool = False) -> None:
        super().__init__(urls, insecure=insecure)
        self._clients: dict[str, openai.AsyncOpenAI] = {}

    async def request(self, address: Address, method: str, path: str, data: bytes | None, seconds: float) -> Response:
        if address.url not in self._clients:
            self._clients[address.url] = make_client(address, seconds=LONGEST)
        client = self._clients[address.url]
        try:
            async with asyncio.timeout(seconds):  # the package's own is for each part of a response
                if method == "GET":
                    response = await client.get(path, cast_to=httpx2.Response)
                else:
                    response = await client.post(path, cast_to=httpx2.Response, content=data, options=JSON)
        except openai.APIStatusError as error:
            response = error.response
        except (TimeoutError, openai.APITimeoutError):
            raise AttemptFailed(f"no answer within {seconds:.0f} s") from None
        except openai.APIConnectionError as error:
            raise AttemptFailed(mask_secrets(root_cause(error)), reached=not is_unreached(error)) from None
        except asyncio.CancelledError:
            raise CancelledInFlight from None
        return Response(response.status_code, response.headers, mask_keys(response.content))

    async def close(self) -> None:
        await super().close()
        for client in self._clients.values():
            await client.close()


def is_unreached(error: BaseException) -> bool:
    """Whether no connection came about."""
    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
