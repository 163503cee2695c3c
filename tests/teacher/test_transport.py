"""The wire: retries, pauses, timeouts, several addresses, proxies."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agentkd.errors import PutOff, ServerRefused, UserError, WorldError
from agentkd.teacher import address as address_module
from agentkd.teacher import transport as module
from agentkd.teacher.address import Address, find_proxy
from agentkd.teacher.contact import check
from agentkd.teacher.transport import Refused, Transport, parse_retry_after
from tests.support.mock_server import GARBAGE, HANG, MODEL, RESET, Fault, Server, mock_server

BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}).encode()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The pauses that a transport makes, which pass at once; jitter is at its most."""
    made: list[float] = []

    async def note(self: Transport, seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(Transport, "_sleep", note)
    monkeypatch.setattr(module.random, "uniform", lambda low, high: high)
    yield made


def text(content: Any) -> str:
    return str(content["choices"][0]["message"]["content"])


def use(work: Callable[[Transport], Awaitable[Any]], *urls: str) -> Any:
    async def run() -> Any:
        wire = Transport(urls)
        try:
            return await work(wire)
        finally:
            await wire.close()

    return asyncio.run(run())


async def post(wire: Transport, seconds: float = 10.0) -> str:
    return await wire.post("/chat/completions", BODY, key="", fields=(), seconds=seconds, read=text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ERROR_BODY: Fault = {"error": {"message": "the model is loading"}}


@pytest.mark.parametrize("fault", [429, 500, 503, 408, 409, GARBAGE, RESET, {"choices": []}, {}, ERROR_BODY])
def test_what_may_pass_is_tried_again(fault: Fault, pauses: list[float]) -> None:
    with mock_server(faults=[fault, fault]) as server:
        assert use(post, server.url) == "So the answer is: nothing"
        assert len(server.requests) == 3 and pauses == [module.FIRST_PAUSE, 2 * module.FIRST_PAUSE]


@pytest.mark.parametrize(
    ("status", "kind", "retry"),
    [
        (401, ServerRefused, True),
        (402, ServerRefused, True),
        (404, ServerRefused, True),
        (400, Refused, True),
        (422, Refused, True),
        (413, Refused, False),
    ],
)
def test_a_refusal_is_not_tried_again(status: int, kind: type[WorldError], retry: bool, pauses: list[float]) -> None:
    """Final is only what the request itself has caused."""
    with mock_server(faults=[status]) as server, pytest.raises(kind, match=f"{status}.*scripted") as caught:
        use(post, server.url)
    assert caught.value.retry is retry
    assert len(server.requests) == 1 and not pauses


def test_a_redirect_is_not_followed_and_named() -> None:
    fault: Fault = (307, {"Location": "http://127.0.0.1:9/v1/chat/completions"})
    with mock_server(faults=[fault]) as server, pytest.raises(ServerRefused, match=r"redirects \(307\) to http.*:9/v1"):
        use(post, server.url)


def test_an_account_that_is_refused_at_one_address_is_taken_to_another(pauses: list[float]) -> None:
    with ExitStack() as stack:
        poor, rich = servers(stack, [402] * 9, [])
        assert use(lambda wire: many(wire, 4), poor.url, rich.url) == ["So the answer is: nothing"] * 4
        assert not pauses and len(rich.requests) == 4
        with pytest.raises(ServerRefused, match="402"):
            use(post, poor.url, poor.url)


@pytest.mark.parametrize(("fault", "words"), [(503, "scripted 503"), (GARBAGE, "not json"), (ERROR_BODY, "is loading")])
def test_it_gives_up_and_says_why(fault: Fault, words: str, pauses: list[float]) -> None:
    with mock_server(faults=[fault] * 99) as server, pytest.raises(WorldError, match=rf"failed 5 times.*{words}") as e:
        use(post, server.url)
    assert len(server.requests) == 5 and e.value.retry


def test_the_server_says_how_long_to_wait(pauses: list[float]) -> None:
    with mock_server(faults=[(429, {"Retry-After": "7"}), (503, {"Retry-After": "0.5"})]) as server:
        use(post, server.url)
    assert pauses == [7 + module.FIRST_PAUSE, 0.5 + 2 * module.FIRST_PAUSE]
    with mock_server(faults=[(429, {"Retry-After": "3600"})]) as server:
        with pytest.raises(WorldError, match=r"asks to wait 3600 s \(429: scripted 429\)"):
            use(post, server.url)
        assert len(server.requests) == 1


def test_retry_after_is_a_number_or_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < parse_retry_after(format_datetime(later, usegmt=True)) <= 90
    assert parse_retry_after(format_datetime(later - timedelta(days=1), usegmt=True)) == 0
    assert [parse_retry_after(value) for value in ("12", "1.5", "-3", "", "soon")] == [12, 1.5, 0, 0, 0]


def test_a_server_that_hangs_is_given_up_and_asked_again(pauses: list[float]) -> None:
    with mock_server(faults=[HANG]) as server:
        assert use(lambda wire: post(wire, 0.2), server.url) == "So the answer is: nothing"
        assert len(server.requests) == 2
    with mock_server(faults=[HANG] * 9) as server, pytest.raises(WorldError, match="no answer within"):
        use(lambda wire: post(wire, 0.05), server.url)


def test_nobody_is_there(pauses: list[float]) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(WorldError, match=rf"{url} failed 5 times.*[Cc]onnect"):
        use(post, url)


async def many(wire: Transport, count: int) -> list[str]:
    return await asyncio.gather(*(post(wire) for _ in range(count)))


def servers(stack: ExitStack, *faults: list[Fault]) -> list[Server]:
    return [stack.enter_context(mock_server(faults=some, latency=0.01)) for some in faults]


def test_addresses_share_the_load() -> None:
    with ExitStack() as stack:
        both = servers(stack, [], [])
        use(lambda wire: many(wire, 20), *(server.url for server in both))
        assert [len(server.requests) for server in both] == [10, 10]


def test_a_slow_address_gets_less() -> None:
    """Eight at once, refilled as they end: what hangs on the slow one is not asked of it twice."""

    async def refill(wire: Transport) -> None:
        todo = iter(range(40))

        async def worker() -> None:
            for _ in todo:
                await post(wire)

        await asyncio.gather(*(worker() for _ in range(8)))

    with ExitStack() as stack:
        slow, fast = servers(stack, [HANG] * 4, [])
        stack.callback(slow.released.set)

        async def run(wire: Transport) -> None:
            task = asyncio.ensure_future(refill(wire))
            while len(fast.requests) < 20:
                await asyncio.sleep(0.01)
            assert len(slow.requests) == 4
            slow.released.set()
            await task

        use(run, slow.url, fast.url)


def test_a_request_goes_to_another_address_at_once(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_module, "FIRST_REST", 3600.0)
    monkeypatch.setattr(address_module, "LONGEST_REST", 3600.0)
    with ExitStack() as stack:
        ill, well = servers(stack, [503] * 99, [])
        dead = f"http://127.0.0.1:{free_port()}/v1"

        async def one_by_one(wire: Transport) -> None:
            for _ in range(12):
                await post(wire)

        use(one_by_one, ill.url, dead, well.url)
        assert len(well.requests) == 12 and not pauses
        assert len(ill.requests) == 1, "it rests"


def test_a_refusal_is_not_taken_to_another_address() -> None:
    with ExitStack() as stack:
        first, second = servers(stack, [400], [])
        with pytest.raises(WorldError, match="400"):
            use(post, first.url, second.url)
        assert not second.requests


def test_a_rested_address_is_probed_by_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_module, "FIRST_REST", 0.0)
    with ExitStack() as stack:
        ill, well = servers(stack, [503, HANG], [])

        async def run(wire: Transport) -> None:
            await post(wire)  # ill, then well
            probe = asyncio.ensure_future(post(wire))  # ill has fewer in flight and hangs
            while len(ill.requests) < 2:
                await asyncio.sleep(0.01)
            await many(wire, 6)
            assert len(ill.requests) == 2, "one probe, and the others stay away"
            ill.released.set()
            await probe
            await many(wire, 8)
            assert len(ill.requests) > 2, "it is well again"

        use(run, ill.url, well.url)


def test_pauses_of_an_address_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(module.random, "uniform", lambda low, high: 1.0)
    address = Address("http://127.0.0.1:9/v1")
    rests = []
    for _ in range(9):
        address.mark_failed(0.0)
        address.mark_failed(0.0)  # one that failed at the same moment counts no second time
        rests.append(address.rest_until - now)
        now = address.rest_until
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    address.mark_failed(99.0)
    assert address.rest_until == now + 99


def test_stop_lets_what_flies_end_and_sends_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 60.0)
    monkeypatch.setattr(module.random, "uniform", lambda low, high: high)
    with mock_server(faults=[HANG, 503]) as server:

        async def run(wire: Transport) -> None:
            flying = [asyncio.ensure_future(post(wire)) for _ in range(2)]
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
            wire.stop()
            server.released.set()
            done = await asyncio.gather(*flying, post(wire), return_exceptions=True)
            kinds = sorted(type(item).__name__ for item in done)
            assert kinds == ["PutOff", "PutOff", "str"], "neither the new one is sent nor the one that failed again"

        use(run, server.url)
        assert len(server.requests) == 2
    assert issubclass(PutOff, WorldError)


