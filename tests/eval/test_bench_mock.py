"""The benches' mock server: the same world for every client, faults that end, a log that tells answers from cuts."""

from __future__ import annotations

import http.client
import json
import math
import socket
import statistics
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from agentkd.eval.bench.mock import CUT, FAULTS, FAULTY_TRIES, MODEL, OK, Mock, MockWorld, mock_server, request_key


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def post(mock: Mock, request: dict[str, Any], timeout: float = 10) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address(mock), timeout=timeout)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(request), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()  # or the server would not learn that a client has given up


def address(mock: Mock) -> tuple[str, int]:
    parts = urlsplit(mock.root)
    assert parts.hostname is not None and parts.port is not None
    return parts.hostname, parts.port


def test_latencies_have_the_stated_mean_and_sigma_and_depend_on_the_text_alone() -> None:
    world = MockWorld(3, "lognormal", mean=0.25)
    found = [world.seconds(f"question {k}") for k in range(40_000)]
    assert statistics.fmean(found) == pytest.approx(0.25, rel=0.05)
    assert statistics.stdev(map(math.log, found)) == pytest.approx(1.2, rel=0.02)
    assert (
        found[7]
        == MockWorld(3, "lognormal", mean=0.25).seconds("question 7")
        != MockWorld(4, "lognormal").seconds("question 7")
    )
    assert MockWorld(3).seconds("question 7") == 0


def test_faults_come_at_their_rate_and_end_after_some_tries() -> None:
    world = MockWorld(0, fault_rate=0.3)
    found = [world.fault(f"key {k}", tries) for k in range(4000) for tries in range(FAULTY_TRIES)]
    counts = Counter(found)
    assert counts[None] / len(found) == pytest.approx(0.7, abs=0.02)
    assert set(counts) == {None, *FAULTS} and min(counts[fault] for fault in FAULTS) > 0.03 * len(found)
    assert all(MockWorld(0, fault_rate=1.0).fault(f"key {k}", FAULTY_TRIES) is None for k in range(50))


def test_answers_keep_to_the_schema_and_requests_differ_by_what_counts() -> None:
    schema = {"type": "object", "properties": {"action": {"enum": ["go", "stop"]}, "input": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    answers = [json.loads(MockWorld(0).answer(chat(f"q {k}", response_format=form))) for k in range(20)]
    assert {answer["action"] for answer in answers} == {"go", "stop"} and isinstance(answers[0]["input"], str)
    assert request_key(chat("q", temperature=0)) == request_key(chat("q", temperature=1))
    assert (
        len({request_key(chat("q", seed=seed, response_format=kind)) for seed in (0, 1) for kind in (None, form)}) == 4
    )


def test_the_log_counts_sends_and_tells_a_cut_request_from_an_answered_one() -> None:
    world = MockWorld(0, "lognormal", mean=100.0)
    slow = next(text for text in map(str, range(100)) if world.seconds(text) > 30)
    fast = next(text for text in map(str, range(1000)) if world.seconds(text) < 2)
    with mock_server(world) as mock:
        status, body = post(mock, chat(fast))
        assert status == 200 and json.loads(body)["choices"][0]["finish_reason"] == "stop"
        with pytest.raises(TimeoutError):
            post(mock, chat(slow), timeout=0.3)
        mock.mark()
        post(mock, chat(fast))
        assert mock.answered() == 2
        assert [(entry.outcome, entry.epoch) for entry in mock.log()] == [(OK, 0), (CUT, 0), (OK, 1)]
        assert [entry.key for entry in mock.log([slow])] == [request_key(chat(slow))]


def test_each_fault_is_what_it_says() -> None:
    world = MockWorld(0, fault_rate=1.0, refusing=2.0)
    firsts = {world.fault(request_key(chat(text)), 0): text for text in map(str, range(200))}
    with mock_server(world) as mock:
        assert post(mock, chat(firsts["429"]))[0] == 429 and post(mock, chat(firsts["500"]))[0] == 500
        status, body = post(mock, chat(firsts["garbage"]))
        assert status == 200 and b"{" not in body
        with pytest.raises(TimeoutError):
            post(mock, chat(firsts["hang"]), timeout=0.3)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            post(mock, chat(firsts["reset"]))
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            post(mock, chat(firsts["refused"]))
        with pytest.raises(ConnectionRefusedError):  # nobody listens, for a moment
            socket.create_connection(address(mock), timeout=5).close()
        assert mock.answered() == 0  # the bench's own port answers meanwhile
        while True:  # until somebody listens again
            try:
                socket.create_connection(address(mock), timeout=5).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        assert [entry.outcome for entry in mock.log()] == ["429", "500", "garbage", "hang", "reset", "refused"]
