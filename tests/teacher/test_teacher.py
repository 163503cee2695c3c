"""The client: cache, shared answers, limits, prices, and its refusals. The wire has tests of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agentkd.errors import UserError, WorldError
from agentkd.teacher import transport
from agentkd.teacher.budget import BudgetLimit, TokenLimit
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import Reply
from agentkd.teacher.client import Teacher
from agentkd.teacher.open import find_teacher_price, open_teacher, parse_spec, split_specs
from agentkd.teacher.options import Endpoint, TeacherOptions
from agentkd.teacher.prices import Price
from agentkd.teacher.reply import match_choice
from agentkd.teacher.thoughts import split_thoughts
from agentkd.trace import Message
from tests.support.mock_server import HANG, MODEL, Fault, Server, mock_server

HELLO = [Message(role="user", content="hello")]
PRICE = Price(prompt=1000.0, completion=2000.0, cached=100.0)  # USD per million tokens: the mock's 7 + 3 cost 1.3 cents
Work = Callable[[Teacher], Awaitable[Any]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)


def use(
    server: Server,
    work: Work,
    *,
    cache: Cache | None = None,
    price: Price | None = None,
    together: bool = True,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> Any:
    async def run() -> Any:
        endpoint = Endpoint((server.url,), MODEL, price=price, together=together)
        teacher = Teacher(endpoint, cache=cache, options=TeacherOptions(**{"timeout": 10.0, **options}), say=say)
        try:
            return await work(teacher)
        finally:
            await teacher.close()

    return asyncio.run(run())


def ask(server: Server, *, cache: Cache | None = None, sample: int = 0, **options: Any) -> Reply:
    chat: dict[str, Any] = {"max_tokens": 8, "sample": sample, **options}
    reply = use(server, lambda teacher: teacher.chat(HELLO, **chat), cache=cache)
    assert isinstance(reply, Reply)
    return reply


def body(text: str | None = "hi", *, finish: str | None = "stop", usage: Any = "usual", **message: Any) -> Fault:
    usual = {"prompt_tokens": 7, "completion_tokens": 3}
    choices = [{"message": {"content": text, **message}, "finish_reason": finish}]
    return {"choices": choices, "usage": usual if usage == "usual" else usage}


@pytest.mark.parametrize(("identity", "thinks"), [("openai:gpt-5-mini", True), ("openai:o4-mini", True)] + [
    (name, False) for name in ("openai:gpt-4o-mini", "openai:omni", "gpt-5-mini", "vllm:o1")])  # fmt: skip
def test_openais_reasoning_models_are_asked_as_they_want(identity: str, thinks: bool) -> None:
    async def run(url: str) -> int:
        teacher = Teacher(Endpoint((url,), MODEL, identity=identity), cache=None)
        try:
            await teacher.chat(HELLO, max_tokens=8)
            return teacher.requests.estimate(server.requests[0], 0).tokens
        finally:
            await teacher.close()

    with mock_server() as server:
        estimate = asyncio.run(run(server.url))
        (request,) = server.requests
    assert ("max_completion_tokens" in request) == thinks
    assert ("max_tokens" in request) == ("temperature" in request) == (not thinks)
    assert (estimate > 4000) == thinks  # what it may think is reserved, too


def test_a_reply_and_its_request() -> None:
    schema = {"enum": ["yes", "no"]}
    with mock_server() as server:
        reply = ask(server, schema=schema, temperature=0.5, sample=3)
        (request,) = server.requests
    assert reply.text == '"yes"' and reply.finish_reason == "stop"
    assert reply.usage.calls == 1 and reply.usage.tokens == 10 and reply.usage.cached == 0
    assert request["response_format"]["json_schema"]["schema"] == schema
    del request["response_format"]
    messages = [{"role": "user", "content": "hello"}]
    assert request == {"model": MODEL, "messages": messages, "max_tokens": 8, "temperature": 0.5, "seed": 3}


NO_SCHEMA: Fault = (400, {}, b'{"error": {"message": "This response_format type is unavailable now"}}')
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def test_a_server_that_takes_no_schema_is_told_it(tmp_path: Path) -> None:
    """The second form of the request is remembered for its kind of schema, and found again by a resumed run."""
    said: list[str] = []

    async def work(teacher: Teacher) -> list[str]:
        first = await teacher.chat(HELLO, max_tokens=8, schema=SCHEMA)
        return [first.text, (await teacher.chat(HELLO, max_tokens=8, schema=SCHEMA, sample=1)).text]

    fenced = body('```json\n{"a": "x"}\n```')
    with mock_server(faults=[NO_SCHEMA, fenced, fenced]) as server:
        for _ in range(2):
            cache = Cache(tmp_path)
            assert use(server, work, cache=cache, say=said.append) == ['{"a": "x"}'] * 2
        held, told, again = server.requests
    assert "response_format" in held and "response_format" not in told and "response_format" not in again
    assert told["messages"][0]["content"].startswith("hello\n\n") and '"a"' in told["messages"][0]["content"]
    assert len(said) == 1 and "takes no JSON schema (object)" in said[0]


def test_a_refusal_that_names_nothing_takes_the_schema_away_when_it_comes_again() -> None:
    """One that passes changes nothing for good."""
    said: list[str] = []

    async def work(teacher: Teacher) -> None:
        for sample in range(6):
            await teacher.chat(HELLO, max_tokens=8, schema=SCHEMA, sample=sample)

    told = body("{}")
    with mock_server(faults=[400, told, 400, 400, told, told, 400, 400, told, 400, 400, told]) as server:
        use(server, work, say=said.append)
        held = ["response_format" in request for request in server.requests]
    assert held == [True] * 4 + [False] + [True] * 3 + [False] + [True] * 2 + [False] * 2
    assert len(said) == 1


def test_a_request_that_is_wrong_without_a_schema_too_says_so() -> None:
    async def work(teacher: Teacher) -> None:
        with pytest.raises(WorldError, match="400"):
            await teacher.chat(HELLO, max_tokens=8, schema=SCHEMA)
        await teacher.chat(HELLO, max_tokens=8, schema=SCHEMA)
        with pytest.raises(WorldError, match="401"):
            await teacher.chat(HELLO, max_tokens=8, schema=SCHEMA, sample=1)

    with mock_server(faults=[400, 400, 400, body("{}"), 401]) as server:
        use(server, work)
        assert ["response_format" in request for request in server.requests] == [True, True, False, True, True]


def test_choices_of_a_server_that_cannot_constrain() -> None:
    async def work(teacher: Teacher) -> list[str]:
        return [(await teacher.complete("x", choices=["ab", "a"], sample=k)).text for k in range(2)]

    answer: Fault = {"choices": [{"text": ' "ab", for', "finish_reason": "stop"}]}
    with mock_server(faults=[NO_SCHEMA, answer, answer]) as server:
        assert use(server, work) == ["ab", "ab"]
        assert ["json_schema" in request for request in server.requests] == [True, False, False]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_what_the_model_thought_is_kept_also_in_the_cache(name: str, tmp_path: Path) -> None:
    with mock_server(faults=[body("42", **{name: "six times seven"})]) as server:
        for _ in range(2):
            reply = ask(server, cache=Cache(tmp_path))
            assert (reply.text, reply.reasoning) == ("42", "six times seven")
        assert len(server.requests) == 1


def test_a_cut_answer_stays_cut_and_a_longer_one_is_asked_for(tmp_path: Path) -> None:
    """The cache says `length` as the server did; the key holds max_tokens, so raising it asks again."""
    with mock_server(faults=[body("well, ", finish="length")]) as server:
        for _ in range(2):
            reply = ask(server, cache=Cache(tmp_path))
            assert (reply.text, reply.finish_reason) == ("well, ", "length")
        assert len(server.requests) == 1
        assert ask(server, cache=Cache(tmp_path), max_tokens=80).finish_reason == "stop"


CUT_THOUGHTS = [body(None, finish="length", reasoning="well, "), body("<think>well, ", finish="length")]


@pytest.mark.parametrize("cut", CUT_THOUGHTS)
@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_thoughts_are_given_room(cut: Fault, schema: Any, tmp_path: Path) -> None:
    """Once they have used up an answer's; a resumed run asks for nothing again, whichever room its answers had."""
    said: list[str] = []
    samples = [1, 2, 3]

    async def work(teacher: Teacher) -> list[str]:
        return [(await teacher.chat(HELLO, max_tokens=8, schema=schema, sample=k)).text for k in samples]

    with mock_server(faults=[body("short"), cut, body("<think>so\n</think>\n42"), body("43")]) as server:
        assert use(server, work, cache=Cache(tmp_path), say=said.append) == ["short", "42", "43"]
        assert [request["max_tokens"] for request in server.requests] == [8, 8, 8 + 4096, 8 + 4096]
        samples = [2, 3, 1]  # as another order of agents would have it
        assert use(server, work, cache=Cache(tmp_path)) == ["42", "43", "short"]
        assert len(server.requests) == 4 and len(said) == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>a\nb</think>\n\nc", ("a\nb", "c")),
        ("a </think> c </think>", ("a", "c </think>")),
        ("\n<think>a", ("a", "")),
        ("<think></think>c", ("", "c")),
        ("c <think>", ("", "c <think>")),
        (" c ", ("", " c ")),
        ("", ("", "")),
    ],
)
def test_thoughts_are_told_from_the_answer(text: str, parts: tuple[str, str]) -> None:
    assert split_thoughts(text) == parts