def test_a_proxy_for_others_and_none_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with mock_server() as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        assert use(post, "http://teacher.invalid/v1") == "So the answer is: nothing"
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        assert use(post, server.url) == "So the answer is: nothing"
    monkeypatch.setenv("https_proxy", "http://me:p%40ss@proxy.test:3128")
    proxy, login = find_proxy("https://api.test/v1")
    assert proxy == "http://proxy.test:3128"
    assert login == {"Proxy-Authorization": f"Basic {base64.b64encode(b'me:p@ss').decode()}"}
    monkeypatch.setenv("no_proxy", "api.test")
    assert find_proxy("https://api.test/v1") == (None, None)


def test_first_contact() -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with ExitStack() as stack:
        one, two = servers(stack, [], [])
        assert use(lambda wire: check(wire, MODEL), one.url, two.url) == []
        (complaint,) = use(lambda wire: check(wire, MODEL), one.url, dead)
        assert complaint.startswith(f"no server at {dead}")
        with pytest.raises(UserError, match=f"does not serve 'other': it serves {MODEL}"):
            use(lambda wire: check(wire, "other"), one.url)
    with pytest.raises(WorldError, match=f"no server at {dead} .*--teacher local"):
        use(lambda wire: check(wire, MODEL), dead)
    with pytest.raises(UserError, match=r"no address: write http://HOST:PORT/v1"):
        use(lambda wire: check(wire, MODEL), "http://")
