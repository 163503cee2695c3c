"""Sends JSON over HTTP to servers that speak the OpenAI protocol, and retries.

Raw aiohttp is used for servers of one's own, because the openai package spends far longer on a request
(docs/teachers.md has the figures); hosted APIs go through the package (`hosted.py`). A request that may succeed later
is sent again, to another address where there is one, with exponential pauses, full jitter (Brooker, "Exponential
Backoff and Jitter", AWS Architecture Blog, 2015) and the server's Retry-After.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from agentkd.credentials import mask_keys, mask_secrets
from agentkd.errors import PutOff, ServerRefused, UserError, WorldError
from agentkd.teacher.address import Address
from agentkd.teacher.refusal import Refusal, describe_error, read_refusal
from agentkd.teacher.reply import NO_RESPONSE, NoReply, load_json, read_count

RETRIES = 4
FIRST_PAUSE = 0.5  # seconds at most, doubled at each retry
LONGEST_WAIT = 300.0  # seconds; a server that asks for more is left alone
CONNECT_TIMEOUT = 30.0  # seconds
REPLY_BYTES = 16 << 20  # of one response, decompressed: the longest answers are a hundredth of it

T = TypeVar("T")


class AttemptFailed(Exception):
    """An attempt failed and may succeed later.

    `wait`: seconds that the server asks to wait. `reached`: the server was there. `none`: it sent an answer that is
    none."""

    def __init__(self, text: str, wait: float = 0.0, *, reached: bool = True, none: bool = False) -> None:
        super().__init__(text)
        self.wait, self.reached, self.none = wait, reached, none


class Refused(WorldError):
    """The server does not answer this request, though it answers others. `refusal` says what that is about.

    Final is only what the request itself has caused. `status` is 0 where its answers held none."""

    def __init__(self, message: str, status: int, refusal: Refusal) -> None:
        super().__init__(message, retry=refusal.cause != "request")
        self.status, self.refusal = status, refusal


class Response(NamedTuple):
    """A response, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
        self.answered = 0
        self._open: aiohttp.ClientSession | None = None
        self._stopped = asyncio.Event()
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    def admit(self, key: str) -> None:
        """Raise PutOff for a request that will not be sent, before a budget is reserved for it."""
        if self._stopped.is_set():
            raise PutOff("not sent: the run is stopping")

    async def post(
        self, path: str, data: bytes, *, key: str, fields: Collection[str], seconds: float, read: Callable[[Any], T]
    ) -> T:
        """Send JSON to `path` and return what `read` makes of the answer's JSON.

        `read` raises one of NO_RESPONSE for anything that is not an answer. `fields` are those of the request that the
        server may refuse. `seconds` limits one attempt; `key` names the request (only batch files use it). Raises
        ServerRefused where no request would be answered, Refused where this one is not, another WorldError (with
        `retry`) where there was no answer, PutOff after `stop`, and CancelledInFlight in place of the CancelledError
        of a task whose request was sent."""
        pause, sent = FIRST_PAUSE, 0
        tried: set[Address] = set()
        for retry in range(RETRIES + 1):
            while True:
                self.admit(key)
                address = self._pick(tried)
                tried.add(address)
                sent += 1
                try:
                    return await self._attempt(address, path, data, fields, seconds, read)
                except AttemptFailed as fault:
                    last = fault
                except ServerRefused:
                    if not self._another(tried):
                        raise
                    continue
                if not self._another(tried):
                    break
            if last.wait > LONGEST_WAIT:
                raise WorldError(f"{self.name} asks to wait {last.wait:.0f} s ({last}): run the same command then")
            if retry < RETRIES:
                await self._sleep(last.wait + random.uniform(0, pause))
                pause *= 2
                tried.clear()
        if last.none:
            raise Refused(f"{self.name} gave no answer, {sent} times, last: {last}", 0, Refusal("unknown"))
        remedy = "" if last.reached else "; is the server still up?"
        raise WorldError(f"{self.name} failed {sent} times, last: {last}{remedy}")

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

    async def _attempt(
        self,
        address: Address,
        path: str,
        data: bytes,
        fields: Collection[str],
        seconds: float,
        read: Callable[[Any], T],
    ) -> T:
        address.in_flight += 1
        address.sent += 1
        try:
            response = await self.request(address, "POST", path, data, seconds)
            answer = read_response(address, response, fields, read)
        except AttemptFailed as fault:
            address.mark_failed(fault.wait)
            raise
        except ServerRefused:
            address.mark_failed(0.0)
            raise
        except Refused:
            address.mark_working()
            raise
        finally:
            address.in_flight -= 1
            address.probed = False
        address.mark_working()
        self.answered += 1
        return answer

    async def request(self, address: Address, method: str, path: str, data: bytes | None, seconds: float) -> Response:
        """Send one request, once.

        Raises AttemptFailed where no whole response came, CancelledInFlight where it was cancelled on its way."""
        body = None if data is None else TrackedBody(data)
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
                return Response(response.status, response.headers, mask_keys(await read_body(response)))
        except asyncio.CancelledError:
            if body is not None and body.sent:
                raise CancelledInFlight from None
            raise
        except aiohttp.InvalidURL:
            raise UserError(f"{address.url} is no address: write http://HOST:PORT/v1") from None
        except TimeoutError as error:
            raise AttemptFailed(str(error) or f"no answer within {seconds:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            reached = not isinstance(error, aiohttp.ClientConnectorError)
            raise AttemptFailed(mask_secrets(root_cause(error)), reached=reached) from None

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


def read_response(address: Address, response: Response, fields: Collection[str], read: Callable[[Any], T]) -> T:
    """Read a response with `read`, or raise what it means: AttemptFailed, ServerRefused or Refused."""
    status, content = response.status, parse_body(response.body)
    if status < 300:
        status, fault = find_error(content)
        if not status:
            try:
                return read(content)
            except NoReply as error:
                raise AttemptFailed(str(error), none=True) from None
            except NO_RESPONSE:
                streams = isinstance(content, str) and content.startswith("data:")
                what = "it streams, which it was not asked to" if streams else describe_error(content)
                raise AttemptFailed(f"the answer is no completion: {what}") from None
        content = fault
    words, refusal = describe_error(content), read_refusal(status, content, fields)
    if refusal.cause == "passing":
        raise AttemptFailed(f"{status}: {words}", parse_retry_after(response.headers.get("Retry-After", "")))
    if refusal.cause != "server":
        raise Refused(f"{address.url} refused the request ({status}): {words}", status, refusal)
    if status < 400:
        where = mask_secrets(response.headers.get("Location", ""))[:200]
        text = f"{address.url} redirects ({status}) to {where or 'nowhere'}: give that address instead"
        raise ServerRefused(text, status)
    key = (
        f" ({'the key is in' if address.headers else 'set'} {address.access.variable})" if status in (401, 403) else ""
    )
    raise ServerRefused(
        f"{address.url} refused the request ({status}): {words}{key}; mend that and run the same command again", status
    )


def parse_body(body: bytes) -> Any:
    """The JSON in the body of a response, else its text."""
    try:
        return load_json(body)
    except ValueError:
        return body[:2000].decode(errors="replace")


def find_error(content: Any) -> tuple[int, Any]:
    """The error that gateways put into the body of an answer with status 200, with the status that it stands for.

    The status is 0 where there is none."""
    if not isinstance(content, dict) or not content.get("error") or content.get("choices"):
        return 0, None
    error = content["error"]
    code = read_count(error.get("code")) if isinstance(error, dict) else None
    return code if code is not None and 400 <= code < 600 else 500, content


def root_cause(error: BaseException) -> str:
    """The message of an error's innermost cause, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:200] or type(error).__name__