@pytest.mark.parametrize("fault", [body(finish="abort"), body(finish="error"), body(["a list"])])  # type: ignore[arg-type]
def test_an_answer_that_the_server_gave_up_is_asked_for_again(fault: Fault) -> None:
    with mock_server(faults=[fault]) as server:
        assert ask(server).text == "So the answer is: nothing" and len(server.requests) == 2


def test_the_cache_answers_the_same_request_and_no_other(tmp_path: Path) -> None:
    with mock_server() as server:
        first, second = (ask(server, cache=Cache(tmp_path)) for _ in range(2))
        assert (first.usage.cached, second.usage.cached) == (0, 1)
        assert second.text == first.text and second.usage.tokens == first.usage.tokens
        assert len(server.requests) == 1
        for other in ({"sample": 1}, {"temperature": 0.5}, {"max_tokens": 9}, {"schema": {"enum": ["a"]}}):
            assert ask(server, cache=Cache(tmp_path), **other).usage.cached == 0
        assert len(server.requests) == 5


def test_the_cache_does_not_know_addresses(tmp_path: Path) -> None:
    with mock_server() as one, mock_server() as two:
        ask(one, cache=Cache(tmp_path))
        assert ask(two, cache=Cache(tmp_path)).usage.cached == 1 and not two.requests


