"""Sends JSON over HTTP to servers that speak the OpenAI protocol, and retries.

Raw aiohttp is used because the openai package spends far longer on a request (docs/teachers.md has the figures). A
request that may succeed later is sent again, to another address where there is one, with exponential pauses, full
jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015) and the server's Retry-After.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from agentkd.credentials import mask_keys, mask_secrets
from agentkd.errors import PutOff, UserError, WorldError
from agentkd.teacher.address import Address
from agentkd.teacher.chat import replace_surrogates
from agentkd.teacher.reply import NO_RESPONSE, NoReply, load_json

RETRIES = 4
FIRST_PAUSE = 0.5  # seconds at most, doubled at each retry
LONGEST_WAIT = 300.0  # seconds; a server that asks for more is left alone
CONNECT_TIMEOUT = 30.0  # seconds
PING_TIMEOUT = 10.0  # seconds for the first contact with a server that ought to be up
REPLY_BYTES = 16 << 20  # of one response, decompressed: the longest answers are a hundredth of it

T = TypeVar("T")


class AttemptFailed(Exception):
    """An attempt failed and may succeed later. `wait`: seconds that the server asks to wait."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Refused(WorldError):
    """The server calls the request wrong: sending it again unchanged is useless."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, retry=False)
        self.status = status


class CancelledInFlight(asyncio.CancelledError):
    """Cancelled after the request was sent: the server may bill an answer that nobody reads."""


class TrackedBody(aiohttp.BytesPayload):
    """A request's body that records whether it was sent, which needs a connection.

    aiohttp's tracing could record it too, but slows each request."""

    sent = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.sent = True
        await super().write_with_length(writer, content_length)


