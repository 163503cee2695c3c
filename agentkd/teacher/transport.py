"""The wire: JSON over HTTP to one or several addresses of servers that speak the OpenAI protocol.

Raw aiohttp, since the openai package spends ten times as long on a request (docs/teachers.md has the figures). What
may succeed later is tried again, on another address where there is one, with exponential pauses, full jitter (Brooker,
"Exponential Backoff and Jitter", AWS Architecture Blog, 2015) and the server's Retry-After.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from agentkd.errors import PutOff, UserError, WorldError

RETRIES = 4
FIRST_PAUSE = 0.5  # seconds at most, doubled at each retry
LONGEST_WAIT = 300.0  # seconds; a server that asks for more is left alone
CONNECT_TIMEOUT = 30.0  # seconds
PING_TIMEOUT = 10.0  # seconds for the first contact with a server that ought to be up
FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds that an address is spared after it failed, doubled each time
LOOPBACK = ("localhost", "127.0.0.1", "::1")

T = TypeVar("T")


class Fault(Exception):
    """An attempt that failed and may succeed later; `wait` is what the server asks for, in seconds."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Refused(WorldError):
    """The server calls the request wrong: it is not worth sending again as it is."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, retry=False)
        self.status = status


class Cut(asyncio.CancelledError):
    """Cancelled after the request had been sent: the server may bill what nobody reads."""


class Body(aiohttp.BytesPayload):
    """A request's body, which knows whether it was written: not before a connection stands. (aiohttp's tracing tells it
    too, and makes a request a tenth slower.)"""

    sent = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.sent = True
        await super().write_with_length(writer, content_length)


class Address:
    """One server: what is in flight there, and whether it is spared after a failure."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.proxy, login = proxy_for(self.url)
        secure = self.url.startswith("https:")  # then the proxy is asked for a tunnel, else it reads the request itself
        self.headers = None if secure else login
        self.proxy_headers = login if secure else None
        self.flying = self.sent = self.failures = 0
        self.rest_until = 0.0
        self.probed = False

    def ready(self, now: float) -> bool:
        """It is well, or its rest is over and nobody is trying yet whether it is well again."""
        return not self.failures or (now >= self.rest_until and not self.probed)

    def failed(self, wait: float) -> None:
        """Rest, longer each time. Requests that fail together count once."""
        now = time.monotonic()
        self.probed = False
        if now >= self.rest_until:
            rest = min(FIRST_REST * 2**self.failures, LONGEST_REST) * random.uniform(0.5, 1.5)
            self.rest_until = now + max(rest, wait)
            self.failures += 1

    def well(self) -> None:
        self.failures, self.rest_until, self.probed = 0, 0.0, False