async def gather(teacher: Teacher, count: int, *, same: bool = False) -> list[Reply | BaseException]:
    chats = (teacher.chat(HELLO, max_tokens=8, sample=0 if same else k) for k in range(count))
    return await asyncio.gather(*chats, return_exceptions=True)


@pytest.mark.parametrize("cached", [True, False])
def test_equal_requests_in_flight_share_one_answer(cached: bool, tmp_path: Path) -> None:
    cache = Cache(tmp_path) if cached else None
    with mock_server(latency=0.05) as server:
        replies = use(server, lambda teacher: gather(teacher, 8, same=True), cache=cache)
        assert [reply.usage.cached for reply in replies] == [0, *[1] * 7]
        assert len({reply.text for reply in replies}) == 1 and len(server.requests) == 1


def test_equal_requests_share_a_refusal() -> None:
    with mock_server(faults=[400]) as server:
        errors = use(server, lambda teacher: gather(teacher, 4, same=True))
        assert all(isinstance(error, WorldError) and "400" in str(error) for error in errors)
        assert len(server.requests) == 1


def test_a_request_that_is_cancelled_takes_its_equals_not_with_it() -> None:
    async def work(teacher: Teacher) -> Reply:
        first, second = (asyncio.ensure_future(teacher.chat(HELLO, max_tokens=8)) for _ in range(2))
        while not server.requests:
            await asyncio.sleep(0.01)
        first.cancel()
        reply = await second
        assert first.cancelled()
        return reply

    with mock_server(faults=[HANG]) as server:
        assert use(server, work).usage.cached == 0


@pytest.mark.parametrize(
    ("limits", "error", "words"),
    [
        (
            {"max_tokens": 1000, "price": PRICE},
            TokenLimit,
            r"tokens used and the next request may take \d+, --max-tokens is 1000",
        ),
        ({"max_usd": 1.3, "price": PRICE}, BudgetLimit, r"\$1\.\d+ spent and the next .* --max-usd is 1.3: raise it"),
    ],
)
def test_a_limit_holds_with_64_in_flight(
    limits: dict[str, Any], error: type[TokenLimit], words: str, tmp_path: Path
) -> None:
    """100 answers of 10 tokens, 1.3 cents each, would reach the limit; a request may take more than it does."""
    cache = Cache(tmp_path)
    with mock_server(latency=0.005) as server:
        results = use(server, lambda teacher: gather(teacher, 160), cache=cache, **limits)
        replies = [result for result in results if isinstance(result, Reply)]
        errors = [result for result in results if not isinstance(result, Reply)]
        assert len(server.requests) == len(replies) <= 100, "nothing is sent that may not be kept"
        assert len(replies) > 90, "and nearly all of the money buys something"
        assert all(type(result) is error for result in errors)
        with pytest.raises(error, match=words):
            ask_again = use(
                server, lambda teacher: teacher.chat(HELLO, max_tokens=8, sample=999), cache=cache, **limits
            )
            assert ask_again
        assert len(server.requests) == len(replies), "the limit is the run's, not the call's"
    spent = Cache(tmp_path)
    assert spent.tokens == 10 * len(replies) and spent.usd == pytest.approx(0.013 * len(replies))
    assert sum(reply.usage.usd for reply in replies) == pytest.approx(spent.usd)