class Transport:
    """Posts to the working address with the fewest requests in flight."""

    def __init__(self, urls: Sequence[str], *, insecure: bool = False) -> None:
        self.addresses = [Address(url, insecure=insecure) for url in urls]
        self.name = ", ".join(address.url for address in self.addresses)
        self._open: aiohttp.ClientSession | None = None
        self._stopped = asyncio.Event()
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    def admit(self, key: str) -> None:
        """Raise PutOff for a request that will not be sent, before a budget is reserved for it."""
        if self._stopped.is_set():
            raise PutOff("not sent: the run is stopping")

    async def post(self, path: str, data: bytes, *, key: str, seconds: float, read: Callable[[Any], T]) -> T:
        """Send JSON to `path` and return what `read` makes of the answer's JSON.

        `read` raises one of NO_RESPONSE for anything that is not an answer.
        `seconds` limits one attempt; `key` names the request (only batch files use it). Raises WorldError (with
        `retry`), Refused, PutOff after `stop`, and CancelledInFlight in place of the CancelledError of a task whose
        request was sent."""
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
                except AttemptFailed as fault:
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
        ready = [address for address in self.addresses if address.is_ready(now)]
        fresh = [address for address in ready if address not in tried]
        # if all rest, the one whose rest ends first: the request has made its own pauses already
        pool = fresh or ready or [min(self.addresses, key=lambda address: address.rest_until)]
        chosen = min(pool, key=lambda address: (address.in_flight, address.sent))
        chosen.probed = chosen.failures > 0
        return chosen

    def _another(self, tried: set[Address]) -> bool:
        now = time.monotonic()
        return any(address.is_ready(now) for address in self.addresses if address not in tried)

    async def _attempt(self, address: Address, path: str, data: bytes, seconds: float, read: Callable[[Any], T]) -> T:
        address.in_flight += 1
        address.sent += 1
        body = TrackedBody(data)
        try:
            status, headers, raw = await self._request(address, "POST", path, body, seconds)
            if 300 <= status < 500 and status not in (408, 409, 429):
                address.mark_working()
                raise Refused(f"{address.url} refused the request ({status}): {error_message(raw)}", status)
            if status >= 300:
                raise AttemptFailed(
                    f"{status}: {error_message(raw)}", parse_retry_after(headers.get("Retry-After", ""))
                )
            try:
                answer = read(load_json(raw))
            except NoReply as error:
                raise AttemptFailed(str(error)) from None
            except NO_RESPONSE:
                raise AttemptFailed(f"the answer is no completion: {error_message(raw)}") from None
        except AttemptFailed as fault:
            address.mark_failed(fault.wait)
            raise
        except asyncio.CancelledError:
            if body.sent:
                raise CancelledInFlight from None
            raise
        finally:
            address.in_flight -= 1
            address.probed = False
        address.mark_working()
        return answer

    async def _request(
        self, address: Address, method: str, path: str, body: TrackedBody | None, seconds: float
    ) -> tuple[int, Any, bytes]:
        """Send one request; return status, headers and body.

        Raises AttemptFailed where no whole response came."""
        timeout = self._timeouts.get(seconds)
        if timeout is None:
            timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_TIMEOUT))
            self._timeouts[seconds] = timeout
        try:
            async with self._session().request(
                method,
                address.target(path),
                data=body,
                timeout=timeout,
                proxy=address.proxy,
                headers=address.headers,
                proxy_headers=address.proxy_headers,
                allow_redirects=False,  # a POST that is redirected would become a GET
            ) as response:
                return response.status, response.headers, mask_keys(await read_body(response))
        except aiohttp.InvalidURL:
            raise UserError(f"{address.url} is no address: write http://HOST:PORT/v1") from None
        except TimeoutError as error:
            raise AttemptFailed(str(error) or f"no answer within {seconds:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptFailed(mask_secrets(root_cause(error))) from None

    def _session(self) -> aiohttp.ClientSession:
        """The session of all requests, made inside the running loop.

        The caller limits the number of connections."""
        if self._open is None:
            self._open = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
                headers={"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._open

    @property
    def notes(self) -> list[str]:
        """Lines for the user on keys that are withheld."""
        return [address.access.note for address in self.addresses if address.access.note]

    async def check(self, model: str) -> list[str]:
        """Check that an address answers and serves the model; return the others' complaints.

        Raises WorldError where none answers, UserError where one refuses the key or serves other models."""
        found = await asyncio.gather(*(self._ping(address, model) for address in self.addresses))
        complaints = [error for error in found if error is not None]
        if len(complaints) == len(self.addresses):
            raise complaints[0]
        return [str(error) for error in complaints]

    async def _ping(self, address: Address, model: str) -> WorldError | None:
        try:
            status, _, raw = await self._request(address, "GET", "/models", None, PING_TIMEOUT)
        except AttemptFailed as fault:
            address.mark_failed(0.0)
            return WorldError(f"no server at {address.url} ({fault}): start it, or use --teacher local or vllm:MODEL")
        if status == 401:
            raise UserError(f"{address.url} refuses the key: set {address.access.variable}")
        try:
            served = [str(entry["id"]) for entry in load_json(raw)["data"]] if status == 200 else None
        except NO_RESPONSE:
            served = None
        if served is None:
            return WorldError(
                f"{address.url} answers {status} to /models: is it an OpenAI-compatible server "
                f"(the URL usually ends in /v1)?"
            )
        if served and model not in served:
            raise UserError(f"{address.url} does not serve '{model}': it serves {', '.join(served[:8])}")
        return None

    async def _sleep(self, seconds: float) -> None:
        """Pause; `stop` ends the pause."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    def stop(self) -> None:
        """Send nothing more; requests in flight may end."""
        self._stopped.set()

    async def close(self) -> None:
        """Close all connections."""
        if self._open is not None:
            await self._open.close()
            self._open = None


def parse_retry_after(value: str) -> float:
    """Parse a Retry-After header into seconds (RFC 9110, section 10.2.3).

    It holds a number or a date; anything else gives 0."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # nothing, or a date without a zone
        return 0.0


async def read_body(response: aiohttp.ClientResponse, limit: int = REPLY_BYTES) -> bytes:
    """Read the body of a response. Raises AttemptFailed where it is larger than `limit`, decompressed."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise AttemptFailed(f"the reply has more than {limit >> 20} MB")
        parts.append(part)
    return b"".join(parts)


def error_message(raw: bytes) -> str:
    """The message in the body of an error response, on one line."""
    try:
        return describe_error(load_json(raw))
    except ValueError:
        return describe_error(raw[:2000].decode(errors="replace"))


def describe_error(content: Any) -> str:
    """The message in the content of an error response, on one line."""
    error = content.get("error", content) if isinstance(content, dict) else content
    try:
        text = str(error.get("message", error) if isinstance(error, dict) else error)[:2000]
    except RecursionError:
        text = ""
    return mask_secrets(" ".join(replace_surrogates(text).split()))[:200] or "no message"


def root_cause(error: BaseException) -> str:
    """The message of an error's innermost cause, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:200] or type(error).__name__