class Transport:
    """Posts to the address with the least in flight among those that are well."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.addresses = [Address(url) for url in urls]
        self.name = ", ".join(address.url for address in self.addresses)
        self._key = os.environ.get("OPENAI_API_KEY") or "none"
        self._open: aiohttp.ClientSession | None = None
        self._stopped = asyncio.Event()
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    def admit(self, key: str) -> None:
        """Raises PutOff for a request that will not be sent, before anything is reserved for it."""
        if self._stopped.is_set():
            raise PutOff("not sent: the run is stopping")

    async def post(self, path: str, data: bytes, *, key: str, seconds: float, read: Callable[[Any], T]) -> T:
        """Send JSON to `path` and read the answer's with `read`, which raises ValueError, KeyError, TypeError,
        AttributeError or IndexError for what is no answer. `seconds` is how long one attempt may take; `key` names the
        request (unused here, batch files need it). Raises WorldError (with `retry`), Refused, PutOff after `stop`, Cut
        in place of the CancelledError of a task whose request is on its way."""
        pause, sent = FIRST_PAUSE, 0
        tried: set[Address] = set()
        for retry in range(RETRIES + 1):
            while True:
                self.admit(key)
                address = self._pick(tried)
                tried.add(address)
                sent += 1
                try:
                    return await self._attempt(address, path, data, seconds, read)
                except Fault as fault:
                    last = fault
                if not self._another(tried):
                    break
            if last.wait > LONGEST_WAIT:
                raise WorldError(f"{self.name} asks to wait {last.wait:.0f} s ({last}): run the same command then")
            if retry < RETRIES:
                await self._sleep(last.wait + random.uniform(0, pause))
                pause *= 2
                tried.clear()
        raise WorldError(f"{self.name} failed {sent} times, last: {last}; is the server still up?")

    def _pick(self, tried: set[Address]) -> Address:
        if len(self.addresses) == 1:
            return self.addresses[0]
        now = time.monotonic()
        ready = [address for address in self.addresses if address.ready(now)]
        fresh = [address for address in ready if address not in tried]
        # if all rest, the one whose rest ends first: the request has waited long enough by its own pauses
        pool = fresh or ready or [min(self.addresses, key=lambda address: address.rest_until)]
        chosen = min(pool, key=lambda address: (address.flying, address.sent))
        chosen.probed = chosen.failures > 0
        return chosen

    def _another(self, tried: set[Address]) -> bool:
        now = time.monotonic()
        return any(address.ready(now) for address in self.addresses if address not in tried)

    async def _attempt(self, address: Address, path: str, data: bytes, seconds: float, read: Callable[[Any], T]) -> T:
        address.flying += 1
        address.sent += 1
        body = Body(data)
        try:
            status, headers, raw = await self._request(address, "POST", path, body, seconds)
            if 300 <= status < 500 and status not in (408, 409, 429):
                address.well()
                raise Refused(f"{address.url} refused the request ({status}): {complaint(raw)}", status)
            if status >= 300:
                raise Fault(f"{status}: {complaint(raw)}", retry_after(headers.get("Retry-After", "")))
            try:
                answer = read(json.loads(raw))
            except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                raise Fault(f"the answer is no completion: {complaint(raw)}") from None
        except Fault as fault:
            address.failed(fault.wait)
            raise
        except asyncio.CancelledError:
            if body.sent:
                raise Cut from None
            raise
        finally:
            address.flying -= 1
            address.probed = False
        address.well()
        return answer

    async def _request(
        self, address: Address, method: str, path: str, body: Body | None, seconds: float
    ) -> tuple[int, Any, bytes]:
        """Status, headers and body. Raises Fault for what did not come, or not whole."""
        timeout = self._timeouts.get(seconds)
        if timeout is None:
            timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_TIMEOUT))
            self._timeouts[seconds] = timeout
        try:
            async with self._session().request(
                method,
                address.url + path,
                data=body,
                timeout=timeout,
                proxy=address.proxy,
                headers=address.headers,
                proxy_headers=address.proxy_headers,
                allow_redirects=False,  # a POST that is redirected would become a GET
            ) as response:
                return response.status, response.headers, await response.read()
        except aiohttp.InvalidURL:
            raise UserError(f"{address.url} is no address: write http://HOST:PORT/v1") from None
        except TimeoutError as error:
            raise Fault(str(error) or f"no answer within {seconds:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Fault(reason(error)) from None

    def _session(self) -> aiohttp.ClientSession:
        """One for all, made inside the running loop. How many connections there are is the caller's concurrency."""
        if self._open is None:
            self._open = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
                headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._open

    async def check(self, model: str) -> list[str]:
        """First contact: some address answers and serves the model. Returns what the others complain of, raises their
        complaint where none answers; one that answers, but refuses the key or serves other models, is an error."""
        found = await asyncio.gather(*(self._ping(address, model) for address in self.addresses))
        complaints = [error for error in found if error is not None]
        if len(complaints) == len(self.addresses):
            raise complaints[0]
        return [str(error) for error in complaints]

    async def _ping(self, address: Address, model: str) -> WorldError | None:
        try:
            status, _, raw = await self._request(address, "GET", "/models", None, PING_TIMEOUT)
        except Fault as fault:
            address.failed(0.0)
            return WorldError(f"no server at {address.url} ({fault}): start it, or use --teacher local or vllm:MODEL")
        if status == 401:
            raise UserError(f"{address.url} refuses the key: set OPENAI_API_KEY")
        try:
            served = [str(entry["id"]) for entry in json.loads(raw)["data"]] if status == 200 else None
        except (ValueError, KeyError, TypeError):
            served = None
        if served is None:
            return WorldError(f"{address.url} answers {status} to /models: is it an OpenAI-compatible server "
                              f"(the URL usually ends in /v1)?")  # fmt: skip
        if served and model not in served:
            raise UserError(f"{address.url} does not serve '{model}': it serves {', '.join(served[:8])}")
        return None

    async def _sleep(self, seconds: float) -> None:
        """A pause that `stop` ends."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    def stop(self) -> None:
        """Send nothing more; what is in flight may end."""
        self._stopped.set()

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()
            self._open = None


def proxy_for(url: str) -> tuple[str | None, dict[str, str] | None]:
    """The proxy that the environment names for a host, and its login as a header; none for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in LOOPBACK or urllib.request.proxy_bypass(host):
        return None, None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy:
        return None, None
    login = urlsplit(proxy)
    if login.username is None:
        return proxy, None
    plain = proxy.replace(f"{login.netloc.rpartition('@')[0]}@", "", 1)
    pair = f"{unquote(login.username)}:{unquote(login.password or '')}"
    return plain, {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # nothing, or a date without a zone
        return 0.0


def complaint(raw: bytes) -> str:
    """What a server says in an error's body, on one line."""
    try:
        content = json.loads(raw)
        error = content.get("error", content) if isinstance(content, dict) else content
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except ValueError:
        text = raw.decode(errors="replace")
    return " ".join(text.split())[:200] or "no message"


def reason(error: BaseException) -> str:
    """The innermost cause of an error, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