def test_hits_cost_nothing_at_the_limit(tmp_path: Path) -> None:
    with mock_server() as server:
        ask(server, cache=Cache(tmp_path))
        reply = use(server, lambda teacher: teacher.chat(HELLO, max_tokens=8), cache=Cache(tmp_path), max_tokens=1)
        assert reply.usage.cached == 1


def test_a_failed_request_gives_its_reservation_back() -> None:
    async def work(teacher: Teacher) -> None:
        for k in range(3):
            with pytest.raises(WorldError, match="400"):
                await teacher.chat(HELLO, max_tokens=8, sample=k)
        await teacher.chat(HELLO, max_tokens=8, sample=9)

    with mock_server(faults=[400] * 3) as server:
        use(server, work, max_tokens=100)


def test_a_request_that_is_cut_on_its_way_costs_the_most(tmp_path: Path) -> None:
    """The server may bill what nobody reads, in this run and in one that resumes it; the answer is still asked for."""

    async def work(teacher: Teacher) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(teacher.chat(HELLO, max_tokens=8), 0.2)
        assert teacher.requests.budget.spent.tokens > 8 and teacher.requests.budget.reserved.tokens == 0
        assert teacher.requests.budget.spent.usd > 0.016

    cache = Cache(tmp_path)
    with mock_server(faults=[HANG]) as server:
        use(server, work, cache=cache, price=PRICE)
        spent = Cache(tmp_path)
        assert (spent.tokens, spent.usd) == (cache.tokens, cache.usd) and spent.tokens > 8
        with pytest.raises(TokenLimit, match=f"{spent.tokens} tokens used"):
            use(server, lambda teacher: teacher.chat(HELLO, max_tokens=8), cache=spent, max_tokens=spent.tokens + 8)
        assert ask(server, cache=spent).usage.cached == 0


def test_a_request_that_is_cut_before_it_was_sent_costs_nothing() -> None:
    """The server's queue of connections is full: none is made, and nothing is sent."""

    async def work(listener: socket.socket) -> None:
        teacher = Teacher(Endpoint((f"http://127.0.0.1:{listener.getsockname()[1]}/v1",), MODEL), cache=None)
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(teacher.chat(HELLO, max_tokens=8), 0.2)
            assert teacher.requests.budget.spent.tokens == teacher.requests.budget.reserved.tokens == 0
        finally:
            await teacher.close()

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        asyncio.run(work(listener))


def test_a_server_that_counts_nothing_is_charged_the_most(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with mock_server(faults=[body(usage=None)] * 99) as server:
        results = use(server, lambda teacher: gather(teacher, 30), cache=cache, max_tokens=400)
    assert any(isinstance(result, TokenLimit) for result in results)
    assert 300 < cache.tokens <= 400


def test_tokens_that_the_server_had_read_are_cheaper() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}
    with mock_server(faults=[body(usage=usage)]) as server:
        reply = use(server, lambda teacher: teacher.chat(HELLO, max_tokens=8), price=PRICE)
    assert reply.usage.usd == pytest.approx((40 * 1000 + 60 * 100 + 10 * 2000) / 1e6)


def test_a_request_may_take_longer_the_more_it_asks_for() -> None:
    seen: list[float] = []

    async def work(teacher: Teacher) -> None:
        wire = teacher.requests.wire

        async def post(path: str, data: bytes, *, fields: Any, seconds: float, read: Any, **_: Any) -> Any:
            seen.append(seconds)
            return read(body())

        wire.post = post  # type: ignore[method-assign]
        for tokens in (10, 1000):
            await teacher.chat(HELLO, max_tokens=tokens)

    with mock_server() as server:
        use(server, work, timeout=5.0, token_timeout=0.1)
    assert seen == [6.0, 105.0]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ('"capital of"', "capital of"),
        ("capital of\nQuestion: next", "capital of"),
        ("capital of state, then", "capital of state"),
        ('"capital of', ""),  # cut, and might have gone on to "capital of state"
        ('"capital of state', "capital of state"),
        ("river", ""),
        ("", ""),
    ],
)
def test_the_chosen_one(text: str, choice: str) -> None:
    assert match_choice(text, ["capital of", "capital of state"]) == choice


@pytest.mark.parametrize("together", [True, False])
def test_several_answers_to_one_prompt(together: bool) -> None:
    answer: Fault = {"choices": [{"text": '"a"', "finish_reason": "stop"}] * (3 if together else 1)}
    with mock_server(faults=[answer] * 3) as server:

        async def work(teacher: Teacher) -> Reply:
            return await teacher.complete("x", choices=["a", "b"], n=3, temperature=1.0, sample=2)

        assert use(server, work, together=together).texts == ("a",) * 3
        asked = sorted((request["n"], request["seed"]) for request in server.requests)
    assert asked == ([(3, 2)] if together else [(1, 6), (1, 7), (1, 8)])


def run_open(spec: str, folder: Path, work: Work | None = None, **options: Any) -> list[str]:
    said: list[str] = []

    async def run() -> None:
        async with open_teacher(spec, run=folder, options=TeacherOptions(**options), say=said.append) as teacher:
            assert isinstance(teacher, Teacher) and work is not None, "opened"
            await work(teacher)

    asyncio.run(run())
    return said


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("nonsense", UserError, "unknown teacher 'nonsense': use local"),
        ("vllm:", UserError, "unknown teacher 'vllm:'"),
        ("ollama:llama3", UserError, "write http://127.0.0.1:11434/v1#llama3; use local"),
        ("127.0.0.1:8000/v1#m", UserError, "an address begins with http:// or https://; use local"),
        ("openai:", UserError, "unknown teacher 'openai:'"),
        ("http://127.0.0.1:9/v1", UserError, "names no model: write URL#MODEL"),
        ("http://127.0.0.1:9/v1,127.0.0.1:10#m", UserError, "names no model: write URL#MODEL"),
        ("http://127.0.0.1:9/v1#m", WorldError, "127.0.0.1:9"),
    ],
)
def test_teachers_that_cannot_be(tmp_path: Path, spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        run_open(spec, tmp_path)


def test_a_model_that_is_not_served_is_named_with_those_that_are(tmp_path: Path) -> None:
    with mock_server() as server, pytest.raises(UserError, match=rf"other-7.*{MODEL}"):
        run_open(f"{server.url}#other-7", tmp_path)


def test_one_teacher_at_several_addresses(tmp_path: Path) -> None:
    async def work(teacher: Teacher) -> None:
        assert teacher.name == MODEL
        await gather(teacher, 6)

    with mock_server(latency=0.01) as one, mock_server(latency=0.01) as two:
        said = run_open(f"{one.url},http://127.0.0.1:9/v1,{two.url}#{MODEL}", tmp_path, work)
        assert (len(one.requests), len(two.requests)) == (3, 3)
    assert any("no server at http://127.0.0.1:9/v1" in line and "the other addresses carry on" in line for line in said)


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("local", ["local"]),
        (" local , vllm:a/b ,", ["local", "vllm:a/b"]),
        ("http://a/v1,http://b/v1#m, local", ["http://a/v1,http://b/v1#m", "local"]),
        ("local,https://a/v1#m,http://b/v1#n", ["local", "https://a/v1#m", "http://b/v1#n"]),
        ("http://a/v1,http://b/v1", ["http://a/v1,http://b/v1"]),
        ("", []),
    ],
)
def test_lists_of_teachers(text: str, specs: Sequence[str]) -> None:
    assert split_specs(text) == specs


def test_an_unknown_price_is_said_and_a_limit_that_cannot_be_kept_refused(tmp_path: Path) -> None:
    said: list[str] = []

    def find(spec: str, **options: Any) -> Price | None:
        return find_teacher_price(parse_spec(spec), TeacherOptions(**options), said.append)

    assert find("vllm:gpt-4o") is None and not said, "one's own machine"
    assert find("openai:gpt-4o", max_usd=1.0) == Price(prompt=2.5, completion=10, cached=1.25)
    assert not said
    assert find("http://a/v1#my", max_usd=2.0) is None
    assert "'my': it counts as $0, so --max-usd cannot stop it" in said.pop()
    with pytest.raises(UserError, match=r"no price is known for .my.: give prices=FILE\.yaml"):
        find("openai:my", max_usd=2.0)
    own = tmp_path / "prices.yaml"
    own.write_text("models: {my: {prompt: 1, completion: 2}, gpt-4o: {prompt: 3, completion: 4}}")
    for spec, prompt in (("openai:my", 1), ("vllm:my", 1), ("openai:gpt-4o", 3)):
        price = find(spec, prices=own, max_usd=2.0)
        assert price is not None and price.prompt == prompt
    assert not said
